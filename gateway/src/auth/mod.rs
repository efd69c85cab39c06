//! Who a client is: tokens, the keys that vouch for them, and what they grant. Pure.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod identity;
pub mod mint;
pub mod revocations;
pub mod token;
