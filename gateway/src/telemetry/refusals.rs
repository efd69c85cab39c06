//! Says now and then how many upgrade requests were refused.
//!
//! A refusal is an event at `debug`, since whoever is refused could otherwise write our log. At
//! `info` there is a summary every ten seconds in which there was any.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use tokio::time::{self, MissedTickBehavior};
use tracing::info;

use super::metrics::Metrics;

/// How often there may be a summary.
const PERIOD: Duration = Duration::from_secs(10);

/// Logs the summaries, for as long as the process lives.
pub async fn run(metrics: Arc<Metrics>) {
    let mut summary = Summary::default();
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(reasons) = summary.next(metrics.refused()) {
            info!(event = "refusals", reasons, seconds = PERIOD.as_secs(), "upgrades refused");
        }
    }
}

/// What the last summary knew.
#[derive(Debug, Default)]
struct Summary {
    told: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// What was refused since the last call, as `reason:count` separated by spaces.
    fn next(&mut self, counts: impl Iterator<Item = (&'static str, u64)>) -> Option<String> {
        let mut reasons = String::new();
        for (reason, count) in counts {
            let told = self.told.insert(reason, count).unwrap_or_default();
            if count > told {
                let space = if reasons.is_empty() { "" } else { " " };
                // Writing to a String never fails.
                let _ = write!(reasons, "{space}{reason}:{}", count - told);
            }
        }
        (!reasons.is_empty()).then_some(reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_what_is_new_alone() {
        let mut summary = Summary::default();
        assert_eq!(summary.next([("origin", 0), ("full", 0)].into_iter()), None);

        let said = summary.next([("origin", 3), ("full", 1)].into_iter());
        assert_eq!(said.as_deref(), Some("origin:3 full:1"));

        let said = summary.next([("origin", 5), ("full", 1)].into_iter());
        assert_eq!(said.as_deref(), Some("origin:2"));
        assert_eq!(summary.next([("origin", 5), ("full", 1)].into_iter()), None);
    }
}
