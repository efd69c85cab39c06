//! A counter with one label, whose values are a closed set.

use std::mem;

use prometheus::{IntCounter, IntCounterVec};

/// One counter per label value; the index of a value is its place in the set.
#[derive(Debug)]
pub(super) struct Family {
    labels: Vec<&'static str>,
    counters: Vec<IntCounter>,
}

impl Family {
    /// A series for every value, at 0. The caller registers `family` itself.
    pub(super) fn new(family: &IntCounterVec, labels: &[&'static str]) -> Self {
        let counters = labels.iter().map(|value| family.with_label_values(&[*value])).collect();
        Self { labels: labels.to_vec(), counters }
    }

    /// Counts `count` more; a value outside the set is a defect and counts nowhere.
    pub(super) fn add(&self, label: &str, count: u64) {
        if let Some(counter) = self.index(label).and_then(|index| self.counters.get(index)) {
            counter.inc_by(count);
        }
    }

    /// Counts of zero, as many as there are values.
    pub(super) fn tally(&self) -> Tally {
        Tally { counts: vec![0; self.labels.len()] }
    }

    /// The index of a value; a value outside the set is a defect and counts nowhere.
    pub(super) fn index(&self, label: &str) -> Option<usize> {
        let index = self.labels.iter().position(|it| *it == label);
        debug_assert!(index.is_some(), "{label} is not in the closed set {:?}", self.labels);
        index
    }

    /// Moves what was counted into the shared counters.
    pub(super) fn absorb(&self, tally: &mut Tally) {
        for (count, counter) in tally.counts.iter_mut().zip(&self.counters) {
            // Most are 0 most of the time, and an untouched counter costs no shared cache line.
            if *count > 0 {
                counter.inc_by(mem::take(count));
            }
        }
    }

    /// Each value with its count.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.labels.iter().copied().zip(self.counters.iter().map(IntCounter::get))
    }

    /// The sum over all values.
    pub(super) fn sum(&self) -> u64 {
        self.counters.iter().map(IntCounter::get).sum()
    }
}

/// One worker's counts of a [`Family`] since its last flush.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Vec<u64>,
}

impl Tally {
    /// Counts one of the value at [`Family::index`].
    pub(super) fn add(&mut self, index: Option<usize>) {
        if let Some(count) = index.and_then(|index| self.counts.get_mut(index)) {
            *count += 1;
        }
    }
}
