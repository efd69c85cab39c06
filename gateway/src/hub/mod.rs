//! Who listens to what on one worker, and what waits for each of them.
//!
//! Pure data structures without sockets or clocks. A worker owns one of each and is the only one
//! that touches it, so nothing here is shared and nothing takes a lock.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod outbox;
pub mod subscribers;
pub mod wheel;
