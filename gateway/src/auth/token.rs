//! What a token may be, and why it may not count.

pub use super::{
    key::{Key, KeyError},
    key_set::KeySet,
    verifier::Verifier,
};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Clocks may differ by so many seconds.
pub const LEEWAY: u64 = 60;

/// Why a token does not count. The words are for the log and have nothing of the token in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("token expired")]
    Expired,
    /// It is not good; the client learns only that.
    #[error("token refused: {0}")]
    Refused(&'static str),
    /// It may be good. The client should come back when the key set has been fetched.
    #[error("the key of the token is not known yet")]
    Undecided,
}
