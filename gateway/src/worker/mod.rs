//! The threads that hold the connections.
//!
//! As many as the CPUs that the process may use, each with a runtime of its own and its own slice
//! of the connections, of the topics' subscribers and of the broker. They talk by mailboxes, share
//! nothing that a message touches, and take no lock.
//!
//! The files below stand in the order in which a publication meets them. On the way in, `listen` takes
//! a socket, and `handshake`, `upgrade` and `admit` make a connection of it. `drive` reads its frames
//! and `requests` does what they ask. Every message between workers comes through `inbox`: in the
//! worker that is the topic's home, `home` orders and keeps what is published; in those that have
//! subscribers, `deliver` hands it to them, and `connection` writes it to the socket.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod key;
pub mod message;
pub mod pool;
pub mod questions;
pub mod settings;
pub mod shared;

mod run;

// A socket becomes a connection.
mod listen;

mod handshake;
mod prefixed;
mod upgrade;

mod admit;

// What a worker has: connections, each with a transport.
mod life;

mod connection;
mod transport;

// Frames become requests.
mod drive;

mod requests;
mod subscribe;

mod authenticate;
mod greet;
mod replay;

// What is published goes to its home, and from there to everybody who listens.
mod inbox;

mod home;
mod seats;

mod deliver;

// What time, the manifest and the rest of the process ask.
mod tick;

mod commands;
mod configure;
mod drain;
