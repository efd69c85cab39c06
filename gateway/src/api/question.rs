//! What the server API can be asked, and the JSON of its answers.

use serde::Serialize;

use super::{
    answer,
    error::ApiError,
    gateway::Gateway,
    query,
    route::Read,
    views::{Channel, Channels, Connection, Connections, Json, Place, Pods, Presence},
};

#[derive(Serialize)]
struct ConnectionList {
    connections: Vec<Connection>,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    pods: Pods,
}

#[derive(Serialize)]
struct ChannelList {
    channels: Vec<Channel>,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    pods: Pods,
}

#[derive(Serialize)]
struct ChannelPresence<'a> {
    channel: &'a str,
    #[serde(flatten)]
    presence: Presence,
}

#[derive(Serialize)]
struct ChannelHistory<'a> {
    channel: &'a str,
    #[serde(flatten)]
    top: Place,
    messages: Vec<Json>,
    more: bool,
}

/// Asks the gateway; the JSON of the answer.
///
/// # Errors
///
/// [`ApiError::Invalid`] for a query that is not the question's, and what the gateway answers.
pub async fn ask<G: Gateway>(
    gateway: &G,
    read: Read,
    query: Option<&str>,
) -> Result<Vec<u8>, ApiError> {
    match read {
        Read::Stats => answer::encode(&gateway.stats(query::scope(query)?).await?),
        Read::Connections => {
            let Connections { list, more, total, pods } =
                gateway.connections(query::page(query)?).await?;
            let cursor = list.last().filter(|_| more).map(|last| last.connection.clone());
            answer::encode(&ConnectionList { connections: list, total, cursor, pods })
        }
        Read::Channels => {
            let Channels { list, more, total, pods } =
                gateway.channels(query::page(query)?).await?;
            let cursor = list.last().filter(|_| more).map(|last| last.channel.clone());
            answer::encode(&ChannelList { channels: list, total, cursor, pods })
        }
        Read::Presence(channel) => {
            query::none(query)?;
            let presence = gateway.presence(channel.clone()).await?;
            answer::encode(&ChannelPresence { channel: channel.name(), presence })
        }
        Read::History(channel) => {
            let (since, limit) = query::history(query)?;
            let page = gateway.history(channel.clone(), since, limit).await?;
            answer::encode(&ChannelHistory {
                channel: channel.name(),
                top: Some(page.top).into(),
                messages: page.messages,
                more: page.more,
            })
        }
    }
}
