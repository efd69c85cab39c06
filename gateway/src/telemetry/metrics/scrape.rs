//! What a scrape reads: the registry, the process, and the state of things that are not counted.

use std::time::SystemTime;

use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector};

use super::{Metrics, Register};
use crate::{config::State, jwks};

/// What is known elsewhere when a scrape asks.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The time of the scrape.
    pub now: SystemTime,
    /// The state of the configuration.
    pub config: &'a State,
    /// The keys of an identity provider, where there is one.
    pub keys: Option<&'a jwks::State>,
    /// Log lines dropped because the pipe was full.
    pub log_lines_dropped: u64,
    /// Spans dropped because the collector did not take them.
    pub spans_dropped: u64,
}

impl Metrics {
    /// Every metric in the Prometheus text format 0.0.4.
    ///
    /// The content type of the answer is [`prometheus::TEXT_FORMAT`].
    pub fn render(&self, scrape: &Scrape<'_>) -> String {
        let encoder = TextEncoder::new();
        [self.registry.gather(), scraped(scrape).gather(), process().gather()]
            .iter()
            .filter_map(|families| encoder.encode_to_string(families).ok())
            .collect()
    }
}

fn by_result(register: &Register, name: &str, help: &str, counts: [(&'static str, u64); 2]) {
    let family = register.family(name, help, "result", &counts.map(|(result, _)| result));
    for (result, count) in counts {
        family.add(result, count);
    }
}

/// What stands elsewhere as a registry of its own, so that nothing has to be kept in step.
fn scraped(scrape: &Scrape<'_>) -> Registry {
    let Scrape { now, config, keys, log_lines_dropped, spans_dropped } = *scrape;
    let register = Register::new();

    let help = "Configurations that were read, by result.";
    let counts = [("applied", config.applied), ("refused", config.refused)];
    by_result(&register, "config_reloads_total", help, counts);
    register
        .gauge("config_refused", "1 while the manifest or its Secrets are not what is applied.")
        .set(config.refusal.is_some().into());
    register
        .gauge("config_restart_required", "Fields that differ from what was read at start.")
        .set(size(config.restart_required.len()));
    register
        .gauge("secrets_missing", "Named Secrets, or files in them, that are not there.")
        .set(size(config.missing.len() + config.vanished.len()));
    if let Some(hash) = &config.hash {
        let help = "The hash of the manifest that is applied.";
        register.gauge_with("config_info", help, ("hash", hash)).set(1);
    }
    if let Some(not_after) = config.certificate_not_after {
        let help = "Until the certificate expires; negative once it has.";
        register.gauge("certificate_expiry_seconds", help).set(not_after - unix(now));
    }
    if let Some(keys) = keys {
        let help = "Fetches of the identity provider's key set, by result.";
        let counts = [("fetched", keys.fetched), ("failed", keys.failed)];
        by_result(&register, "jwks_fetches_total", help, counts);
        register
            .gauge("jwks_keys", "Keys of the identity provider that verify tokens now.")
            .set(size(keys.keys));
        if let Some(at) = keys.fetched_at {
            let help = "How long ago the identity provider's key set was fetched.";
            register.gauge("jwks_age_seconds", help).set(unix(now) - unix(at));
        }
    }
    register
        .counter("log_lines_dropped_total", "Log lines dropped because the pipe was full.")
        .inc_by(log_lines_dropped);
    register
        .counter("spans_dropped_total", "Spans dropped because the collector did not take them.")
        .inc_by(spans_dropped);
    let help = "The version of the gateway.";
    register.gauge_with("build_info", help, ("version", env!("CARGO_PKG_VERSION"))).set(1);
    register.done()
}

/// CPU, memory and files under the names that every exporter uses.
fn process() -> Registry {
    let registry = Registry::new();
    registry
        .register(Box::new(ProcessCollector::for_self()))
        .expect("the registry is empty, so no name is taken");
    registry
}

fn size(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Whole seconds since 1970.
fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
