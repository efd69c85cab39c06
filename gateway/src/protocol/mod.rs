//! The client protocol: envelopes, replies, errors, names and close codes. Pure.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod close;
pub mod data;
pub mod encoded;
pub mod error;
pub mod position;
pub mod reply;
pub mod request;
pub mod topic;
