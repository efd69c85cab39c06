//! The client protocol: what a frame's text asks for, and what the gateway answers.
//!
//! Pure: text in, values out, and values in, text out. Who may do what, and when, is decided by
//! the session; codes and field names are public (docs/protocol.md) and never change meaning.
//!
//! Nothing here may panic on what a client sends, nor recurse as deep as a client nests.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "a test that panics has failed, which is its job"
    )
)]

pub mod channel;
pub mod position;
pub mod topic;

pub mod data;
pub mod object;
pub mod request;

pub mod encoded;
pub mod error;
mod json;
pub mod reply;

pub mod close;

pub use crate::websocket::handshake::Dialect;
