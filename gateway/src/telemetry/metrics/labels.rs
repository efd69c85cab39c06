//! The closed sets of label values.
//!
//! Every value is known when the process starts and has its series from the start, at 0: a rate
//! over a series that appears with its first count would miss that count. Nothing that a client
//! sends ever becomes a label.

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

/// The labels of every refusal before the 101 (docs/protocol.md), and of what ends a connection
/// before there is a request to refuse.
pub(super) const REFUSED: &[&str] = &[
    "bad_handshake",
    "subprotocol",
    "token",
    "origin",
    "not_found",
    "method",
    "uri",
    "headers",
    "version",
    "connect_rate",
    "address",
    "user_connections",
    "full",
    "draining",
    "keys",
    "proxy_header",
    "tls",
    "timeout",
];
