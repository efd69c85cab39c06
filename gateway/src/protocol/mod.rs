//! The client protocol: envelopes, replies, errors and close codes. Pure.

pub mod close;
