//! What all workers may look at. Nothing here is touched for a message but the mailboxes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{key::Names, message::Message, settings::Settings};
use crate::{
    admission::load::Load,
    auth::{identity::KeyId, revocations::Revocations, token::Verifier},
    broker::{HistoryBytes, Homes, nats::link::Link},
    jwks::Asks,
    protocol::topic::Topic,
    telemetry::{metrics::Metrics, trace::Traces},
};

/// What may wait for one worker in publications; beyond it nobody may publish until it has caught up.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What all workers may look at.
#[derive(Debug)]
pub struct Shared {
    /// When the process's own time began.
    pub began: Instant,
    /// The broker between pods, if there is one.
    pub link: Option<Link>,
    /// The homes of topics.
    pub homes: Homes,
    /// How connections are called.
    pub names: Names,
    /// What all histories may cost together.
    pub history_bytes: HistoryBytes,
    /// How many connections there are.
    pub load: Arc<Load>,
    /// Told when a handshake is over, for who waits for room to accept.
    pub handshake_over: Notify,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What makes spans.
    pub traces: Traces,
    /// Verifies tokens, and asks for keys that are not known.
    pub asks: Asks,
    /// Who is no longer welcome. Looked at where connections begin, never for a message.
    pub revocations: RwLock<Revocations>,
    /// The configuration in use.
    pub settings: ArcSwap<Settings>,
    /// Upgrades are refused: the pod goes away.
    pub is_draining: AtomicBool,
    /// The page of the person at this machine, if it is served.
    pub house: Option<House>,
    /// The path of the public port that echoes, for the conformance suite.
    pub echo: Option<String>,
    pub(super) workers: Vec<Side>,
    /// How many workers have more to do than may wait.
    pub(super) behind: AtomicUsize,
}

/// A page that this process serves itself: it may connect whatever `allowedOrigins` says, and its
/// tokens are vouched for by a key that nobody else knows.
#[derive(Debug)]
pub struct House {
    /// The page's origin.
    pub origin: String,
    /// What vouches for its tokens, and for no others.
    pub verifier: Verifier,
}

/// Bytes of the publications that wait for one worker. Who crosses the bound says so once, so that
/// a publisher has one number to look at, and one that hardly ever changes.
#[derive(Debug, Default)]
struct Waiting(AtomicUsize);

