//! The internal port: metrics, health, status and the server API.

pub mod router;
pub mod server;
