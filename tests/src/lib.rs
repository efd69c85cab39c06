//! What the benchmarks share: a WebSocket client by hand, many of them on one thread, and the
//! readings of the process under measurement.

pub mod clients;
pub mod clock;
pub mod measured;
pub mod wire;
