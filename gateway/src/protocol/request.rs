//! What a client asks for: the text of a frame, envelope by envelope.
//!
//! A frame holds one or more JSON objects separated by white space. Each is read for itself, and
//! from where the text is not JSON the rest is dropped with one `bad_request`. Values are borrowed
//! from the frame; only a string with escapes in it is copied.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::{StreamDeserializer, de::StrRead, value::RawValue};

use super::{
    error::ErrorCode,
    object::{Names, Object},
    position::{ClientPosition, OFFSET_MAX},
};

/// How many envelopes of one frame are read.
pub const ENVELOPES_MAX: usize = 256;
/// The longest `id`, in bytes between its quotes, as the client wrote it.
pub const ID_BYTES_MAX: usize = 64;
/// The longest `key` of a publication, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// How many publications one `history` reply holds at most.
pub const HISTORY_LIMIT_MAX: usize = 100;
/// What an error quotes of a type that is not known, in bytes.
const UNKNOWN_TYPE_BYTES_MAX: usize = 64;

/// One envelope from a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the reply or the error carries: the JSON of a string or a number, as it was written.
    pub id: Option<&'a str>,
    /// What is asked for, or what is wrong with the asking.
    pub request: Result<Request<'a>, RequestError<'a>>,
}

/// What a client can ask for. Names are not checked yet, nor is the right to do it.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A sign of life, for clients that cannot see WebSocket pings.
    Ping,
    /// To get what is published in a channel, perhaps from a position on.
    Subscribe {
        /// Not yet a channel name.
        channel: Cow<'a, str>,
        /// Where the client stood when it was last here.
        recover: Option<ClientPosition>,
    },
    /// To get it no longer.
    Unsubscribe {
        /// Not yet a channel name.
        channel: Cow<'a, str>,
    },
    /// To publish.
    Message {
        /// Not yet a channel name.
        channel: Cow<'a, str>,
        /// One JSON value as it was written; see [`compact`](super::data::compact).
        data: &'a str,
        /// What makes a retry harmless, at most [`KEY_BYTES_MAX`].
        key: Option<Cow<'a, str>>,
        /// Whether the publisher gets it too, if it is subscribed.
        echo: bool,
    },
    /// To read what was published.
    History {
        /// Not yet a channel name.
        channel: Cow<'a, str>,
        /// Only what came after this.
        since: Option<ClientPosition>,
        /// 1 to [`HISTORY_LIMIT_MAX`].
        limit: usize,
    },
    /// To see who is subscribed.
    Presence {
        /// Not yet a channel name.
        channel: Cow<'a, str>,
    },
    /// To show a token, the first or a fresh one.
    Authenticate {
        /// Not checked at all.
        token: Token<'a>,
    },
}

/// A token as it came in an envelope. Prints as nothing, so that no log can hold it.
#[derive(PartialEq, Eq)]
pub struct Token<'a>(pub Cow<'a, str>);

/// What is wrong with an envelope. The words are fixed (PROTOCOL, "Envelopes").
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError<'a> {
    /// Not an envelope, or a payload that its type does not have.
    #[error("Invalid message format")]
    BadRequest,
    /// The type, cut to 64 bytes.
    #[error("Unknown message type: {0}")]
    UnknownType(Cow<'a, str>),
}

/// The envelopes of a frame's text, in order, at most [`ENVELOPES_MAX`] and one error.
///
/// Never empty: a frame with nothing in it is not an envelope either.
pub fn envelopes(text: &str) -> Envelopes<'_> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    Envelopes { text, values, read: 0, is_over: false }
}

/// What [`envelopes`] gives.
pub struct Envelopes<'a> {
    text: &'a str,
    values: StreamDeserializer<'a, StrRead<'a>, Outer<'a>>,
    read: usize,
    is_over: bool,
}

impl<'a> Envelopes<'a> {
    /// What stands behind the last one that was given.
    pub fn rest(&self) -> &'a str {
        if self.is_over {
            return "";
        }
        self.text.get(self.values.byte_offset()..).unwrap_or_default().trim_ascii()
    }
}

impl<'a> Iterator for Envelopes<'a> {
    type Item = Envelope<'a>;

    fn next(&mut self) -> Option<Envelope<'a>> {
        if self.is_over {
            return None;
        }
        let envelope = match self.values.next() {
            None if self.read > 0 => return None,
            Some(Ok(Outer(object))) if self.read < ENVELOPES_MAX => Envelope::read(&object),
            _ => {
                self.is_over = true;
                Envelope { id: None, request: Err(RequestError::BadRequest) }
            }
        };
        self.read += 1;
        Some(envelope)
    }
}

struct Outer<'a>(Object<'a, 3>);

impl<'de> Deserialize<'de> for Outer<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Names(["type", "id", "payload"])).map(Self)
    }
}

