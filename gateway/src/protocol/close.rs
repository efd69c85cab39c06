//! Every way a connection can end.
//!
//! One row per reason, so that the client, the log and the dashboard never disagree. The codes are
//! public (docs/protocol.md); the words are not, and may be improved in any release.

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client sent a close frame.
    Client,
    /// The transport ended or failed without a close frame.
    ConnectionLost,
    /// The process ends now.
    GoingAway,
    /// A frame that RFC 6455 does not allow.
    ProtocolViolation,
    /// A binary frame in a dialect that has none.
    Unsupported,
    /// Text that is not UTF-8.
    InvalidText,
    /// A bound on fragments or the age of an incomplete message was passed.
    Policy,
    /// Too many envelopes that could not be understood.
    BadRequests,
    /// A message larger than `maxMessageSize`.
    TooBig,
    /// A defect of ours.
    Internal,
    /// This pod drains; the client comes back after its own delay and meets another.
    Draining,
    /// The longest idle made room for others.
    MadeRoom,
    /// What the token says cannot be decided now.
    Undecided,
    /// The token has expired, or what vouched for it is gone.
    TokenExpired,
    /// The client did not answer in time.
    PongTimeout,
    /// The message rate limit was passed for long.
    RateLimited,
    /// The user holds too many connections.
    UserConnections,
    /// The client reads more slowly than its channels publish.
    SlowConsumer,
    /// A write did not finish in time.
    WriteTimeout,
    /// The server API ended the connection.
    Disconnected,
    /// The server API ended the connection with a code of the application's own.
    Application(u16),
    /// The token was refused, or is missing.
    TokenRefused,
    /// The first message did not authenticate in time.
    NotAuthenticated,
    /// No message was exchanged for `limits.idleTimeout`.
    Idle,
    /// The token or its user was revoked.
    Revoked,
}

impl CloseReason {
    /// Every reason once; [`Self::Application`] stands for all of its codes.
    pub const ALL: [Self; 25] = [
        Self::Client,
        Self::ConnectionLost,
        Self::GoingAway,
        Self::ProtocolViolation,
        Self::Unsupported,
        Self::InvalidText,
        Self::Policy,
        Self::BadRequests,
        Self::TooBig,
        Self::Internal,
        Self::Draining,
        Self::MadeRoom,
        Self::Undecided,
        Self::TokenExpired,
        Self::PongTimeout,
        Self::RateLimited,
        Self::UserConnections,
        Self::SlowConsumer,
        Self::WriteTimeout,
        Self::Disconnected,
        Self::Application(0),
        Self::TokenRefused,
        Self::NotAuthenticated,
        Self::Idle,
        Self::Revoked,
    ];

    /// The status code in the close frame (RFC 6455, section 7.4); nothing is sent on a transport
    /// that is gone.
    pub const fn code(self) -> u16 {
        match self {
            Self::Client | Self::ConnectionLost => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolViolation => 1002,
            Self::Unsupported => 1003,
            Self::InvalidText => 1007,
            Self::Policy | Self::BadRequests => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Draining => 1012,
            Self::MadeRoom | Self::Undecided => 1013,
            Self::TokenExpired => 4401,
            Self::PongTimeout => 4408,
            Self::RateLimited => 4429,
            Self::UserConnections => 4430,
            Self::SlowConsumer | Self::WriteTimeout => 4431,
            Self::Disconnected => 4500,
            Self::Application(code) => code,
            Self::TokenRefused => 4501,
            Self::NotAuthenticated => 4502,
            Self::Idle => 4503,
            Self::Revoked => 4504,
        }
    }

    /// What the close frame says beside the code, for people who debug a client. At most 123 bytes.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Client | Self::ConnectionLost => "",
            Self::GoingAway => "the gateway stops",
            Self::ProtocolViolation => "protocol violation",
            Self::Unsupported => "binary frames are not supported",
            Self::InvalidText => "text is not UTF-8",
            Self::Policy => "too many or too slow fragments",
            Self::BadRequests => "too many invalid messages",
            Self::TooBig => "message too big",
            Self::Internal => "internal error",
            Self::Draining => "the gateway drains: reconnect",
            Self::MadeRoom => "idle connection made room for others",
            Self::Undecided => "the token cannot be checked now: try again later",
            Self::TokenExpired => "token expired",
            Self::PongTimeout => "no answer to a ping",
            Self::RateLimited => "message rate limit exceeded",
            Self::UserConnections => "too many connections of this user",
            Self::SlowConsumer => "slow consumer",
            Self::WriteTimeout => "write timed out",
            Self::Disconnected => "disconnected by the application",
            Self::Application(_) => "closed by the application",
            Self::TokenRefused => "token refused",
            Self::NotAuthenticated => "not authenticated in time",
            Self::Idle => "idle for too long",
            Self::Revoked => "token revoked",
        }
    }

    /// The value of the `reason` label on `realtime_gateway_connections_closed_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ConnectionLost => "connection_lost",
            Self::GoingAway => "going_away",
            Self::ProtocolViolation => "protocol_violation",
            Self::Unsupported => "unsupported",
            Self::InvalidText => "invalid_text",
            Self::Policy => "policy",
            Self::BadRequests => "bad_requests",
            Self::TooBig => "too_big",
            Self::Internal => "internal",
            Self::Draining => "draining",
            Self::MadeRoom => "made_room",
            Self::Undecided => "undecided",
            Self::TokenExpired => "token_expired",
            Self::PongTimeout => "pong_timeout",
            Self::RateLimited => "rate_limited",
            Self::UserConnections => "user_connections",
            Self::SlowConsumer => "slow_consumer",
            Self::WriteTimeout => "write_timeout",
            Self::Disconnected => "disconnected",
            Self::Application(_) => "application",
            Self::TokenRefused => "token_refused",
            Self::NotAuthenticated => "not_authenticated",
            Self::Idle => "idle",
            Self::Revoked => "revoked",
        }
    }
}
