//! What the server API can be told to do: read from a body or a line of a batch, then carried out.

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    answer,
    bodies::{self, Line, Whole, parse},
    error::{ANSWER_TIMEOUT, ApiError},
    gateway::{Disconnect, Gateway, Message, Publish, Revocation, Revoked, Target},
    route::{ApiRoute, CONNECTION_BYTES_MAX, USER_BYTES_MAX, bounded, channel},
    views::Place,
};
use crate::protocol::{data, request::KEY_BYTES_MAX, topic::Topic};

/// Channels of one publication.
const CHANNELS_MAX: usize = 100;
/// The longest reason of a close frame (RFC 6455, section 5.5: 125 with the code).
const REASON_BYTES_MAX: usize = 123;
/// The longest `jti` that is remembered.
const JTI_BYTES_MAX: usize = 255;

/// Something to do, with everything checked that can be checked without looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Publish to channels.
    Publish(Publish),
    /// Send to everybody.
    Broadcast(Message),
    /// Send to a user or a connection.
    Message(Target, Message),
    /// Close connections.
    Disconnect(Target, Disconnect),
    /// Subscribe a user.
    Subscribe(String, Topic),
    /// End a user's subscription.
    Unsubscribe(String, Topic),
    /// Revoke a token or a user.
    Revoke(Revocation),
}

/// What operations are read with.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The longest message.
    pub message_bytes_max: usize,
    /// The trace that the request belongs to.
    pub traceparent: Option<HeaderValue>,
}

impl Reader {
    /// Reads what a path is told to do.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`], [`ApiError::Channel`], [`ApiError::TooLarge`].
    pub fn body(&self, route: ApiRoute, body: &[u8]) -> Result<Operation, ApiError> {
        Ok(match route {
            ApiRoute::Publish => Operation::Publish(self.publish(parse("the body", body)?)?),
            ApiRoute::Broadcast => Operation::Broadcast(self.message(body)?),
            ApiRoute::Message(to) => Operation::Message(to, self.message(body)?),
            ApiRoute::Disconnect(whom) => Operation::Disconnect(whom, disconnect(body)?),
            ApiRoute::Subscribe(user) => Operation::Subscribe(user, channel_in(body)?),
            ApiRoute::Unsubscribe(user) => Operation::Unsubscribe(user, channel_in(body)?),
            ApiRoute::Revoke => Operation::Revoke(revocation(parse("the body", body)?)?),
            ApiRoute::Batch | ApiRoute::Read(_) => return Err(ApiError::NotFound("operation")),
        })
    }

    /// Reads a line of a batch.
    ///
    /// # Errors
    ///
    /// As [`body`](Self::body).
    pub fn line(&self, line: &[u8]) -> Result<Operation, ApiError> {
        Ok(match parse("the line", line)? {
            Line::Publish(it) => Operation::Publish(self.publish(it)?),
            Line::Broadcast(it) => Operation::Broadcast(self.data(it.data)?),
            Line::Message(it) => {
                Operation::Message(target(it.user, it.connection)?, self.data(it.data)?)
            }
            Line::Disconnect(it) => {
                let how = how(bodies::Disconnect { code: it.code, reason: it.reason })?;
                Operation::Disconnect(target(it.user, it.connection)?, how)
            }
            Line::Subscribe(it) => Operation::Subscribe(user(it.user)?, channel(&it.channel)?),
            Line::Unsubscribe(it) => Operation::Unsubscribe(user(it.user)?, channel(&it.channel)?),
            Line::Revoke(it) => Operation::Revoke(revocation(it)?),
        })
    }

    fn publish(&self, it: bodies::Publish<'_>) -> Result<Publish, ApiError> {
        let names = match (it.channel, it.channels) {
            (Some(channel), None) => vec![channel],
            (None, Some(channels)) if (1..=CHANNELS_MAX).contains(&channels.len()) => channels,
            _ => return Err(invalid("there must be channel, or channels with 1 to 100 names")),
        };
        let exclude = |name| bounded("exclude", name, CONNECTION_BYTES_MAX);
        let Message { data, traceparent } = self.data(it.data)?;
        Ok(Publish {
            channels: names.iter().map(|name| channel(name)).collect::<Result<_, _>>()?,
            data,
            key: it.key.map(|key| bounded("key", key, KEY_BYTES_MAX)).transpose()?,
            exclude: it.exclude.map(exclude).transpose()?,
            traceparent,
        })
    }

