//! The internal port: probes, metrics, `/status`, and the server API that backends call.
//!
//! The room reads requests and writes answers; whatever a gateway is or does stands behind
//! [`Gateway`](gateway::Gateway). Every body, line, list and wait has a bound, every refusal is
//! JSON, and nothing that a caller sends reaches a panic.
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

pub mod gateway;
pub mod status;
pub mod views;

pub mod error;
pub mod keys;
pub mod percent;

pub mod answer;
mod body;
mod query;
pub mod route;

mod bodies;
mod operation;
mod batch;
mod question;

mod internal;
pub mod server;

pub use internal::Internal;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
