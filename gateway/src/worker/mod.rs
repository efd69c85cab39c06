//! The threads that hold the connections.
//!
//! As many as the CPUs that the process may use, each with a runtime of its own and its own slice
//! of the connections, of the topics' subscribers and of the broker. They talk by mailboxes, share
//! nothing that a message touches, and take no lock.
//!
//! The files in the order in which a publication meets them: [`listen`] takes a socket, `upgrade`
//! and `admit` make a connection of it, `drive` reads its frames, `requests` does what they ask,
//! `home` orders and keeps what is published, `deliver` hands it to the subscribers, and
//! `connection` writes it to the socket. Beside that way: `subscribe` (and the seam between history
//! and live), `tick` (time), `drain`, `configure` and `commands` (what the rest of the process asks).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod key;
pub mod message;
pub mod pool;
pub mod settings;
pub mod shared;

mod admit;
mod listen;
mod prefixed;
mod run;
mod upgrade;

mod connection;
mod life;
mod transport;

mod drive;
mod requests;
mod subscribe;

mod deliver;
mod home;

mod commands;
mod configure;
mod drain;
mod tick;
