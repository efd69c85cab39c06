//! What a client may send, and how a connection ends that sends something else.

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, over all its fragments and inflated.
    pub message_bytes_max: u64,
    /// The most frames of a fragmented message; empty ones count.
    pub fragments_max: u32,
    /// Whether permessage-deflate was agreed on for this connection.
    pub deflate: bool,
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// RFC 6455 or RFC 7692 does not allow it (close code 1002).
    #[error("{0}")]
    Protocol(&'static str),
    /// Text, or the reason of a close, is not UTF-8 (1007).
    #[error("text is not UTF-8")]
    InvalidText,
    /// A message is, declares or inflates to more than [`Limits::message_bytes_max`] (1009).
    #[error("message is larger than the limit")]
    TooBig,
    /// A message comes in more frames than [`Limits::fragments_max`] (1008).
    #[error("message has more fragments than the limit")]
    TooManyFragments,
}
