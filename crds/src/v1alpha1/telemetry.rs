//! Logs and traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::kind;

/// Logs and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Telemetry {
    /// The least important events that are logged. No level logs a token.
    pub log_level: LogLevel,
    /// Where traces go. Left out, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log_level: LogLevel::Info, otlp: None }
    }
}

/// The importance of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Our fault.
    Error,
    /// Another service's fault, or something to change.
    Warn,
    /// What the process does.
    Info,
    /// What clients do.
    Debug,
    /// Everything.
    Trace,
}

/// Where traces go: an OpenTelemetry collector, by gRPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Otlp {
    /// The collector.
    #[schemars(schema_with = "kind::http_url")]
    pub endpoint: String,
    /// How many of the connections and publications are traced, from 0 to 1, where the caller's `traceparent` does not say.
    #[serde(default = "Otlp::sample_ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: f64,
}

impl Otlp {
    fn sample_ratio() -> f64 {
        0.01
    }
}
