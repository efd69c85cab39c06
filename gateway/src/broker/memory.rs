//! The Memory broker: the home of those topics that fall to one worker.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ahash::AHashMap;
use bytes::Bytes;

pub use super::history::{Key, Retention};
use super::{
    history::History,
    presence::{Member, Notice, Presence},
    publication::{ConnectionKey, Publication},
};
use crate::protocol::{
    error::ErrorCode,
    position::{ClientPosition, Epoch, Position},
    topic::Topic,
};

/// Workers of a process at most, the width of [`Workers`].
pub const WORKERS_MAX: usize = 128;

/// A set of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers(u128);

impl Workers {
    /// Adds one.
    pub fn insert(&mut self, worker: usize) {
        self.0 |= 1 << (worker % WORKERS_MAX);
    }

    /// Removes one.
    pub fn remove(&mut self, worker: usize) {
        self.0 &= !(1 << (worker % WORKERS_MAX));
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..WORKERS_MAX).filter(move |worker| self.0 >> worker & 1 == 1)
    }
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// To whom.
    pub topic: Topic,
    /// JSON without insignificant white space.
    pub data: Bytes,
    /// Who publishes, where that is a client with a user.
    pub user: Option<Arc<str>>,
    /// Makes a retry harmless for two minutes, in a topic with history.
    pub key: Option<Key>,
}

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// It is to be handed to these workers.
    Published(Arc<Publication>, Workers),
    /// Its key was used before, by the publication at this position.
    Duplicate(Position),
}

/// What a worker learns when it begins to listen.
#[derive(Debug, Default)]
pub struct Attached {
    /// The newest offset, in a topic with history.
    pub position: Option<Position>,
    /// Whether `missed` is exactly what the client missed; `None` where it did not ask.
    pub recovered: Option<bool>,
    /// What came after the client's position.
    pub missed: Vec<Arc<Publication>>,
}

/// A page of a topic's history.
#[derive(Debug)]
pub struct Page {
    /// The newest offset.
    pub position: Position,
    /// Ascending.
    pub messages: Vec<Arc<Publication>>,
    /// Whether there is more after the last of them.
    pub more: bool,
}

#[derive(Debug, Default)]
struct Home {
    interest: Workers,
    history: Option<Box<History>>,
    presence: Option<Box<Presence>>,
}

/// Topics looked after at each tick.
const SWEEP: usize = 512;

/// The home of a part of the topics.
#[derive(Debug)]
pub struct Partition {
    topics: AHashMap<Topic, Home>,
    /// Every topic with something to look after, in the order in which that is done.
    sweep: VecDeque<Topic>,
    /// Which publication came first, over all topics: the one to go when memory is short.
    order: VecDeque<(Topic, Epoch, u64)>,
    kept: usize,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    rng: fastrand::Rng,
}

