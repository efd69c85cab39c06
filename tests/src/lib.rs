//! What the measurements share: a WebSocket client by hand, thousands of them on one thread that
//! spins, the server under measurement, and the table at the end.

pub mod clock;
pub mod wire;

pub mod client;
pub mod clients;
pub mod speech;
pub mod tls;

pub mod gateway;
pub mod http;
pub mod server;

pub mod table;
