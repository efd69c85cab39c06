//! The closed sets of label values.
//!
//! Every value is known when the process starts and has its series from the start, at 0: a rate
//! over a series that appears with its first count would miss that count. Nothing that a client
//! sends ever becomes a label.

use crate::{admission::refusal::Refusal, protocol::request::Request};

/// What a client sent: the `type` of an envelope, or why it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Received {
    /// `ping`, the envelope; WebSocket pings are no messages.
    Ping,
    /// `subscribe`.
    Subscribe,
    /// `unsubscribe`.
    Unsubscribe,
    /// `message`.
    Message,
    /// `history`.
    History,
    /// `presence`.
    Presence,
    /// `authenticate`.
    Authenticate,
    /// A type that the gateway does not know.
    Unknown,
    /// Not an envelope.
    Invalid,
}

impl Received {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Ping,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Message,
        Self::History,
        Self::Presence,
        Self::Authenticate,
        Self::Unknown,
        Self::Invalid,
    ];

    /// The value of the `type` label on `realtime_gateway_messages_received_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Message => "message",
            Self::History => "history",
            Self::Presence => "presence",
            Self::Authenticate => "authenticate",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

impl From<&Request<'_>> for Received {
    fn from(request: &Request<'_>) -> Self {
        match request {
            Request::Ping => Self::Ping,
            Request::Subscribe { .. } => Self::Subscribe,
            Request::Unsubscribe { .. } => Self::Unsubscribe,
            Request::Message { .. } => Self::Message,
            Request::History { .. } => Self::History,
            Request::Presence { .. } => Self::Presence,
            Request::Authenticate { .. } => Self::Authenticate,
        }
    }
}

/// What ends a connection before there is a request to refuse.
const UNREQUESTED: [&str; 3] = ["proxy_header", "tls", "timeout"];

/// The labels of everything that ends before the 101 (docs/protocol.md).
pub(super) fn refused() -> Vec<&'static str> {
    Refusal::CODES.into_iter().chain(UNREQUESTED).collect()
}
