//! What the gateway says to a client: the text of each envelope, appended to a buffer.
//!
//! No white space around tokens; fields in the order `type`, `id`, `payload`. Frame headers are not
//! written here, since several envelopes may share one. `id` is what the client's envelope carried;
//! `channel` is a topic's [name](super::topic::Topic::name).

use super::{
    error::ErrorCode,
    json::{self, Fields},
    position::Position,
    request::RequestError,
};

/// How the text of every `message` begins.
const MESSAGE_HEAD: &[u8] = br#"{"type":"message","payload":"#;

/// What a client gets of one publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `None` in the plain dialect for a broadcast or a message to the user.
    pub channel: Option<&'a str>,
    /// JSON without insignificant white space.
    pub data: &'a [u8],
    /// Where the channel has history.
    pub offset: Option<u64>,
    /// Who published, where it was a client with a user.
    pub user: Option<&'a str>,
}

/// A connection that is subscribed to a channel, as presence shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// `None`: anonymous; the field is left out.
    pub user: Option<&'a str>,
    /// What the server API calls the connection.
    pub connection: &'a str,
    /// The token's `info`: JSON without insignificant white space.
    pub info: Option<&'a str>,
}

/// The first envelope of the `headgate.v1` dialect.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    /// What the server API calls this connection.
    pub connection: &'a str,
    /// Whom the token names.
    pub user: Option<&'a str>,
    /// After so much silence a client that cannot see pings sends `ping`.
    pub ping_period_ms: u64,
    /// The longest message the gateway reads.
    pub max_message_bytes: u64,
    /// When the token expires, in seconds since 1970.
    pub expires: Option<u64>,
    /// Names of optional parts of the protocol that this gateway speaks.
    pub features: &'a [&'a str],
    /// The channels that are subscribed from the start.
    pub subscriptions: &'a [(&'a str, Option<Position>)],
}

/// Why the gateway ended a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionEnd {
    /// The rules or the token no longer allow it.
    Forbidden,
    /// The server API ended it.
    Application,
}

impl SubscriptionEnd {
    /// The text in the envelope.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Application => "application",
        }
    }

    /// What a person reads.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Forbidden => "no longer allowed",
            Self::Application => "unsubscribed by the application",
        }
    }
}

/// The answer to `ping`.
pub fn pong(out: &mut Vec<u8>, id: Option<&str>) {
    json::object(out, |envelope| {
        head(envelope, "pong", id).raw("payload", b"null");
    });
}

/// The answer to `subscribe`. `position` is the client's own where `recovered` is true, else the
/// top; `recovered` is there where the client asked for it.
pub fn subscribed(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    at: Option<Position>,
    recovered: Option<bool>,
) {
    envelope(out, "subscribed", id, |payload| {
        payload.string("channel", channel);
        position(payload, at).optional(recovered, |payload, recovered| {
            payload.boolean("recovered", recovered);
        });
    });
}

/// The answer to `unsubscribe`.
pub fn unsubscribed(out: &mut Vec<u8>, id: Option<&str>, channel: &str) {
    envelope(out, "unsubscribed", id, |payload| {
        payload.string("channel", channel);
    });
}

/// The gateway ended a subscription.
pub fn subscription_ended(out: &mut Vec<u8>, channel: &str, end: SubscriptionEnd) {
    envelope(out, "unsubscribed", None, |payload| {
        payload.string("channel", channel).string("code", end.code()).string("reason", end.words());
    });
}

/// The answer to `message`, given only where there was an `id`.
pub fn published(out: &mut Vec<u8>, id: Option<&str>, channel: &str, offset: Option<u64>) {
    envelope(out, "published", id, |payload| {
        payload.string("channel", channel).optional(offset, |payload, offset| {
            payload.number("offset", offset);
        });
    });
}

/// The answer to `history`. `top` is where the channel stands; each of `messages` is what
/// [`message_payload`] gives, oldest first; `more` says that there are later ones.
pub fn history<'a>(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    top: Position,
    messages: impl IntoIterator<Item = &'a [u8]>,
    more: bool,
) {
    envelope(out, "history", id, |payload| {
        payload.string("channel", channel);
        position(payload, Some(top))
            .list("messages", messages, Vec::extend_from_slice)
            .boolean("more", more);
    });
}

/// The answer to `presence`. Of `total` members some are named; `complete` is false where a pod was
/// not heard.
pub fn presence<'a>(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    members: impl IntoIterator<Item = Member<'a>>,
    total: usize,
    complete: bool,
) {
    envelope(out, "presence", id, |payload| {
        payload
            .string("channel", channel)
            .objects("members", members, |fields, one| member(fields, &one))
            .number("total", total as u64)
            .boolean("complete", complete);
    });
}

/// The answer to `authenticate`. `expires` is in seconds since 1970.
pub fn authenticated(out: &mut Vec<u8>, id: Option<&str>, user: Option<&str>, expires: u64) {
    envelope(out, "authenticated", id, |payload| {
        payload
            .optional(user, |payload, user| {
                payload.string("user", user);
            })
            .number("expires", expires);
    });
}

