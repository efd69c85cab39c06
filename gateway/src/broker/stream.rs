//! The order of one topic: what is stored of it, and what a client that comes back has missed.
//!
//! Offsets count up by one within an epoch, and what is removed is always the oldest. So a suffix
//! is complete if and only if nothing after its start was removed, and that is one comparison.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ahash::RandomState;
use headgate_crds::v1alpha1;

use super::publication::{Key, Publication};
use crate::protocol::position::{ClientPosition, Epoch, Position};

/// How long a key makes a retry harmless.
pub const KEY_LIFETIME: Duration = Duration::from_mins(2);

/// How much of a topic is kept: both bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HistoryRule {
    /// At most so many publications.
    pub messages: usize,
    /// None older than this.
    pub max_age: Duration,
}

impl From<&v1alpha1::History> for HistoryRule {
    fn from(history: &v1alpha1::History) -> Self {
        Self { messages: history.messages as usize, max_age: history.max_age.get() }
    }
}

/// Some of a topic's history, oldest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Where the topic stands: the newest publication.
    pub top: Position,
    /// What was asked for and is stored.
    pub messages: Vec<Arc<Publication>>,
    /// Whether there are later ones.
    pub more: bool,
    /// Where something after the client's position was removed: the last that was. The client is
    /// told by a `gap` before the page.
    pub gap: Option<Position>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The position is of another life of the topic.
    #[error("the position is of another epoch")]
    EpochChanged,
    /// The topic's rule keeps nothing.
    #[error("the channel has no history")]
    NoHistory,
    /// What keeps it cannot be asked now.
    #[error("the history is not to be had now: try again")]
    Unavailable,
}

/// One life of a topic with history.
#[derive(Debug)]
pub struct Stream {
    epoch: Epoch,
    pub rule: HistoryRule,
    /// The newest offset, 0 before the first.
    top: u64,
    /// The newest offset that is no longer stored, 0 if all are.
    removed: u64,
    /// Offsets `removed + 1 ..= top`.
    stored: VecDeque<Arc<Publication>>,
    keys: HashMap<Key, Used, RandomState>,
    /// Until when it is remembered though nobody is there and nothing is stored.
    pub rests_until: Option<Duration>,
    /// Whether somebody looks at it when that time comes.
    pub has_alarm: bool,
}

/// The publication that a key was used for.
#[derive(Clone, Copy, Debug)]
struct Used {
    offset: u64,
    at: Duration,
}

impl Stream {
    pub fn new(epoch: Epoch, rule: HistoryRule) -> Self {
        Self {
            epoch,
            rule,
            top: 0,
            removed: 0,
            stored: VecDeque::new(),
            keys: HashMap::default(),
            rests_until: None,
            has_alarm: false,
        }
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub const fn top(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    pub fn stored(&self) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        self.stored.iter()
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Key> {
        self.keys.keys()
    }

    /// Whether forgetting it loses nothing but its epoch.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.keys.is_empty()
    }

    /// Whether the publication at `offset` is stored.
    pub const fn has(&self, offset: u64) -> bool {
        self.removed < offset && offset <= self.top
    }

    /// Stores what `make` makes of the next position.
    pub fn append(&mut self, make: impl FnOnce(Position) -> Publication) -> Arc<Publication> {
        self.top += 1;
        let publication = Arc::new(make(self.top()));
        self.stored.push_back(Arc::clone(&publication));
        publication
    }

    /// Removes the oldest publication that the rule no longer keeps, if there is one.
    pub fn remove_surplus(&mut self, now: Duration) -> Option<Arc<Publication>> {
        let oldest = self.stored.front()?;
        let is_old = oldest.published_at.saturating_add(self.rule.max_age) <= now;
        if is_old || self.stored.len() > self.rule.messages { self.remove_oldest() } else { None }
    }

    /// Removes the oldest publication.
    pub fn remove_oldest(&mut self) -> Option<Arc<Publication>> {
        let removed = self.stored.pop_front()?;
        self.removed += 1;
        // A burst must not hold its room for as long as the topic lives.
        if self.stored.capacity() > 64 && self.stored.len() < self.stored.capacity() / 4 {
            self.stored.shrink_to(self.stored.len() * 2);
        }
        Some(removed)
    }

    /// Where `key` was used within its lifetime.
    pub fn used(&self, key: &Key, now: Duration) -> Option<Position> {
        let used = self.keys.get(key).filter(|used| used.at + KEY_LIFETIME > now)?;
        Some(Position { epoch: self.epoch, offset: used.offset })
    }

    /// Remembers that the newest publication was made with `key`. Whether it was unknown.
    pub fn remember(&mut self, key: Key, now: Duration) -> bool {
        self.keys.insert(key, Used { offset: self.top, at: now }).is_none()
    }

    /// Forgets a key that was used `at` that time, and not again since. Whether it was there.
    pub fn forget(&mut self, key: &Key, at: Duration) -> bool {
        let is_it = self.keys.get(key).is_some_and(|used| used.at == at);
        if is_it {
            self.keys.remove(key);
        }
        is_it
    }

    /// The first of what came after `client`, at most `limit`, and whether there is more; `None`
    /// where it cannot be told or is not complete.
    pub fn missed(
        &self,
        client: ClientPosition,
        limit: usize,
    ) -> Option<(Vec<Arc<Publication>>, bool)> {
        if !self.is_ours(client) || client.offset < self.removed {
            return None;
        }
        let missed: Vec<_> = self.after(client.offset).take(limit).cloned().collect();
        let more = client.offset + (missed.len() as u64) < self.top;
        Some((missed, more))
    }

    /// What came after `since`, or the newest, at most `limit`.
    pub fn page(
        &self,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        if since.is_some_and(|since| !self.is_ours(since)) {
            return Err(HistoryError::EpochChanged);
        }
        let newest = self.stored.len().saturating_sub(limit) as u64;
        let from = since.map_or(self.removed + newest, |since| since.offset);
        let messages: Vec<_> = self.after(from).take(limit).cloned().collect();
        let last = from.max(self.removed) + messages.len() as u64;
        let gap = Position { epoch: self.epoch, offset: self.removed };
        Ok(HistoryPage {
            top: self.top(),
            messages,
            more: last < self.top,
            gap: (from < self.removed).then_some(gap),
        })
    }

    /// Whether a client can have been at this position.
    fn is_ours(&self, client: ClientPosition) -> bool {
        client.epoch == Some(self.epoch) && client.offset <= self.top
    }

    fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Publication>> {
        let known = offset.saturating_sub(self.removed);
        self.stored.iter().skip(usize::try_from(known).unwrap_or(usize::MAX))
    }
}