impl Partition {
    /// An empty partition of a broker whose partitions share `bytes` for their histories.
    pub fn new(bytes: Arc<AtomicUsize>, bytes_max: usize, seed: u64) -> Self {
        Self {
            topics: AHashMap::new(),
            sweep: VecDeque::new(),
            order: VecDeque::new(),
            kept: 0,
            bytes,
            bytes_max,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Orders a message, keeps it where the topic has history, and says who is to have it.
    pub fn publish(
        &mut self,
        now_ms: u64,
        publish: Publish,
        retention: Option<Retention>,
    ) -> Outcome {
        let Publish { topic, data, user, key } = publish;
        let Some(retention) = retention else {
            let interest = self.topics.get(&topic).map_or(Workers::default(), |it| it.interest);
            return Outcome::Published(
                Arc::new(Publication::new(topic, None, user, &data, now_ms)),
                interest,
            );
        };
        let home = Self::home(&mut self.topics, &mut self.sweep, &topic);
        let history = Self::history_of(home, &mut self.rng, retention, now_ms);
        if let Some(at) = key.as_ref().and_then(|key| history.published_with(key)) {
            return Outcome::Duplicate(at);
        }
        let position = history.next();
        let publication =
            Arc::new(Publication::new(topic.clone(), Some(position), user, &data, now_ms));
        let cost = history.push(now_ms, Arc::clone(&publication), key);
        let kept_before = history.kept().len();
        let freed = history.trim(now_ms);
        self.kept = (self.kept + 1).saturating_sub(kept_before - history.kept().len());
        let interest = home.interest;
        self.order.push_back((topic, position.epoch, position.offset));
        self.bytes.fetch_add(cost, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.evict();
        Outcome::Published(publication, interest)
    }

    /// A worker begins to listen, for a client that may want to recover.
    pub fn attach(
        &mut self,
        now_ms: u64,
        topic: &Topic,
        worker: usize,
        recover: Option<ClientPosition>,
        retention: Option<Retention>,
    ) -> Attached {
        let home = Self::home(&mut self.topics, &mut self.sweep, topic);
        home.interest.insert(worker);
        let Some(retention) = retention else {
            return Attached { recovered: recover.map(|_| false), ..Attached::default() };
        };
        let history = Self::history_of(home, &mut self.rng, retention, now_ms);
        let kept_before = history.kept().len();
        let freed = history.trim(now_ms);
        self.kept = self.kept.saturating_sub(kept_before - history.kept().len());
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        let missed = recover.and_then(|since| history.suffix(since));
        Attached {
            position: Some(history.position()),
            recovered: recover.map(|_| missed.is_some()),
            missed: missed.unwrap_or_default(),
        }
    }

    /// Nobody on the worker listens any more.
    pub fn detach(&mut self, topic: &Topic, worker: usize) {
        if let Some(home) = self.topics.get_mut(topic) {
            home.interest.remove(worker);
            if home.interest.is_empty() && home.history.is_none() && home.presence.is_none() {
                self.topics.remove(topic);
            }
        }
    }

    /// What a topic keeps: after `since`, or the newest.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::EpochChanged`] where `since` is of another epoch.
    pub fn history(
        &mut self,
        now_ms: u64,
        topic: &Topic,
        since: Option<ClientPosition>,
        limit: usize,
        retention: Retention,
    ) -> Result<Page, ErrorCode> {
        let home = Self::home(&mut self.topics, &mut self.sweep, topic);
        let history = Self::history_of(home, &mut self.rng, retention, now_ms);
        let kept_before = history.kept().len();
        let freed = history.trim(now_ms);
        self.kept = self.kept.saturating_sub(kept_before - history.kept().len());
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        let position = history.position();
        let (messages, more): (Vec<_>, bool) = match since {
            None => {
                let skip = history.kept().len().saturating_sub(limit);
                (history.kept().skip(skip).cloned().collect(), false)
            }
            Some(since) if since.epoch != Some(history.epoch) => {
                return Err(ErrorCode::EpochChanged);
            }
            Some(since) => {
                let after = history.after(since.offset);
                let more = after.len() > limit;
                (after.take(limit).cloned().collect(), more)
            }
        };
        Ok(Page { position, messages, more })
    }

    /// A connection is in a channel; returns what is to be announced.
    pub fn join(
        &mut self,
        now_ms: u64,
        topic: &Topic,
        member: Member,
        is_announced: bool,
    ) -> Option<(Notice, Workers)> {
        let home = Self::home(&mut self.topics, &mut self.sweep, topic);
        let presence = home.presence.get_or_insert_default();
        let notice = presence.join(now_ms, topic, member, is_announced)?;
        Some((notice, home.interest))
    }

    /// A connection is no longer in a channel.
    pub fn leave(&mut self, now_ms: u64, topic: &Topic, connection: ConnectionKey) {
        if let Some(presence) = self.topics.get_mut(topic).and_then(|it| it.presence.as_mut()) {
            presence.leave(now_ms, connection);
        }
    }

    /// Who is in a channel: some of them, and how many.
    pub fn presence(&self, topic: &Topic) -> (Vec<Member>, usize) {
        let presence = self.topics.get(topic).and_then(|it| it.presence.as_ref());
        presence.map_or((Vec::new(), 0), |it| it.list())
    }

    /// Lets age do its work on a bounded number of topics, and says what is due to be announced.
    pub fn tick(&mut self, now_ms: u64) -> Vec<(Notice, Workers)> {
        let mut due = Vec::new();
        for _ in 0..self.sweep.len().min(SWEEP) {
            let Some(topic) = self.sweep.pop_front() else { break };
            let Some(home) = self.topics.get_mut(&topic) else { continue };
            if let Some(history) = &mut home.history {
                let kept_before = history.kept().len();
                let freed = history.trim(now_ms);
                self.kept = self.kept.saturating_sub(kept_before - history.kept().len());
                self.bytes.fetch_sub(freed, Ordering::Relaxed);
                if home.interest.is_empty() && history.is_spent(now_ms) {
                    home.history = None;
                }
            }
            if let Some(presence) = &mut home.presence {
                let mut notices = Vec::new();
                presence.tick(now_ms, &topic, &mut notices);
                due.extend(notices.into_iter().map(|notice| (notice, home.interest)));
                if presence.is_empty() {
                    home.presence = None;
                }
            }
            if !home.interest.is_empty() || home.history.is_some() || home.presence.is_some() {
                self.sweep.push_back(topic);
            } else {
                self.topics.remove(&topic);
            }
        }
        due
    }

    /// Applies changed rules; returns the topics whose history began anew or ended, who listens,
    /// and where the new one begins.
    pub fn reconfigure(
        &mut self,
        now_ms: u64,
        bytes_max: usize,
        retention: impl Fn(&Topic) -> Option<Retention>,
    ) -> Vec<(Topic, Workers, Option<Position>)> {
        self.bytes_max = bytes_max;
        let mut changed = Vec::new();
        for (topic, home) in &mut self.topics {
            match (retention(topic), &mut home.history) {
                (Some(retention), Some(history)) => history.retention = retention,
                (Some(retention), none @ None) => {
                    let epoch = Epoch(self.rng.u64(1..));
                    let history = none.insert(Box::new(History::new(epoch, retention, now_ms)));
                    changed.push((topic.clone(), home.interest, Some(history.position())));
                }
                (None, Some(history)) => {
                    let freed: usize = history.kept().map(|it| it.cost()).sum();
                    self.kept = self.kept.saturating_sub(history.kept().len());
                    self.bytes.fetch_sub(freed, Ordering::Relaxed);
                    home.history = None;
                    changed.push((topic.clone(), home.interest, None));
                }
                (None, None) => {}
            }
        }
        self.evict();
        changed
    }

    fn home<'a>(
        topics: &'a mut AHashMap<Topic, Home>,
        sweep: &mut VecDeque<Topic>,
        topic: &Topic,
    ) -> &'a mut Home {
        topics.entry(topic.clone()).or_insert_with_key(|topic| {
            sweep.push_back(topic.clone());
            Home::default()
        })
    }

    /// The history of a topic whose rule has one; it begins at the first touch, since a position
    /// that was handed out must mean something later.
    fn history_of<'a>(
        home: &'a mut Home,
        rng: &mut fastrand::Rng,
        retention: Retention,
        now_ms: u64,
    ) -> &'a mut History {
        let history = home
            .history
            .get_or_insert_with(|| Box::new(History::new(Epoch(rng.u64(1..)), retention, now_ms)));
        history.retention = retention;
        history
    }

    /// Lets the oldest publications of this partition go while all partitions hold too much.
    fn evict(&mut self) {
        while self.bytes.load(Ordering::Relaxed) > self.bytes_max {
            let Some((topic, epoch, offset)) = self.order.pop_front() else { break };
            let history = self.topics.get_mut(&topic).and_then(|it| it.history.as_mut());
            if let Some(history) = history
                && history.epoch == epoch
                && history.oldest() == Some(offset)
            {
                self.bytes.fetch_sub(history.evict(), Ordering::Relaxed);
                self.kept = self.kept.saturating_sub(1);
            }
        }
        if self.order.len() > 2 * self.kept + 1_024 {
            let topics = &self.topics;
            self.order.retain(|(topic, epoch, offset)| {
                let history = topics.get(topic).and_then(|it| it.history.as_ref());
                history.is_some_and(|it| {
                    it.epoch == *epoch && it.oldest().is_some_and(|oldest| oldest <= *offset)
                })
            });
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let histories = self.topics.values().filter_map(|it| it.history.as_ref());
        let bytes: usize = histories.flat_map(|it| it.kept()).map(|it| it.cost()).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RETENTION: Retention = Retention { messages_max: 3, age_max_ms: 10_000 };

    fn partition(bytes_max: usize) -> Partition {
        Partition::new(Arc::default(), bytes_max, 7)
    }

    fn topic(name: &str) -> Topic {
        Topic::channel(name).unwrap()
    }

    fn publish(partition: &mut Partition, now_ms: u64, data: &str, key: Option<&str>) -> Outcome {
        let key = key.map(|key| Key { user: None, key: key.into() });
        let data = data.to_owned().into();
        let publish = Publish { topic: topic("a"), data, user: None, key };
        partition.publish(now_ms, publish, Some(RETENTION))
    }

    fn recover(
        partition: &mut Partition,
        now_ms: u64,
        since: Position,
    ) -> (Option<bool>, Vec<u64>) {
        let since = ClientPosition { epoch: Some(since.epoch), offset: since.offset };
        let got = partition.attach(now_ms, &topic("a"), 0, Some(since), Some(RETENTION));
        (got.recovered, got.missed.iter().map(|it| it.position.unwrap().offset).collect())
    }

    #[test]
    fn a_client_gets_exactly_what_it_missed_or_is_told() {
        let mut it = partition(1 << 20);
        let start = it.attach(0, &topic("a"), 0, None, Some(RETENTION)).position.unwrap();
        for i in 0..3 {
            publish(&mut it, 1, &i.to_string(), None);
        }

        assert_eq!(recover(&mut it, 2, start), (Some(true), vec![1, 2, 3]));
        publish(&mut it, 2, "3", None);
        assert_eq!(recover(&mut it, 2, start), (Some(false), vec![]));
        assert_eq!(
            recover(&mut it, 2, Position { offset: 1, ..start }),
            (Some(true), vec![2, 3, 4])
        );
        assert_eq!(recover(&mut it, 2, Position { offset: 5, ..start }), (Some(false), vec![]));
        assert_eq!(
            recover(&mut it, 2, Position { epoch: Epoch(1), offset: 4 }),
            (Some(false), vec![])
        );
        assert_eq!(
            recover(&mut it, 20_000, Position { offset: 3, ..start }),
            (Some(false), vec![])
        );
        assert_eq!(recover(&mut it, 20_000, Position { offset: 4, ..start }), (Some(true), vec![]));
    }

    #[test]
    fn a_key_makes_a_retry_harmless_for_two_minutes() {
        let mut it = partition(1 << 20);
        assert!(matches!(publish(&mut it, 0, "1", Some("k")), Outcome::Published(..)));

        assert!(
            matches!(publish(&mut it, 119_000, "1", Some("k")), Outcome::Duplicate(at) if at.offset == 1)
        );
        it.tick(120_000);
        assert!(matches!(publish(&mut it, 120_000, "1", Some("k")), Outcome::Published(..)));
    }

    #[test]
    fn histories_together_stay_within_their_bytes() {
        let mut it = partition(2_000);
        for i in 0..100 {
            let publish = Publish {
                topic: topic(&format!("t{i}")),
                data: Bytes::from_static(b"\"0123456789\""),
                user: None,
                key: None,
            };
            it.publish(0, publish, Some(RETENTION));
            assert!(it.bytes.load(Ordering::Relaxed) <= 2_000);
        }
        assert!(it.kept > 0 && it.kept < 10);
    }

    #[test]
    fn what_is_spent_is_forgotten_and_begins_a_new_epoch() {
        let mut it = partition(1 << 20);
        it.attach(0, &topic("a"), 0, None, Some(RETENTION));
        publish(&mut it, 0, "1", None);
        let first = it.history(0, &topic("a"), None, 9, RETENTION).unwrap().position;
        it.detach(&topic("a"), 0);

        it.tick(130_000);
        assert!(it.topics.is_empty());
        assert_eq!(it.bytes.load(Ordering::Relaxed), 0);

        publish(&mut it, 130_000, "1", None);
        assert_eq!(recover(&mut it, 130_000, first).0, Some(false));
    }

    #[test]
    fn a_leave_is_announced_ten_seconds_later() {
        let mut it = partition(0);
        let key = ConnectionKey::new(0, 1, 1);
        let member = Member { connection: key, user: Some("al".into()), info: None };
        let (join, _) = it.join(0, &topic("a"), member, true).unwrap();
        assert!(join.encoded.payload().starts_with(b"{\"type\":\"join\""));

        it.leave(1_000, &topic("a"), key);
        assert_eq!(it.presence(&topic("a")).1, 0);
        assert!(it.tick(10_999).is_empty());
        let due = it.tick(11_000);

        assert_eq!(due.len(), 1);
        assert!(due[0].0.encoded.payload().starts_with(b"{\"type\":\"leave\""));
        it.tick(11_001);
        assert!(it.topics.is_empty());
    }

    #[test]
    fn rules_that_take_history_away_say_who_loses_it() {
        let mut it = partition(1 << 20);
        it.attach(0, &topic("a"), 5, None, Some(RETENTION));
        publish(&mut it, 0, "1", None);

        let changed = it.reconfigure(1, 1 << 20, |_| None);

        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].1.iter().collect::<Vec<_>>(), [5]);
        assert_eq!(changed[0].2, None);
        assert_eq!(it.bytes.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Against a client that keeps everything it was ever sent (invariants I3 to I6).
        #[test]
        fn recovery_is_exact_or_refused(
            steps in prop::collection::vec((0_u8..4, 0_u64..4_000), 1..80),
            bytes_max in 600_usize..4_000,
        ) {
            let mut it = partition(bytes_max);
            let mut now = 0;
            let mut at = it.attach(0, &topic("a"), 0, None, Some(RETENTION)).position.unwrap();
            let mut published = 0;
            for (what, pause) in steps {
                now += pause;
                match what {
                    0 | 1 => {
                        let outcome = publish(&mut it, now, "1", None);
                        prop_assert!(matches!(outcome, Outcome::Published(..)));
                        published += 1;
                    }
                    2 => drop(it.tick(now)),
                    _ => {
                        let (recovered, missed) = recover(&mut it, now, at);
                        if recovered == Some(true) {
                            prop_assert_eq!(missed, (at.offset + 1..=published).collect::<Vec<_>>());
                        } else {
                            prop_assert!(missed.is_empty());
                        }
                        at.offset = published;
                    }
                }
            }
        }
    }
}
