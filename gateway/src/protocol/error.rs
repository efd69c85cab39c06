//! Errors that a client is told of. An error never closes the connection by itself.

use std::borrow::Cow;

/// The `code` of an `error` envelope. Codes are public and never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not an envelope, or a payload of the wrong shape.
    BadRequest,
    /// An envelope of a type that this gateway does not know.
    UnknownType,
    /// A rule or the token does not allow it.
    Forbidden,
    /// The request needs a subscription that is not there.
    NotSubscribed,
    /// Not a channel's name.
    ChannelInvalid,
    /// The connection has as many subscriptions as it may have.
    TooManyChannels,
    /// Over the rate; the request was not executed.
    RateLimited,
    /// The refresh was refused; the old token goes on.
    TokenInvalid,
    /// The history is another one than the position is of.
    EpochChanged,
    /// The outcome is not known: try again, with the same `key`.
    Unavailable,
}

impl ErrorCode {
    /// All of them, for metrics and docs.
    pub const ALL: [Self; 10] = [
        Self::BadRequest,
        Self::UnknownType,
        Self::Forbidden,
        Self::NotSubscribed,
        Self::ChannelInvalid,
        Self::TooManyChannels,
        Self::RateLimited,
        Self::TokenInvalid,
        Self::EpochChanged,
        Self::Unavailable,
    ];

    /// The code, in envelopes and as the `code` label of `realtime_gateway_errors_total`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownType => "unknown_type",
            Self::Forbidden => "forbidden",
            Self::NotSubscribed => "not_subscribed",
            Self::ChannelInvalid => "channel_invalid",
            Self::TooManyChannels => "too_many_channels",
            Self::RateLimited => "rate_limited",
            Self::TokenInvalid => "token_invalid",
            Self::EpochChanged => "epoch_changed",
            Self::Unavailable => "unavailable",
        }
    }

    /// The words beside the code; the first two are fixed, the others may be improved.
    pub const fn words(self) -> &'static str {
        match self {
            Self::BadRequest => "Invalid message format",
            Self::UnknownType => "Unknown message type",
            Self::Forbidden => "not allowed by the channel's rule or the token",
            Self::NotSubscribed => "not subscribed to this channel",
            Self::ChannelInvalid => {
                "a channel name is 1 to 255 bytes without control characters, '*', empty parts or a leading '@'"
            }
            Self::TooManyChannels => "the limit of subscriptions of this connection is reached",
            Self::RateLimited => "over the rate limit; not executed",
            Self::TokenInvalid => "the token was refused; the one before stays in use",
            Self::EpochChanged => "the channel's history began anew; start from its newest message",
            Self::Unavailable => "the outcome is not known; try again with the same key",
        }
    }
}

/// An error and the words that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The code.
    pub code: ErrorCode,
    /// For people; no part of the contract but for `bad_request` and `unknown_type`.
    pub message: Cow<'static, str>,
}

impl From<ErrorCode> for ClientError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: Cow::Borrowed(code.words()) }
    }
}

/// The type of an unknown envelope is repeated up to so many bytes.
const TYPE_BYTES_MAX: usize = 64;

impl ClientError {
    /// The error for an envelope of an unknown type.
    pub fn unknown_type(name: &str) -> Self {
        let cut = name.floor_char_boundary(TYPE_BYTES_MAX);
        let name = name.get(..cut).unwrap_or_default();
        let message = format!("{}: {name}", ErrorCode::UnknownType.words()).into();
        Self { code: ErrorCode::UnknownType, message }
    }
}
