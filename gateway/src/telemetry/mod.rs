//! What the gateway tells its operators: logs, metrics and traces.
//!
//! Nothing here may slow a connection down: workers count in memory of their own, a log line that
//! finds the pipe full is dropped and counted, and so is a span that finds its queue full.

pub mod events;
pub mod log;
pub mod metrics;
pub mod refusals;
pub mod trace;
