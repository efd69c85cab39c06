//! How many upgrades were refused as full within the last half minute.
//!
//! The operator counts them as wanted connections: a full gateway's own count cannot say how many
//! more there would be.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{admission::refusal::Refusal, telemetry::metrics::Metrics};

/// How many seconds count.
const SECONDS: usize = 30;

/// Counts from now on, by a task among `tasks`.
pub fn watch(metrics: Arc<Metrics>, tasks: &mut JoinSet<()>) -> Arc<AtomicU64> {
    let recent = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&recent);
    tasks.spawn(async move {
        let mut window = Window::default();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let full = Refusal::Full.code();
            let total = metrics.refused().find(|(reason, _)| *reason == full);
            recent.store(window.next(total.map_or(0, |(_, count)| count)), Ordering::Relaxed);
        }
    });
    shown
}

/// A counter's values, one a second.
#[derive(Debug, Default)]
struct Window {
    totals: VecDeque<u64>,
}

impl Window {
    /// Takes the counter's value now; by how much it rose within the window.
    fn next(&mut self, total: u64) -> u64 {
        self.totals.push_back(total);
        if self.totals.len() > SECONDS + 1 {
            self.totals.pop_front();
        }
        total - self.totals.front().copied().unwrap_or(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_half_minute_counts() {
        let mut window = Window::default();
        assert_eq!(window.next(5), 0);
        assert_eq!(window.next(8), 3);
        for _ in 0..29 {
            assert_eq!(window.next(8), 3);
        }
        assert_eq!(window.next(8), 0);
        assert_eq!(window.next(9), 1);
    }
}