impl Waiting {
    fn begin(&self, bytes: usize, behind: &AtomicUsize) {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before <= WAITING_BYTES_MAX && before + bytes > WAITING_BYTES_MAX {
            behind.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end(&self, bytes: usize, behind: &AtomicUsize) {
        let before = self.0.fetch_sub(bytes, Ordering::Relaxed);
        if before > WAITING_BYTES_MAX && before - bytes <= WAITING_BYTES_MAX {
            behind.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What others may look at of one worker.
#[derive(Debug)]
pub(super) struct Side {
    pub mailbox: mpsc::Sender<Message>,
    waiting: Waiting,
    /// A message for it was lost: its clients are to be told.
    is_lost: AtomicBool,
    /// When it last showed life, in milliseconds.
    beat_ms: AtomicU64,
    /// Connections without a message for a minute, and since when the longest has had none, in
    /// milliseconds; as of the last second.
    idle: AtomicUsize,
    idle_since_ms: AtomicU64,
}

impl Side {
    pub fn new(mailbox: mpsc::Sender<Message>) -> Self {
        Self {
            mailbox,
            waiting: Waiting::default(),
            is_lost: AtomicBool::new(false),
            beat_ms: AtomicU64::new(0),
            idle: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl Shared {
    /// The page of this machine, where it vouches for a session.
    pub fn house_of(&self, key: Option<KeyId>) -> Option<&House> {
        self.house.as_ref().filter(|house| key.is_some_and(|key| house.verifier.vouches(key)))
    }

    /// The time since the process began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same in whole milliseconds, never 0.
    pub fn now_ms(&self) -> u64 {
        millis(self.now())
    }

    /// Says something to a worker. A mailbox that is full is a loss, and the worker tells its
    /// clients so.
    pub fn send(&self, worker: usize, message: Message) -> bool {
        let Some(side) = self.workers.get(worker) else { return false };
        let bytes = message.bytes();
        side.waiting.begin(bytes, &self.behind);
        let is_sent = side.mailbox.try_send(message).is_ok();
        if !is_sent {
            side.waiting.end(bytes, &self.behind);
            side.is_lost.store(true, Ordering::Relaxed);
        }
        is_sent
    }

    /// A publication is going to wait for a worker, however long its mailbox is full.
    pub(super) fn waits(&self, side: &Side, message: &Message) {
        side.waiting.begin(message.bytes(), &self.behind);
    }

    /// A worker begins with a message that waited for it.
    pub fn took(&self, worker: usize, message: &Message) {
        let bytes = message.bytes();
        if bytes > 0
            && let Some(side) = self.workers.get(worker)
        {
            side.waiting.end(bytes, &self.behind);
        }
    }

    /// Whether more is published than the workers can hand to those who listen.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > 0 || self.link.as_ref().is_some_and(Link::is_behind)
    }

    /// Says something to the worker that is a topic's home.
    pub fn to_home(&self, topic: &Topic, message: Message) -> bool {
        self.send(self.homes.of(topic), message)
    }

    /// Whether messages to a worker were lost since it was asked last.
    pub fn take_lost(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(|it| it.is_lost.swap(false, Ordering::Relaxed))
    }

    /// Whether a worker's thread has ended.
    pub fn has_dead_worker(&self) -> bool {
        self.workers.iter().any(|it| it.mailbox.is_closed())
    }

    /// A worker is alive.
    pub fn beat(&self, worker: usize, now_ms: u64) {
        if let Some(side) = self.workers.get(worker) {
            side.beat_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether every worker has shown life within this time.
    pub fn is_alive(&self, within: Duration) -> bool {
        let now_ms = self.now_ms();
        let within_ms = millis(within);
        self.workers
            .iter()
            .all(|it| now_ms.saturating_sub(it.beat_ms.load(Ordering::Relaxed)) < within_ms)
    }

    /// A worker says how many of its connections are idle, and since when the longest is.
    pub fn set_idle(&self, worker: usize, count: usize, since_ms: u64) {
        if let Some(side) = self.workers.get(worker) {
            side.idle.store(count, Ordering::Relaxed);
            side.idle_since_ms.store(since_ms, Ordering::Relaxed);
        }
    }

    /// Has the longest idle connection make room, if more than `idle_max` are idle.
    pub fn make_room(&self, idle_max: usize) -> bool {
        let idle: usize = self.workers.iter().map(|it| it.idle.load(Ordering::Relaxed)).sum();
        if idle <= idle_max {
            return false;
        }
        let longest = self
            .workers
            .iter()
            .enumerate()
            .filter(|(_, it)| it.idle.load(Ordering::Relaxed) > 0)
            .min_by_key(|(_, it)| it.idle_since_ms.load(Ordering::Relaxed));
        let Some((worker, side)) = longest else { return false };
        let one_less = |count: usize| count.checked_sub(1);
        if side.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            return false;
        }
        self.send(worker, Message::Command(super::message::Command::MakeRoom))
    }
}

/// Whole milliseconds of the process's time, never 0, so that 0 can mean never.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

/// Microseconds since 1970.
pub fn unix_now_us() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_behind_while_more_waits_than_may() {
        let (waiting, other, behind) =
            (Waiting::default(), Waiting::default(), AtomicUsize::default());
        let look = || behind.load(Ordering::Relaxed);

        waiting.begin(WAITING_BYTES_MAX, &behind);
        other.begin(WAITING_BYTES_MAX, &behind);
        assert_eq!(look(), 0);
        waiting.begin(1, &behind);
        waiting.begin(1, &behind);
        assert_eq!(look(), 1);
        waiting.end(1, &behind);
        assert_eq!(look(), 1);
        waiting.end(1, &behind);
        assert_eq!(look(), 0);
    }
}
