//! Who may open a connection, from the request and the load alone. Pure; time is an argument.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

pub mod address;
mod addresses;
pub mod load;
pub mod origin;
pub mod proxy;
pub mod rate;
pub mod refusal;
pub mod users;
