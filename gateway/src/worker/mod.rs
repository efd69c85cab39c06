//! The threads that hold the connections.
//!
//! As many as the CPUs that the process may use, each with a runtime of its own and its own slice
//! of the connections, of the topics' subscribers and of the broker. They talk by mailboxes, share
//! nothing that a message touches, and take no lock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod accept;
mod connection;
pub mod message;
pub mod pool;
mod requests;
mod state;
mod transport;
