//! Metrics. Labels are closed sets, never anything a client sent.
//!
//! Workers count in plain numbers of their own and add them here at each tick, so that no message
//! touches memory that another worker writes.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::{admission::refusal::Refusal, protocol::error::ErrorCode};

const PREFIX: &str = "realtime_gateway_";

/// Publication to write: from 50 us, a good loopback, to 5 s, where clients give up.
const DELIVERY_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// From a second to a week: how long people stay.
const DURATION_SECONDS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0];

/// Every type of envelope from a client.
pub const TYPES: [&str; 7] =
    ["ping", "subscribe", "unsubscribe", "message", "history", "presence", "authenticate"];

/// Every reason for which a connection ends.
pub const CLOSE_LABELS: [&str; 25] = [
    "client", "connection_lost", "going_away", "protocol_violation", "unsupported", "invalid_text",
    "policy", "bad_requests", "too_big", "internal", "draining", "made_room", "undecided",
    "token_expired", "pong_timeout", "rate_limited", "user_connections", "slow_consumer",
    "write_timeout", "disconnected", "application", "token_refused", "not_authenticated", "idle",
    "revoked",
];

/// The handles.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// By `state`.
    pub active: IntGaugeVec,
    /// Upgrades.
    pub connections: IntCounter,
    /// By `reason`.
    pub refused: IntCounterVec,
    /// By `reason`.
    pub closed: IntCounterVec,
    /// How long connections lived.
    pub duration: Histogram,
    /// By `type`.
    pub received: IntCounterVec,
    /// Written to clients.
    pub delivered: IntCounter,
    /// By `code`.
    pub errors: IntCounterVec,
    /// Publication to write.
    pub delivery: Histogram,
    /// Frames that wait for slow clients.
    pub queue_messages: IntGauge,
    /// Bytes that wait for slow clients.
    pub queue_bytes: IntGauge,
    /// Subscriptions.
    pub subscriptions: IntGauge,
    /// Channels with a subscriber, counted on each worker.
    pub channels: IntGauge,
    /// By `result`.
    pub reloads: IntCounterVec,
    /// By `hash`: one series, of the configuration in use.
    pub config: IntGaugeVec,
    /// Fields that wait for a restart.
    pub restart_required: IntGauge,
    /// Connections that the drain has yet to close.
    pub drain_remaining: IntGauge,
    /// Seconds until the certificate ends; 0 without TLS.
    pub certificate_expiry: IntGauge,
}

impl Metrics {
    /// Registers everything.
    #[expect(clippy::missing_panics_doc, reason = "names are constants that a test registers")]
    pub fn new() -> Self {
        let registry = Registry::new();
        macro_rules! register {
            ($metric:expr) => {{
                let metric = $metric.expect("a name and labels that are valid");
                registry.register(Box::new(metric.clone())).expect("a name that is used once");
                metric
            }};
        }
        let opts = |name: &str, help: &str| Opts::new(format!("{PREFIX}{name}"), help);
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec()))
        };
        let this = Self {
            active: register!(IntGaugeVec::new(opts("active_connections", "Connections now."), &["state"])),
            connections: register!(IntCounter::with_opts(opts("connections_total", "Upgraded connections."))),
            refused: register!(IntCounterVec::new(opts("connections_refused_total", "Refused upgrades."), &["reason"])),
            closed: register!(IntCounterVec::new(opts("connections_closed_total", "Ended connections."), &["reason"])),
            duration: register!(histogram("connection_duration_seconds", "How long connections lived.", DURATION_SECONDS)),
            received: register!(IntCounterVec::new(opts("messages_received_total", "Envelopes from clients."), &["type"])),
            delivered: register!(IntCounter::with_opts(opts("messages_delivered_total", "Publications written to clients."))),
            errors: register!(IntCounterVec::new(opts("errors_total", "Errors told to clients."), &["code"])),
            delivery: register!(histogram("delivery_seconds", "From published to written.", DELIVERY_SECONDS)),
            queue_messages: register!(IntGauge::with_opts(opts("send_queue_messages", "Frames that wait for slow clients."))),
            queue_bytes: register!(IntGauge::with_opts(opts("send_queue_bytes", "Bytes that wait for slow clients."))),
            subscriptions: register!(IntGauge::with_opts(opts("subscriptions", "Subscriptions now."))),
            channels: register!(IntGauge::with_opts(opts("channels", "Channels with a subscriber, summed over workers."))),
            reloads: register!(IntCounterVec::new(opts("config_reloads_total", "Configurations read."), &["result"])),
            config: register!(IntGaugeVec::new(opts("config_info", "The configuration in use."), &["hash"])),
            restart_required: register!(IntGauge::with_opts(opts("config_restart_required", "Fields that wait for a restart."))),
            drain_remaining: register!(IntGauge::with_opts(opts("drain_remaining_connections", "Connections the drain has yet to close."))),
            certificate_expiry: register!(IntGauge::with_opts(opts("certificate_expiry_seconds", "Seconds until the certificate ends; 0 without TLS."))),
            registry,
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        this.registry.register(Box::new(process)).expect("a collector that is used once");
        this.begin_at_zero();
        this
    }

    /// A series that appears with its first event hides that event from `rate()`.
    fn begin_at_zero(&self) {
        for state in ["serving", "draining"] {
            self.active.with_label_values(&[state]);
        }
        for reason in Refusal::CODES {
            self.refused.with_label_values(&[reason]);
        }
        for reason in CLOSE_LABELS {
            self.closed.with_label_values(&[reason]);
        }
        for kind in TYPES {
            self.received.with_label_values(&[kind]);
        }
        for code in ErrorCode::ALL {
            self.errors.with_label_values(&[code.code()]);
        }
        for result in ["applied", "refused"] {
            self.reloads.with_label_values(&[result]);
        }
    }

    /// The text format 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_begins_at_zero() {
        let text = Metrics::new().render();
        assert!(text.contains("realtime_gateway_connections_refused_total{reason=\"full\"} 0"));
        assert!(text.contains("realtime_gateway_connections_closed_total{reason=\"slow_consumer\"} 0"));
        assert!(text.contains("realtime_gateway_errors_total{code=\"bad_request\"} 0"));
    }
}
