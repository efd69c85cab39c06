//! What all histories of the process may cost together, and whose turn it is to go.
//!
//! Publications stand in the order in which they came, one lane for each `maxAge`: so the front of
//! a lane is the next to expire, and the oldest front the next to make room. What a topic removed
//! itself stays in its lane until it comes to the front, or until half of the entries are of that
//! kind.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::publication::Publication;
use crate::protocol::{position::Epoch, topic::Topic};

/// The bytes of `broker.historyBytes`, shared by the partitions of a process.
///
/// A partition makes room while the total is above the bound and its own part above its share. One
/// busy partition can thus use what the others leave free, but not empty them. When a partition
/// grows into its share, the total is above the bound until the one that uses more ticks.
#[derive(Clone, Debug)]
pub struct HistoryBytes {
    used: Arc<AtomicUsize>,
    max: usize,
    share: usize,
}

impl HistoryBytes {
    /// A bound of `max` bytes for `partitions` partitions, which get a clone each.
    pub fn new(max: usize, partitions: usize) -> Self {
        Self { used: Arc::default(), max, share: max / partitions.max(1) }
    }

    /// How much is in use now, for metrics.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// One partition's part of [`HistoryBytes`].
#[derive(Debug)]
pub struct Account {
    shared: HistoryBytes,
    own: usize,
    /// How many publications are stored.
    pub publications: usize,
}

impl Account {
    pub const fn new(shared: HistoryBytes) -> Self {
        Self { shared, own: 0, publications: 0 }
    }

    pub fn spend(&mut self, bytes: usize) {
        self.own += bytes;
        self.shared.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn free(&mut self, bytes: usize) {
        self.own -= bytes;
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A publication is stored.
    pub fn store(&mut self, publication: &Publication) {
        self.publications += 1;
        self.spend(publication.bytes());
    }

    /// A publication is stored no longer.
    pub fn drop(&mut self, publication: &Publication) {
        self.publications -= 1;
        self.free(publication.bytes());
    }

    /// Whether this partition has to make room.
    pub fn is_overdrawn(&self) -> bool {
        self.own > self.shared.share && self.shared.used() > self.shared.max
    }
}

#[cfg(test)]
impl Account {
    /// What the whole process uses.
    pub fn shared_used(&self) -> usize {
        self.shared.used()
    }
}

/// The place of a stored publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Duration,
    pub topic: Topic,
    pub epoch: Epoch,
    pub offset: u64,
}

/// The stored publications of a partition in the order they came.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By `maxAge`: as many as there are rules.
    lanes: BTreeMap<Duration, VecDeque<Entry>>,
    entries: usize,
}

impl Ledger {
    /// Adds an entry that is not older than any in its lane.
    pub fn push(&mut self, max_age: Duration, entry: Entry) {
        self.lanes.entry(max_age).or_default().push_back(entry);
        self.entries += 1;
    }

    /// How many entries there are, with those that are not stored any more.
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Takes an entry whose age has passed.
    pub fn pop_expired(&mut self, now: Duration) -> Option<Entry> {
        let (_, lane) = self.lanes.iter_mut().find(|(max_age, lane)| {
            lane.front().is_some_and(|entry| entry.at.saturating_add(**max_age) <= now)
        })?;
        self.entries -= 1;
        lane.pop_front()
    }

    /// Takes the oldest entry.
    pub fn pop_oldest(&mut self) -> Option<Entry> {
        let lane = self.lanes.values_mut().filter(|lane| !lane.is_empty());
        let lane = lane.min_by_key(|lane| lane.front().map(|entry| entry.at))?;
        self.entries -= 1;
        lane.pop_front()
    }

    /// When the next entry expires.
    pub fn due(&self) -> Option<Duration> {
        let expiry = |(max_age, lane): (&Duration, &VecDeque<Entry>)| {
            lane.front().map(|entry| entry.at.saturating_add(*max_age))
        };
        self.lanes.iter().filter_map(expiry).min()
    }

    /// Drops the entries that are not `stored` any more, once they are the most of many.
    pub fn compact(&mut self, publications: usize, stored: impl Fn(&Entry) -> bool) {
        if self.entries <= 2 * publications + 1024 {
            return;
        }
        for lane in self.lanes.values_mut() {
            lane.retain(&stored);
            lane.shrink_to_fit();
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
        self.entries = self.lanes.values().map(VecDeque::len).sum();
    }
}