    fn message(&self, body: &[u8]) -> Result<Message, ApiError> {
        self.data(parse::<bodies::Message<'_>>("the body", body)?.data)
    }

    fn data(&self, data: &RawValue) -> Result<Message, ApiError> {
        let data = data::compact(data.get());
        let bytes_max = self.message_bytes_max;
        if data.len() > bytes_max {
            return Err(ApiError::TooLarge { what: "data", bytes_max });
        }
        Ok(Message { data: Bytes::from(data.into_owned()), traceparent: self.traceparent.clone() })
    }
}

impl Operation {
    /// Has the gateway do it; the JSON of the answer.
    ///
    /// # Errors
    ///
    /// What the gateway answers, and [`ApiError::Unavailable`] where it does not.
    pub async fn run<G: Gateway>(self, gateway: &G) -> Result<Vec<u8>, ApiError> {
        timeout(ANSWER_TIMEOUT, self.done(gateway)).await.map_err(|_| ApiError::silent())?
    }

    async fn done<G: Gateway>(self, gateway: &G) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::Publish(publish) => {
                let channels = publish.channels.clone();
                let positions = gateway.publish(publish).await?;
                answer::encode(&Published::new(&channels, positions))
            }
            Self::Broadcast(message) => {
                answer::encode(&Place::from(gateway.broadcast(message).await?))
            }
            Self::Message(to, message) => {
                answer::encode(&Place::from(gateway.message(to, message).await?))
            }
            Self::Disconnect(whom, how) => answer::encode(&gateway.disconnect(whom, how).await?),
            Self::Subscribe(user, to) => answer::encode(&gateway.subscribe(user, to).await?),
            Self::Unsubscribe(user, of) => answer::encode(&gateway.unsubscribe(user, of).await?),
            Self::Revoke(revocation) => answer::encode(&gateway.revoke(revocation).await?),
        }
    }
}

/// What `/publish` answers: a place for each channel, in the order of the request.
#[derive(Serialize)]
struct Published<'a> {
    results: Vec<ChannelPlace<'a>>,
}

#[derive(Serialize)]
struct ChannelPlace<'a> {
    channel: &'a str,
    #[serde(flatten)]
    place: Place,
}

impl<'a> Published<'a> {
    fn new(channels: &'a [Topic], places: impl IntoIterator<Item: Into<Place>>) -> Self {
        let names = channels.iter().map(Topic::name);
        let results = names.zip(places);
        let results = results.map(|(channel, place)| ChannelPlace { channel, place: place.into() });
        Self { results: results.collect() }
    }
}

fn disconnect(body: &[u8]) -> Result<Disconnect, ApiError> {
    // There is nothing that must be said, so nothing at all is as good as `{}`.
    if body.trim_ascii().is_empty() {
        return Ok(Disconnect::default());
    }
    how(parse("the body", body)?)
}

fn how(bodies::Disconnect { code, reason }: bodies::Disconnect) -> Result<Disconnect, ApiError> {
    let code = code.map(close_code).transpose()?;
    let reason = reason.map(|reason| bounded("reason", reason, REASON_BYTES_MAX)).transpose()?;
    Ok(Disconnect { code, reason })
}

fn close_code(Whole(code): Whole) -> Result<u16, ApiError> {
    u16::try_from(code)
        .ok()
        .filter(|code| matches!(code, 4100..=4199 | 4900..=4999))
        .ok_or_else(|| invalid("code must be 4100 to 4199 (come back) or 4900 to 4999 (do not)"))
}

fn channel_in(body: &[u8]) -> Result<Topic, ApiError> {
    channel(&parse::<bodies::Channel>("the body", body)?.channel)
}

fn revocation(it: bodies::Revocation) -> Result<Revocation, ApiError> {
    let revoked = match (it.jti, it.user) {
        (Some(jti), None) => Revoked::Jti(bounded("jti", jti, JTI_BYTES_MAX)?),
        (None, Some(name)) => Revoked::User(user(name)?),
        _ => return Err(invalid("there must be jti or user")),
    };
    Ok(Revocation { revoked, expires: it.expires.0 })
}

fn target(name: Option<String>, connection: Option<String>) -> Result<Target, ApiError> {
    match (name, connection) {
        (Some(name), None) => user(name).map(Target::User),
        (None, Some(name)) => {
            bounded("connection", name, CONNECTION_BYTES_MAX).map(Target::Connection)
        }
        _ => Err(invalid("there must be user or connection")),
    }
}

fn user(name: String) -> Result<String, ApiError> {
    bounded("user", name, USER_BYTES_MAX)
}

fn invalid(words: &str) -> ApiError {
    ApiError::Invalid(words.to_owned())
}
