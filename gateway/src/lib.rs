//! The gateway: a WebSocket hub that a manifest describes.
//!
//! ```text
//! accept -> TLS -> HTTP upgrade -> admission -> session -> broker -> hub -> outbox -> socket
//! ```
//!
//! Rooms stand in the order of the data's way; a room knows those above it and none below
//! (`tests/tidy.rs` holds the list, ARCHITECTURE.md the reasons).

pub mod admission;
pub mod api;
pub mod auth;
pub mod broker;
pub mod cli;
pub mod config;
pub mod console;
pub mod hub;
pub mod jwks;
pub mod nats;
pub mod protocol;
pub mod serve;
pub mod session;
pub mod telemetry;
pub mod websocket;
pub mod worker;
