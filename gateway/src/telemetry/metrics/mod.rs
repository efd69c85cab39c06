//! The metrics of the gateway, and how a scrape reads them.
//!
//! A worker counts in a [`Local`] of its own and flushes it ten times a second, so that a message
//! touches no cache line that another CPU writes. What the gateway already knows elsewhere (the
//! state of the configuration, the certificate, the log) is read when a scrape asks.

mod family;
mod histogram;
mod labels;
mod local;
mod register;
mod scrape;

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge, Registry};

use self::{family::Family, register::Register};
pub use self::{
    histogram::{Histogram, LocalHistogram},
    labels::Received,
    local::{Local, Sizes},
    scrape::Scrape,
};
use crate::protocol::{close::CloseReason, error::ErrorCode};

/// From a client that comes back in a loop to one that stays for a day.
const CONNECTION_SECONDS: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

/// Around the few microseconds that a message costs, up to where one client holds up the others.
const HANDLING_SECONDS: &[f64] =
    &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1];

/// From a fan-out within a millisecond to what a person notices, and to what is no longer live.
const DELIVERY_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// One envelope alone, then powers of two up to the largest batch that is sensible.
const BATCH_MESSAGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// From a broker in the same zone to one that is about to be given up.
const RTT_SECONDS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];

/// Why a message from the broker is dropped.
pub const BROKER_DROPPED: [&str; 4] = ["malformed", "version", "oversized", "foreign"];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    serving: IntGauge,
    draining: IntGauge,
    opened: IntCounter,
    refused: Family,
    closed: Family,
    connection_seconds: Histogram,
    received: Family,
    delivered: IntCounter,
    errors: Family,
    handling_seconds: Histogram,
    delivery_seconds: Histogram,
    queue_messages: IntGauge,
    queue_bytes: IntGauge,
    batch_messages: Histogram,
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
            connection_seconds: register.histogram(
                "connection_duration_seconds",
                "How long the connections that ended had been open.",
                CONNECTION_SECONDS,
            ),
            received: register.family(
                "messages_received_total",
                "Envelopes from clients, by type.",
                "type",
                &Received::ALL.map(Received::label),
            ),
            delivered: register.counter(
                "messages_delivered_total",
                "Publications that were handed to the sockets or queues of clients.",
            ),
            errors: register.family(
                "errors_total",
                "Errors that clients were answered with, by code.",
                "code",
                &ErrorCode::ALL.map(ErrorCode::code),
            ),
            handling_seconds: register.histogram(
                "message_handling_seconds",
                "From an envelope read to everything it caused decided.",
                HANDLING_SECONDS,
            ),
            delivery_seconds: register.histogram(
                "delivery_seconds",
                "From a publication accepted to its bytes handed to a subscriber's socket or queue.",
                DELIVERY_SECONDS,
            ),
            queue_messages: register.gauge(
                "send_queue_messages",
                "Messages that wait for slow sockets, over all connections.",
            ),
            queue_bytes: register.gauge(
                "send_queue_bytes",
                "Bytes that wait for slow sockets, over all connections.",
            ),
            batch_messages: register.histogram(
                "batch_messages",
                "Envelopes that went out in one write.",
                BATCH_MESSAGES,
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
            broker_pods: register
                .gauge("broker_pods", "Pods of the gateway that this one can reach, itself among them; 1 while the broker is lost."),
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
        self.refused.add(label, 1);
    }

    /// Counts a message from the broker that was dropped; the reason is one of [`BROKER_DROPPED`].
    pub fn broker_drop(&self, reason: &str) {
        self.broker_dropped.add(reason, 1);
    }

    /// Refusals so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refused.counts()
    }

    /// What a person wants to know first (`GET /api/v1/stats`).
    pub fn totals(&self) -> Totals {
        Totals {
            connections_total: self.opened.get(),
            messages_received: self.received.sum(),
            messages_delivered: self.delivered.get(),
            errors: self.errors.sum(),
            delivery_seconds_mean: self.delivery_seconds.mean(),
            delivery_seconds_sum: self.delivery_seconds.sum(),
            delivery_seconds_count: self.delivery_seconds.count(),
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
