//! Every way a request to the internal port is refused: status, code and words in one place.
//!
//! Codes are public (`openapi.json`) and never change meaning; words may be improved in any
//! release.

use std::time::Duration;

use http::StatusCode;

use crate::protocol::channel::ChannelInvalid;

/// How long a body, or the next piece of one, may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the gateway may take to answer one request, or one line of a batch.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The request is not what the path takes.
    #[error("{0}")]
    Invalid(String),
    /// A name that no channel has.
    #[error(transparent)]
    Channel(#[from] ChannelInvalid),
    /// No API key, or one that does not count.
    #[error("this needs the header Authorization: Bearer <a key of spec.api.keySecretName>")]
    Unauthorized,
    /// The manifest has no server API.
    #[error("the server API is off: name a Secret with the key api-key in spec.api.keySecretName")]
    Off,
    /// Something that the request names is not there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// No rule of the manifest matches the channel.
    #[error("no rule in spec.channels matches {0:?}")]
    NoRule(String),
    /// The path is known, and takes other methods.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// The body did not come in time.
    #[error("the body, or its next piece, did not come within {} s", BODY_TIMEOUT.as_secs())]
    Timeout,
    /// History began anew since the position that was given.
    #[error("the channel's history began anew since this epoch")]
    EpochChanged,
    /// The body, the line or the message in it is too long.
    #[error("{what} has more than {bytes_max} bytes")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// What would do.
        bytes_max: usize,
    },
    /// A body that is compressed.
    #[error("the body must come as it is: Content-Encoding must be identity or left out")]
    Encoding,
    /// Something that has a bound is at it.
    #[error("{0}")]
    Full(&'static str),
    /// The gateway cannot do it now, or cannot say whether it did.
    #[error("{0}")]
    Unavailable(String),
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ApiError {
    /// A channel whose rule has no `history`.
    pub const fn no_history() -> Self {
        Self::NotFound("history: the rule of this channel has none")
    }

    /// A channel whose rule has `presence: Disabled`.
    pub const fn no_presence() -> Self {
        Self::NotFound("presence: the rule of this channel has none")
    }

    /// What there is to say before the workers run, and when they are gone.
    pub fn starting() -> Self {
        let words = "the gateway is starting or has stopped: /readyz says what it waits for";
        Self::Unavailable(words.to_owned())
    }

    /// The gateway was silent for too long.
    pub fn silent() -> Self {
        let seconds = ANSWER_TIMEOUT.as_secs();
        Self::Unavailable(format!("no answer within {seconds} s: the outcome is not known"))
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Channel(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Off | Self::NotFound(_) | Self::NoRule(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::EpochChanged => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Full(_) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What programs go by.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad_request",
            Self::Channel(_) => "channel_invalid",
            Self::Unauthorized => "unauthorized",
            Self::Off => "api_off",
            Self::NotFound(_) => "not_found",
            Self::NoRule(_) => "no_rule",
            Self::Method(_) => "method",
            Self::Timeout => "timeout",
            Self::EpochChanged => "epoch_changed",
            Self::TooLarge { .. } => "too_large",
            Self::Encoding => "content_encoding",
            Self::Full(_) => "full",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}
