//! What time and memory ask for: expiry, room, and what is to be told later.

use std::time::Duration;

use super::{Partition, UsedKey};
use crate::broker::{answer::Announcement, ledger::Entry, stream::KEY_LIFETIME};

/// How many things one [`Partition::tick`] does at most.
pub(super) const WORK_PER_TICK_MAX: usize = 1024;

impl Partition {
    /// When [`tick`](Self::tick) has something to do.
    ///
    /// Another partition may need room at any time, so tick once a second whatever this says.
    pub fn due(&self) -> Option<Duration> {
        let key = self.keys.front().map(|used| used.at + KEY_LIFETIME);
        [self.ledger.due(), key, self.matters.due(), self.rest_ends()].into_iter().flatten().min()
    }

    /// Does what is due: forgets what is too old and tells who left.
    ///
    /// At most 1,024 things; where there is more, [`due`](Self::due) is in the past.
    pub fn tick(&mut self, now: Duration) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for _ in 0..WORK_PER_TICK_MAX {
            if let Some((topic, matter)) = self.matters.pop(now) {
                announcements.extend(self.look(now, &topic, &matter));
            } else if let Some(entry) = self.ledger.pop_expired(now) {
                self.remove(now, &entry);
            } else if !self.forget_key(now) && !self.end_rest(now) {
                break;
            }
        }
        self.make_room(now);
        announcements
    }

    /// Forgets the oldest key if its time has passed.
    fn forget_key(&mut self, now: Duration) -> bool {
        let is_old = self.keys.front().is_some_and(|used| used.at + KEY_LIFETIME <= now);
        is_old && self.drop_key(now)
    }

    /// Forgets the oldest key, unless there is none.
    fn drop_key(&mut self, now: Duration) -> bool {
        let Some(UsedKey { at, topic, epoch, key }) = self.keys.pop_front() else {
            return false;
        };
        if let Some(stream) = self.stream(&topic, epoch)
            && stream.forget(&key, at)
        {
            self.account.free(key.bytes());
            self.settle(now, &topic);
        }
        true
    }

    /// Removes a publication and all before it in its topic, as far as they are still stored.
    fn remove(&mut self, now: Duration, Entry { topic, epoch, offset, .. }: &Entry) {
        let state = self.topics.get_mut(topic).and_then(|state| state.stream.as_mut());
        let Some(stream) = state.filter(|stream| stream.epoch() == *epoch && stream.has(*offset))
        else {
            return;
        };
        while stream.has(*offset)
            && let Some(removed) = stream.remove_oldest()
        {
            self.account.drop(&removed);
        }
        self.settle(now, topic);
    }

    /// Removes the oldest until the bytes suffice: what only rests first, then publications, and
    /// keys last, since a key keeps a promise.
    pub(super) fn make_room(&mut self, now: Duration) {
        while self.account.is_overdrawn() {
            if self.drop_rest() {
                continue;
            }
            if let Some(entry) = self.ledger.pop_oldest() {
                self.remove(now, &entry);
            } else if !self.drop_key(now) {
                break;
            }
        }
        let topics = &self.topics;
        self.ledger.compact(self.account.publications, |entry| {
            let state = topics.get(&entry.topic);
            let stream = state.and_then(|state| state.stream.as_ref());
            stream.is_some_and(|s| s.epoch() == entry.epoch && s.has(entry.offset))
        });
    }
}