/// The first envelope of the `headgate.v1` dialect; plain has none.
pub fn welcome(out: &mut Vec<u8>, welcome: &Welcome<'_>) {
    envelope(out, "welcome", None, |payload| {
        payload
            .string("connection", welcome.connection)
            .optional(welcome.user, |payload, user| {
                payload.string("user", user);
            })
            .number("pingPeriodMs", welcome.ping_period_ms)
            .number("maxMessageBytes", welcome.max_message_bytes)
            .optional(welcome.expires, |payload, expires| {
                payload.number("expires", expires);
            })
            .list("features", welcome.features, |out, feature| json::string(out, feature))
            .objects("subscriptions", welcome.subscriptions, |fields, (channel, at)| {
                position(fields.string("channel", channel), *at);
            });
    });
}

/// A publication.
pub fn message(out: &mut Vec<u8>, message: &Message<'_>) {
    out.extend_from_slice(MESSAGE_HEAD);
    json::object(out, |payload| {
        payload
            .optional(message.channel, |payload, channel| {
                payload.string("channel", channel);
            })
            .raw("data", message.data)
            .optional(message.offset, |payload, offset| {
                payload.number("offset", offset);
            })
            .optional(message.user, |payload, user| {
                payload.string("user", user);
            });
    });
    out.push(b'}');
}

/// The payload in the text of a `message`, which stands in a `history` as it is.
pub fn message_payload(envelope: &[u8]) -> &[u8] {
    let payload = envelope.strip_prefix(MESSAGE_HEAD).and_then(|rest| rest.strip_suffix(b"}"));
    payload.unwrap_or(b"null")
}

/// A connection subscribed to a channel that announces presence.
pub fn join(out: &mut Vec<u8>, channel: &str, who: &Member<'_>) {
    envelope(out, "join", None, |payload| member(payload.string("channel", channel), who));
}

/// A connection went from a channel that announces presence.
pub fn leave(out: &mut Vec<u8>, channel: &str, who: &Member<'_>) {
    envelope(out, "leave", None, |payload| member(payload.string("channel", channel), who));
}

/// Members came or went, too many to name or not known which.
pub fn presence_changed(out: &mut Vec<u8>, channel: &str, total: Option<usize>) {
    envelope(out, "presence_changed", None, |payload| {
        payload.string("channel", channel).optional(total, |payload, total| {
            payload.number("total", total as u64);
        });
    });
}

/// Messages before `at` are lost to this client; without it some, just now.
pub fn gap(out: &mut Vec<u8>, channel: &str, at: Option<Position>) {
    envelope(out, "gap", None, |payload| {
        position(payload.string("channel", channel), at);
    });
}

/// This connection will be closed in `closes_in_ms`; come back about `delay_ms` after that.
pub fn reconnect(out: &mut Vec<u8>, reason: &str, closes_in_ms: u64, delay_ms: u64) {
    envelope(out, "reconnect", None, |payload| {
        payload
            .string("reason", reason)
            .number("closesInMs", closes_in_ms)
            .number("delayMs", delay_ms);
    });
}

/// A request failed.
pub fn error(out: &mut Vec<u8>, id: Option<&str>, code: ErrorCode, words: &str) {
    envelope(out, "error", id, |payload| {
        payload.string("code", code.code()).string("message", words);
    });
}

/// An envelope was not understood.
pub fn request_error(out: &mut Vec<u8>, id: Option<&str>, wrong: &RequestError<'_>) {
    match wrong {
        RequestError::BadRequest => error(out, id, wrong.code(), ErrorCode::BadRequest.words()),
        RequestError::UnknownType(_) => error(out, id, wrong.code(), &wrong.to_string()),
    }
}

fn envelope(
    out: &mut Vec<u8>,
    kind: &str,
    id: Option<&str>,
    payload: impl FnOnce(&mut Fields<'_>),
) {
    json::object(out, |envelope| {
        head(envelope, kind, id).object("payload", payload);
    });
}

fn head<'f, 'o>(envelope: &'f mut Fields<'o>, kind: &str, id: Option<&str>) -> &'f mut Fields<'o> {
    envelope.string("type", kind).optional(id, |envelope, id| {
        envelope.raw("id", id.as_bytes());
    })
}

fn position<'f, 'o>(fields: &'f mut Fields<'o>, at: Option<Position>) -> &'f mut Fields<'o> {
    fields.optional(at, |fields, Position { epoch, offset }| {
        fields.string("epoch", &epoch.to_string()).number("offset", offset);
    })
}

fn member(fields: &mut Fields<'_>, member: &Member<'_>) {
    fields
        .optional(member.user, |fields, user| {
            fields.string("user", user);
        })
        .string("connection", member.connection)
        .optional(member.info, |fields, info| {
            fields.raw("info", info.as_bytes());
        });
}

#[cfg(test)]
mod tests;
