//! RFC 6455 and RFC 7692: handshake, frames, messages, compression. Pure: bytes in, events out.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod assembler;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod head;
