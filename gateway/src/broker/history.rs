//! The publications that a topic keeps, and the keys that make a retry harmless.

use std::{collections::VecDeque, sync::Arc};

use ahash::AHashMap;

use super::publication::Publication;
use crate::protocol::position::{ClientPosition, Epoch, Position};

/// How long a topic remembers the key of a publication, in milliseconds.
const KEY_AGE_MS: u64 = 120_000;

/// Keys that one topic remembers at most; the oldest goes first.
const KEYS_MAX: usize = 10_000;

/// How much a topic keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Publications at most.
    pub messages_max: usize,
    /// The age at which a publication goes, in milliseconds.
    pub age_max_ms: u64,
}

/// Whose key it is: two publishers may choose the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The user; `None` for the server API, and for clients without one.
    pub user: Option<Arc<str>>,
    /// What the publisher chose.
    pub key: Arc<str>,
}

/// One epoch of a topic.
#[derive(Debug)]
pub(super) struct History {
    pub epoch: Epoch,
    pub retention: Retention,
    top: u64,
    /// The offset of the newest publication that is no longer here.
    removed: u64,
    kept: VecDeque<Arc<Publication>>,
    keys: AHashMap<Key, u64>,
    key_times: VecDeque<(u64, Key)>,
    /// When it was last published to, in milliseconds.
    published_ms: u64,
}

impl History {
    pub fn new(epoch: Epoch, retention: Retention, now_ms: u64) -> Self {
        Self {
            epoch,
            retention,
            top: 0,
            removed: 0,
            kept: VecDeque::new(),
            keys: AHashMap::new(),
            key_times: VecDeque::new(),
            published_ms: now_ms,
        }
    }

    /// The newest offset, 0 before the first.
    pub const fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top }
    }

    pub const fn next(&self) -> Position {
        Position { epoch: self.epoch, offset: self.top + 1 }
    }

    /// The position of the publication that had this key.
    pub fn published_with(&self, key: &Key) -> Option<Position> {
        self.keys.get(key).map(|offset| Position { epoch: self.epoch, offset: *offset })
    }

    /// Keeps a publication whose position is [`Self::next`]; returns the bytes that it costs.
    pub fn push(&mut self, now_ms: u64, publication: Arc<Publication>, key: Option<Key>) -> usize {
        self.top += 1;
        self.published_ms = now_ms;
        if let Some(key) = key {
            if self.key_times.len() >= KEYS_MAX {
                self.forget_oldest_key();
            }
            self.key_times.push_back((now_ms, key.clone()));
            self.keys.insert(key, self.top);
        }
        let cost = publication.cost();
        self.kept.push_back(publication);
        cost
    }

    /// Lets go of what is too many or too old; returns the bytes that are free.
    pub fn trim(&mut self, now_ms: u64) -> usize {
        let mut freed = 0;
        while let Some(oldest) = self.kept.front() {
            let is_old = now_ms.saturating_sub(oldest.at_ms) >= self.retention.age_max_ms;
            if self.kept.len() <= self.retention.messages_max && !is_old {
                break;
            }
            freed += self.evict();
        }
        while self.key_times.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= KEY_AGE_MS)
        {
            self.forget_oldest_key();
        }
        if self.kept.is_empty() {
            self.kept.shrink_to_fit();
        }
        freed
    }

    /// Lets go of the oldest publication; returns the bytes that are free.
    pub fn evict(&mut self) -> usize {
        let Some(oldest) = self.kept.pop_front() else { return 0 };
        self.removed = oldest.position.map_or(self.removed, |at| at.offset);
        oldest.cost()
    }

    /// The offset of the oldest publication that is kept.
    pub fn oldest(&self) -> Option<u64> {
        self.kept.front().and_then(|it| it.position).map(|at| at.offset)
    }

    fn forget_oldest_key(&mut self) {
        if let Some((_, key)) = self.key_times.pop_front() {
            self.keys.remove(&key);
        }
    }

    /// Whether it can go: nothing is kept, and nobody can come back to a position of it.
    pub fn is_spent(&self, now_ms: u64) -> bool {
        let idle_ms = now_ms.saturating_sub(self.published_ms);
        self.kept.is_empty() && idle_ms >= self.retention.age_max_ms.max(KEY_AGE_MS)
    }

    /// Exactly what came after `since`, or `None` where some of it may be gone.
    pub fn suffix(&self, since: ClientPosition) -> Option<Vec<Arc<Publication>>> {
        let is_here = since.epoch == Some(self.epoch)
            && since.offset <= self.top
            && since.offset >= self.removed;
        is_here.then(|| self.after(since.offset).cloned().collect())
    }

    /// What is kept after an offset, oldest first.
    pub fn after(&self, offset: u64) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        let first =
            self.kept.partition_point(|it| it.position.is_some_and(|at| at.offset <= offset));
        self.kept.range(first..)
    }

    /// What is kept, oldest first.
    pub fn kept(&self) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        self.kept.iter()
    }
}
