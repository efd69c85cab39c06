//! Who a client is: tokens, the keys that vouch for them, and what they grant. Pure.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

mod algorithm;
mod public;

pub mod jwks;
pub mod key;
pub mod key_set;

mod claim;
mod jws;

mod claims;
mod grants;
pub mod identity;

pub mod token;
pub mod verifier;

pub mod mint;
pub mod revocations;

#[cfg(test)]
pub(crate) mod signer;
