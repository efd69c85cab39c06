use std::time::{Duration, SystemTime};

use super::*;
use crate::config::State;
use crate::protocol::{close::CloseReason, error::ErrorCode};

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
    let serving =
        |metrics: &Metrics| metrics.connections.serving.get() + metrics.connections.draining.get();
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
