//! The internal port: probes, metrics, `/status`, and the server API that backends call.
//!
//! The room reads requests and writes answers; whatever a gateway is or does stands behind
//! [`Gateway`](gateway::Gateway). Every body, line, list and wait has a bound, every refusal is
//! JSON, and nothing that a caller sends reaches a panic.
//!
//! A request goes this way, and what it may be is written down in `openapi.json`:
//!
//! ```text
//! server -> internal -> keys, route -+-> body -> operation (bodies) -+-> Gateway -> views -> answer
//!                                    +-> batch: the same, by line ---+
//!                                    +-> question (query) -----------+
//! ```
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

pub mod server;

mod internal;

pub mod keys;
pub mod percent;
pub mod route;

mod batch;
mod bodies;
mod body;
mod operation;

mod query;
mod question;

pub mod gateway;
pub mod status;
pub mod views;

pub mod answer;
pub mod error;

pub use internal::Internal;

#[cfg(test)]
mod tests;
