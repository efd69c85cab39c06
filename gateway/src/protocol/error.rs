//! What a client is told when a request fails. An error never closes the connection by itself.

/// The codes of the `error` envelope. Public: a code never changes meaning, words may improve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not an envelope of this protocol.
    BadRequest,
    /// An envelope of a type that this gateway does not know.
    UnknownType,
    /// The rules or the token do not allow it.
    Forbidden,
    /// The request needs a subscription that is not there.
    NotSubscribed,
    /// The text is no channel name.
    ChannelInvalid,
    /// `limits.channelsPerConnection` is reached.
    TooManyChannels,
    /// A rate limit is passed; the request was not executed.
    RateLimited,
    /// The new token is refused; the old one goes on.
    TokenInvalid,
    /// The position is of another life of the channel.
    EpochChanged,
    /// The outcome is not known: try again, with the same `key`.
    Unavailable,
}

impl ErrorCode {
    /// Every code, for tables and metrics.
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

    /// The text in the envelope, and the value of the `code` label on
    /// `realtime_gateway_errors_total`.
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

    /// What a person reads where nothing more exact is known.
    pub const fn words(self) -> &'static str {
        match self {
            Self::BadRequest => "Invalid message format",
            Self::UnknownType => "Unknown message type",
            Self::Forbidden => "the channel's rule or the token does not allow it",
            Self::NotSubscribed => "not subscribed to this channel",
            Self::ChannelInvalid => "not a channel name",
            Self::TooManyChannels => "too many channels on this connection",
            Self::RateLimited => "too many messages: not executed",
            Self::TokenInvalid => "token refused: the old one goes on",
            Self::EpochChanged => "the channel began anew: positions of before do not count",
            Self::Unavailable => {
                "no answer, so what came of it is not known: try again, and a publication with the same key"
            }
        }
    }

    /// Whether it counts towards the bound on envelopes that could not be understood (1008).
    pub const fn is_misunderstanding(self) -> bool {
        matches!(self, Self::BadRequest | Self::UnknownType)
    }
}
