//! When to fetch the key set, and what to make of what came. Pure: the time is an argument.

use std::{sync::Arc, time::Duration};

use ahash::AHashSet;
use tokio::time::Instant;

use crate::auth::token::{Key, KeySet};

/// A set is trusted for so long after it should have been fetched again.
pub(super) const STALE_AFTER: Duration = Duration::from_hours(24);

/// Between two fetches that were only asked for. Without it, whoever sends tokens would choose how
/// often the provider is asked.
pub(super) const ASKED_EVERY: Duration = Duration::from_mins(1);

/// The first and the longest wait after a failure.
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// Names that are looked for at once.
const ASKED_MAX: usize = 256;

/// Names that are known to be of no key.
const ABSENT_MAX: usize = 1_024;

/// The key set of one provider.
#[derive(Debug)]
pub(super) struct Keeper {
    set: KeySet,
    period: Duration,
    /// When the set goes stale, while it is trusted.
    stale_at: Option<Instant>,
    /// When to fetch whether or not anybody asks.
    due: Instant,
    /// When to fetch at the earliest because somebody asks.
    asked_from: Instant,
    failures: u32,
    /// Names to look for in the next fetch.
    asked: AHashSet<Box<str>>,
    /// Names that the fetch under way was begun for.
    sought: AHashSet<Box<str>>,
    is_fetching: bool,
}

/// What a fetch has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The keys are others, or trusted again.
    pub(super) keys: bool,
    /// More names are known to be of no key, or fewer.
    pub(super) absent: bool,
}

impl Keeper {
    /// Nothing is known yet; `former` are the keys that vouched for who is here.
    pub(super) fn new(now: Instant, period: Duration, former: Arc<[Key]>) -> Self {
        Self {
            set: KeySet::Awaited { former },
            period,
            stale_at: None,
            due: now,
            asked_from: now,
            failures: 0,
            asked: AHashSet::new(),
            sought: AHashSet::new(),
            is_fetching: false,
        }
    }

    pub(super) const fn set(&self) -> &KeySet {
        &self.set
    }

    pub(super) const fn period(&self) -> Duration {
        self.period
    }

    /// Fetches at once, and from then on with this period. What was under way counts no longer.
    pub(super) fn restart(&mut self, now: Instant, period: Duration) {
        self.asked.extend(self.sought.drain());
        (self.period, self.due, self.is_fetching) = (period, now, false);
    }

    /// Remembers a name that nobody knows.
    pub(super) fn ask(&mut self, name: Box<str>) {
        let is_answered = match &self.set {
            KeySet::Known { .. } => self.set.has(&name),
            // It is being fetched anyway, and nobody was told that there is no such key.
            KeySet::Awaited { .. } | KeySet::Unused => true,
        };
        if !is_answered && self.asked.len() < ASKED_MAX {
            self.asked.insert(name);
        }
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        let fetch = (!self.is_fetching).then(|| self.fetch_at());
        fetch.into_iter().chain(self.stale_at).min()
    }

    fn fetch_at(&self) -> Instant {
        // After a failure it is tried again soon enough.
        let is_asked = !self.asked.is_empty() && self.failures == 0;
        if is_asked { self.due.min(self.asked_from) } else { self.due }
    }

    /// Whether to begin a fetch now; if so, it has begun.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        if self.is_fetching || now < self.fetch_at() {
            return false;
        }
        if now < self.due {
            self.asked_from = now + ASKED_EVERY;
        }
        self.sought = std::mem::take(&mut self.asked);
        self.is_fetching = true;
        true
    }

    /// Takes the keys of a fetch. `chance` between 0 and 1 keeps pods from asking all at once.
    pub(super) fn succeed(&mut self, now: Instant, keys: Vec<Key>, chance: f64) -> Change {
        let (same, absent) = match &self.set {
            KeySet::Known { keys: old, absent } => (is_same(old, &keys), Arc::clone(absent)),
            KeySet::Awaited { .. } | KeySet::Unused => (false, Arc::default()),
        };
        let set = KeySet::Known { keys: keys.into(), absent: Arc::clone(&absent) };
        let sought = std::mem::take(&mut self.sought);
        let still_absent = still_absent(&set, &absent, sought);
        let change = Change { keys: !same, absent: still_absent != *absent };
        self.set = KeySet::Known { keys: set.keys().into(), absent: Arc::new(still_absent) };
        self.asked.retain(|name| !set.has(name));

        self.is_fetching = false;
        self.failures = 0;
        self.due = now + self.period.mul_f64(0.9 + 0.1 * chance);
        self.stale_at = Some(now + self.period + STALE_AFTER);
        change
    }

    /// Nothing came; the set stays what it is, and the next fetch comes soon.
    pub(super) fn fail(&mut self, now: Instant, chance: f64) {
        self.asked.extend(self.sought.drain());
        self.is_fetching = false;
        let doubled = 2_u32.saturating_pow(self.failures.min(16));
        let wait = RETRY.start().saturating_mul(doubled).min(*RETRY.end());
        self.failures += 1;
        self.due = now + wait.mul_f64(0.5 + 0.5 * chance);
    }

    /// Whether the set has just become too old to be trusted.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let has_expired = self.stale_at.is_some_and(|at| at <= now);
        if has_expired {
            self.stale_at = None;
            self.set = KeySet::Awaited { former: self.set.keys().into() };
        }
        has_expired
    }
}

fn is_same(old: &[Key], new: &[Key]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.is_same(new))
}

/// The names that still are of no key.
fn still_absent(
    set: &KeySet,
    absent: &AHashSet<Box<str>>,
    sought: AHashSet<Box<str>>,
) -> AHashSet<Box<str>> {
    // What was asked for last counts more: the rest is asked for again, if anybody cares.
    let old = if absent.len() + sought.len() > ABSENT_MAX { None } else { Some(absent) };
    let names = old.into_iter().flatten().cloned().chain(sought);
    names.filter(|name| !set.has(name)).collect()
}

#[cfg(test)]
mod tests;