impl<'a> Envelope<'a> {
    fn read(object: &Object<'a, 3>) -> Self {
        let [kind, id, payload] = object.values;
        let (id, is_id_sound) = match id.map(read_id) {
            None => (None, true),
            Some(id) => (id, id.is_some()),
        };
        let request = match kind {
            Some(kind) if object.is_sound && is_id_sound => Request::read(kind, payload),
            _ => Err(RequestError::BadRequest),
        };
        Self { id, request }
    }
}

impl<'a> Request<'a> {
    fn read(kind: &'a RawValue, payload: Option<&'a RawValue>) -> Result<Self, RequestError<'a>> {
        let Some(kind) = string(kind) else {
            return Err(RequestError::BadRequest);
        };
        let request = match kind.as_ref() {
            "ping" => Some(Self::Ping),
            "subscribe" => payload.and_then(Self::subscribe),
            "unsubscribe" => payload.and_then(channel).map(|channel| Self::Unsubscribe { channel }),
            "message" => payload.and_then(Self::message),
            "history" => payload.and_then(Self::history),
            "presence" => payload.and_then(channel).map(|channel| Self::Presence { channel }),
            "authenticate" => payload.and_then(Self::authenticate),
            _ => return Err(RequestError::UnknownType(cut(kind))),
        };
        request.ok_or(RequestError::BadRequest)
    }

    fn subscribe(payload: &'a RawValue) -> Option<Self> {
        let [channel, recover] = Names(["channel", "recover"]).find(payload)?;
        Some(Self::Subscribe { channel: string(channel?)?, recover: optional(recover, position)? })
    }

    fn message(payload: &'a RawValue) -> Option<Self> {
        let [channel, data, key, echo] = Names(["channel", "data", "key", "echo"]).find(payload)?;
        Some(Self::Message {
            channel: string(channel?)?,
            data: data?.get(),
            key: optional(key, |key| string(key).filter(|key| key.len() <= KEY_BYTES_MAX))?,
            echo: optional(echo, boolean)?.unwrap_or(true),
        })
    }

    fn history(payload: &'a RawValue) -> Option<Self> {
        let [channel, since, limit] = Names(["channel", "since", "limit"]).find(payload)?;
        let limit = optional(limit, |limit| number(limit).filter(|limit| *limit > 0))?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        Some(Self::History {
            channel: string(channel?)?,
            since: optional(since, position)?,
            limit: limit.map_or(HISTORY_LIMIT_MAX, |limit| limit.min(HISTORY_LIMIT_MAX)),
        })
    }

    fn authenticate(payload: &'a RawValue) -> Option<Self> {
        let [token] = Names(["token"]).find(payload)?;
        Some(Self::Authenticate { token: Token(string(token?)?) })
    }
}

impl RequestError<'_> {
    /// The code of the `error` envelope; its words are what this prints.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest => ErrorCode::BadRequest,
            Self::UnknownType(_) => ErrorCode::UnknownType,
        }
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn channel(payload: &RawValue) -> Option<Cow<'_, str>> {
    let [channel] = Names(["channel"]).find(payload)?;
    string(channel?)
}

/// A field that may be left out, or be `null`; `None` where it is there and wrong.
#[allow(clippy::option_option, reason = "outside whether it is sound, inside whether it is there")]
fn optional<'a, T>(
    value: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Option<T>,
) -> Option<Option<T>> {
    match value.filter(|value| value.get() != "null") {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

fn read_id(value: &RawValue) -> Option<&str> {
    let text = value.get();
    let content = match text.as_bytes() {
        [b'"', content @ .., b'"'] => content,
        number @ [b'-' | b'0'..=b'9', ..] => number,
        _ => return None,
    };
    (content.len() <= ID_BYTES_MAX).then_some(text)
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let content = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if content.contains('\\') {
        return serde_json::from_str(value.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(content))
}

fn boolean(value: &RawValue) -> Option<bool> {
    value.get().parse().ok()
}

fn number(value: &RawValue) -> Option<u64> {
    value.get().parse().ok()
}

fn position(value: &RawValue) -> Option<ClientPosition> {
    let [epoch, offset] = Names(["epoch", "offset"]).find(value)?;
    let epoch = string(epoch?)?.parse().ok();
    let offset = number(offset?).filter(|offset| *offset <= OFFSET_MAX)?;
    Some(ClientPosition { epoch, offset })
}

/// At most 64 bytes of a type, whole characters only.
fn cut(mut kind: Cow<'_, str>) -> Cow<'_, str> {
    let end = kind.floor_char_boundary(UNKNOWN_TYPE_BYTES_MAX);
    match &mut kind {
        Cow::Borrowed(text) => *text = text.get(..end).unwrap_or_default(),
        Cow::Owned(text) => text.truncate(end),
    }
    kind
}

#[cfg(test)]
mod tests;
