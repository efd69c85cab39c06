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
                labels::REFUSED,
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

    /// Refusals so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refused.counts()
    }

    /// What a person wants to know first (`GET /api/v1/stats`).
    pub fn totals(&self) -> Totals {
        Totals {
            connections_total: self.opened.get(),
            connections_active: self.serving.get() + self.draining.get(),
            connections_refused: self.refused.sum(),
            messages_received: self.received.sum(),
            messages_delivered: self.delivered.get(),
            errors: self.errors.sum(),
            delivery_seconds_mean: self.delivery_seconds.mean(),
            delivery_seconds_sum: self.delivery_seconds.sum(),
            delivery_seconds_count: self.delivery_seconds.count(),
            handling_seconds_mean: self.handling_seconds.mean(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The counts since the process started, and what is open now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections open now.
    pub connections_active: i64,
    /// Upgrade requests refused.
    pub connections_refused: u64,
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
    /// The mean time that an envelope takes; `None` before the first.
    pub handling_seconds_mean: Option<f64>,
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::config::State;

    fn rendered(metrics: &Metrics, config: &State) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        metrics.render(&Scrape { now, config, keys: None, log_lines_dropped: 3, spans_dropped: 0 })
    }

    /// The value of a series, by its name without the prefix and with its labels.
    fn value(text: &str, series: &str) -> Option<f64> {
        let series = format!("realtime_gateway_{series} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    #[test]
    fn every_label_value_has_its_series_from_the_start() {
        let text = rendered(&Metrics::new(), &State::default());

        for series in [
            "active_connections{state=\"draining\"}",
            "connections_refused_total{reason=\"keys\"}",
            "connections_closed_total{reason=\"slow_consumer\"}",
            "messages_received_total{type=\"invalid\"}",
            "errors_total{code=\"epoch_changed\"}",
            "config_reloads_total{result=\"refused\"}",
            "delivery_seconds_count",
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
        }
    }

    #[test]
    fn what_a_worker_counts_shows_after_its_flush() {
        let metrics = Arc::new(Metrics::new());
        let mut local = metrics.local();
        local.opened();
        local.received(Received::Message);
        local.delivered(0.02, 1_000);
        local.error(ErrorCode::Forbidden);
        local.closed(CloseReason::Application(4_100), 5.0);
        assert_eq!(metrics.totals(), Totals::default());

        local.flush();
        local.flush();

        let text = rendered(&metrics, &State::default());
        for (series, expected) in [
            ("connections_total", 1.0),
            ("messages_received_total{type=\"message\"}", 1.0),
            ("messages_delivered_total", 1_000.0),
            ("delivery_seconds_bucket{le=\"0.01\"}", 0.0),
            ("delivery_seconds_bucket{le=\"0.025\"}", 1_000.0),
            ("errors_total{code=\"forbidden\"}", 1.0),
            ("connections_closed_total{reason=\"application\"}", 1.0),
            ("connection_duration_seconds_sum", 5.0),
        ] {
            assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
        }
    }

    #[test]
    fn sizes_are_the_sum_over_the_workers_that_live() {
        let metrics = Arc::new(Metrics::new());
        let serving = |metrics: &Metrics| metrics.totals().connections_active;
        let mut first = metrics.local();
        let mut second = metrics.local();

        first.sizes.serving = 5;
        first.flush();
        second.sizes.serving = 2;
        second.flush();
        assert_eq!(serving(&metrics), 7);

        first.sizes = Sizes { serving: 1, draining: 3, ..Sizes::default() };
        first.flush();
        assert_eq!(serving(&metrics), 6);

        drop(first);
        assert_eq!(serving(&metrics), 2);
    }

    #[test]
    fn the_certificate_counts_down_to_its_end_and_beyond() {
        let expiring = |not_after| State { certificate_not_after: not_after, ..State::default() };
        let check = |not_after, expected| {
            let text = rendered(&Metrics::new(), &expiring(not_after));
            assert_eq!(value(&text, "certificate_expiry_seconds"), expected);
        };

        check(None, None);
        check(Some(1_060), Some(60.0));
        check(Some(940), Some(-60.0));
    }

    #[test]
    fn promtool_finds_nothing() {
        let metrics = Arc::new(Metrics::new());
        let mut local = metrics.local();
        local.delivered(0.02, 3);
        local.flush();
        let config = State {
            hash: Some("5d41402a".to_owned()),
            certificate_not_after: Some(2_000),
            ..State::default()
        };
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        // It is not part of a Rust toolchain; `make test` installs it.
        let Ok(mut promtool) = promtool else { return };

        promtool.stdin.take().unwrap().write_all(rendered(&metrics, &config).as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();

        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
