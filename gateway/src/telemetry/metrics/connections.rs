//! The metrics of connections, from the upgrade to the close.

use prometheus::{IntCounter, IntGauge};

use super::{family::Family, histogram::Histogram, labels, register::Register};
use crate::protocol::close::CloseReason;

/// From a client that comes back in a loop to one that stays for a day.
const CONNECTION_SECONDS: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

/// How many connections there are and were, and how they ended.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) serving: IntGauge,
    pub(super) draining: IntGauge,
    pub(super) opened: IntCounter,
    pub(super) refused: Family,
    pub(super) closed: Family,
    pub(super) seconds: Histogram,
}

impl Connections {
    pub(super) fn new(register: &Register) -> Self {
        Self {
            serving: register.active("serving"),
            draining: register.active("draining"),
            opened: register
                .counter("connections_total", "WebSocket connections that were accepted."),
            refused: register.family(
                "connections_refused_total",
                "Upgrade requests that were refused, by reason.",
                "reason",
                &labels::refused(),
            ),
            closed: register.family(
                "connections_closed_total",
                "WebSocket connections that ended, by reason.",
                "reason",
                &CloseReason::ALL.map(CloseReason::label),
            ),
            seconds: register.histogram(
                "connection_duration_seconds",
                "How long the connections that ended had been open.",
                CONNECTION_SECONDS,
            ),
        }
    }
}
