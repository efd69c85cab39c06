//! The metrics of the gateway, and how a scrape reads them.
//!
//! A worker counts in a [`Local`] of its own and flushes it ten times a second, so that a message
//! touches no cache line that another CPU writes. What the gateway already knows elsewhere (the
//! state of the configuration, the certificate, the log) is read when a scrape asks.

mod connections;
mod family;
mod histogram;
mod labels;
mod local;
mod messages;
mod register;
mod scrape;

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge, Registry};

use self::{connections::Connections, family::Family, messages::Messages, register::Register};
pub use self::{
    histogram::{Histogram, LocalHistogram},
    labels::Received,
    local::{Local, Sizes},
    scrape::Scrape,
};

/// From a broker in the same zone to one that is about to be given up.
const RTT_SECONDS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];

/// Why a message from the broker is dropped.
pub const BROKER_DROPPED: [&str; 4] = ["malformed", "version", "oversized", "foreign"];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Connections,
    messages: Messages,
    queue_messages: IntGauge,
    queue_bytes: IntGauge,
    subscriptions: IntGauge,
    channels: IntGauge,
    /// Connections that a drain has still to move.
    pub drain_remaining: IntGauge,
    /// 1 while the broker can be reached; always 1 with the Memory broker.
    pub broker_connected: IntGauge,
    /// Round trips to the broker.
    pub broker_rtt_seconds: Histogram,
    /// Holes between pods that could not be filled.
    pub broker_gaps: IntCounter,
    /// Pods of the gateway that this one can reach, itself among them.
    pub broker_pods: IntGauge,
    broker_dropped: Family,
}

impl Metrics {
    /// All metrics at 0.
    pub fn new() -> Self {
        let register = Register::new();
        Self {
            connections: Connections::new(&register),
            messages: Messages::new(&register),
            queue_messages: register.gauge(
                "send_queue_messages",
                "Messages that wait for slow sockets, over all connections.",
            ),
            queue_bytes: register.gauge(
                "send_queue_bytes",
                "Bytes that wait for slow sockets, over all connections.",
            ),
            subscriptions: register.gauge("subscriptions", "Live subscriptions to channels."),
            channels: register.gauge("channels", "Channels that have a subscriber."),
            drain_remaining: register.gauge(
                "drain_remaining_connections",
                "Connections that a drain has still to move.",
            ),
            broker_connected: register
                .gauge("broker_connected", "1 while the broker can be reached."),
            broker_rtt_seconds: register.histogram(
                "broker_rtt_seconds",
                "Round trips to the broker.",
                RTT_SECONDS,
            ),
            broker_gaps: register.counter(
                "broker_gaps_total",
                "Holes in what pods share that no stream could fill; clients were told by a gap.",
            ),
            broker_pods: register.gauge(
                "broker_pods",
                "Pods of the gateway that this one can reach, itself among them.",
            ),
            broker_dropped: register.family(
                "broker_dropped_total",
                "Messages from the broker that were dropped, by reason.",
                "reason",
                &BROKER_DROPPED,
            ),
            registry: register.done(),
        }
    }

    /// One worker's side, empty. What it counts shows once it flushes.
    pub fn local(self: &Arc<Self>) -> Local {
        Local::new(Arc::clone(self))
    }

    /// Counts a refusal where no worker is at hand, by the refusal's label.
    pub fn refuse(&self, label: &str) {
        self.connections.refused.add(label, 1);
    }

    /// Counts a message from the broker that was dropped; the reason is one of [`BROKER_DROPPED`].
    pub fn broker_drop(&self, reason: &str) {
        self.broker_dropped.add(reason, 1);
    }

    /// Refusals so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.connections.refused.counts()
    }

    /// What a person wants to know first (`GET /api/v1/stats`).
    pub fn totals(&self) -> Totals {
        Totals {
            connections_total: self.connections.opened.get(),
            messages_received: self.messages.received.sum(),
            messages_delivered: self.messages.delivered.get(),
            errors: self.messages.errors.sum(),
            delivery_seconds_mean: self.messages.delivery_seconds.mean(),
            delivery_seconds_sum: self.messages.delivery_seconds.sum(),
            delivery_seconds_count: self.messages.delivery_seconds.count(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The counts since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Connections accepted.
    pub connections_total: u64,
    /// Envelopes read.
    pub messages_received: u64,
    /// Publications written to sockets.
    pub messages_delivered: u64,
    /// Errors answered.
    pub errors: u64,
    /// The mean time from a publication accepted to its bytes written; `None` before the first.
    pub delivery_seconds_mean: Option<f64>,
    /// The sum behind that mean.
    pub delivery_seconds_sum: f64,
    /// The number of deliveries that were timed.
    pub delivery_seconds_count: u64,
}

#[cfg(test)]
mod tests;
