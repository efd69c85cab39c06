//! What one connection may do now. Pure: settings, inputs and the time are arguments.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod heartbeat;
pub mod pace;
pub mod rights;
