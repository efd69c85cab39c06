//! What the server API tells about a gateway.
//!
//! Field names are public (`openapi.json`) and never change meaning. An answer that was gathered
//! from pods says how many were asked and how many answered, so that nobody takes a part for the
//! whole.

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use crate::protocol::position::{Epoch, Position};

/// How complete an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pods {
    /// Pods that were asked, this one included.
    pub asked: u32,
    /// Pods whose answer is in.
    pub answered: u32,
}

impl Pods {
    /// This pod alone.
    pub const ONE: Self = Self { asked: 1, answered: 1 };
}

/// How many connections something was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Connections.
    pub connections: u64,
    /// Who counted.
    pub pods: Pods,
}

/// Where a publication stands; empty without history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The life of the channel's order.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "epoch")]
    pub epoch: Option<Epoch>,
    /// The place in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl From<Option<Position>> for Place {
    fn from(position: Option<Position>) -> Self {
        Self { epoch: position.map(|it| it.epoch), offset: position.map(|it| it.offset) }
    }
}

/// The figures of a gateway since its start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Connections now.
    pub active_connections: u64,
    /// Connections ever.
    pub total_connections: u64,
    /// Subscriptions now, but for `@all` and `@user`.
    pub subscriptions: u64,
    /// Channels with subscribers or history now; one that several pods have counts for each of them.
    pub channels: u64,
    /// Envelopes from clients.
    pub messages_received: u64,
    /// Publications written to clients, one for each client.
    pub messages_delivered: u64,
    /// Errors told to clients.
    pub errors: u64,
    /// The mean time from published to written, in milliseconds; 0 before the first delivery.
    pub average_latency_ms: f64,
    /// The sum behind that mean, in seconds.
    pub delivery_seconds_sum: f64,
    /// The number of deliveries that were timed.
    pub delivery_seconds_count: u64,
    /// How long the pod that was asked runs.
    pub uptime_seconds: u64,
    /// Who counted.
    pub pods: Pods,
}

/// A page of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    /// In the order of their names.
    pub list: Vec<Connection>,
    /// Whether there are more after these.
    pub more: bool,
    /// How many there are in all.
    pub total: u64,
    /// Who looked.
    pub pods: Pods,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its name, as in `welcome`.
    pub connection: String,
    /// Whose it is; `None` for an anonymous one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its subscriptions, but for `@all` and `@user`.
    pub subscriptions: u64,
    /// How long it has lived.
    pub age_ms: u64,
}

/// A page of channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    /// In the order of their names.
    pub list: Vec<Channel>,
    /// Whether there are more after these.
    pub more: bool,
    /// How many there are in all.
    pub total: u64,
    /// Who looked.
    pub pods: Pods,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its name.
    pub channel: String,
    /// Connections that are subscribed.
    pub subscribers: u64,
    /// The newest publication.
    #[serde(flatten)]
    pub top: Place,
}

/// Who is in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// At most 1,000.
    pub members: Vec<Member>,
    /// How many there are.
    pub total: u64,
    /// Whether `total` counts every pod.
    pub complete: bool,
    /// Who looked.
    pub pods: Pods,
}

/// One connection in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Whose it is; `None` for an anonymous one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its name.
    pub connection: String,
    /// What its token says beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Json>,
}

/// A part of a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The newest publication.
    pub top: Position,
    /// The payloads of `message`, as clients get them, ascending.
    pub messages: Vec<Json>,
    /// Whether there are later ones.
    pub more: bool,
}

/// A JSON text that is passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub Bytes);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        text.serialize(serializer)
    }
}

#[allow(clippy::ref_option, reason = "serde hands over the field as it is")]
fn epoch<S: Serializer>(epoch: &Option<Epoch>, serializer: S) -> Result<S::Ok, S::Error> {
    match epoch {
        Some(epoch) => serializer.collect_str(epoch),
        None => serializer.serialize_none(),
    }
}
