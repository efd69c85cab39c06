//! WebSocket without a socket: the handshake's rules, frames, messages, compression.
//!
//! RFC 6455 and RFC 7692 for a server, on tungstenite's frame headers. Its `WebSocket` is not used:
//! it refuses compressed frames, bounds neither fragments nor time, and buffers 128 KiB a connection.
//!
//! Pure: bytes in, events out; no I/O, no clock. Whatever a peer sends ends in an event or in a
//! [`assembler::Violation`], never in a panic, and never in more memory than its limits say.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod handshake;
pub mod head;

mod extension;
mod subprotocol;

pub mod assembler;

mod event;
mod header;
mod input;
mod limits;
mod mask;
mod message;
mod partial;

pub mod deflate;
pub mod frame;

mod inflate;
