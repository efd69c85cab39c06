//! One worker: what it owns, and how its connections begin and end.

use std::{cell::RefCell, sync::Arc, time::Duration};

use slab::Slab;
use tracing::debug;

use super::{
    connection::{CLOSE_MS, Closing, Connection, Sent},
    drain::Drain,
    key::ConnectionKey,
    message::Ending,
    seats::Seats,
    settings::Settings,
    shared::{Shared, millis},
};
use crate::{
    broker::Partition,
    hub::{subscribers::Subscribers, wheel::Wheel},
    protocol::{close::CloseReason, encoded::Encoded, error::ErrorCode, reply},
    telemetry::metrics::Local,
    websocket::deflate::{Deflater, Inflater},
};

/// What one read takes at most; one buffer serves all connections of a worker.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is behind the topics whose home a worker is.
#[derive(Debug)]
pub enum Broker {
    /// This process alone: the home orders and keeps.
    Memory(Partition),
    /// Pods share them: the home follows what the streams and the other pods say.
    Nats(Seats),
}

impl Broker {
    fn new(shared: &Shared) -> Self {
        match &shared.link {
            Some(link) => Self::Nats(Seats::new(link.clone(), shared.names.process())),
            None => Self::Memory(Partition::new(fastrand::u64(..), shared.history_bytes.clone())),
        }
    }
}

/// Everything that a worker owns.
pub struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub settings: Arc<Settings>,
    /// The time of what is being done: read once for each wake-up.
    pub now: Duration,
    pub connections: Slab<Connection>,
    pub subscribers: Subscribers,
    pub broker: Broker,
    pub wheel: Wheel<ConnectionKey>,
    pub buffer: Vec<u8>,
    /// What the connection whose turn it is has sent in this turn, inflated.
    pub turn_bytes: usize,
    pub inflater: Option<Box<Inflater>>,
    pub deflater: RefCell<Deflater>,
    pub rng: fastrand::Rng,
    pub drain: Option<Drain>,
    pub counts: Local,
    pub ticket: u32,
    /// When everything was last looked at, in milliseconds.
    pub swept_ms: u64,
    /// When replays that the broker did not go on with ask again, in milliseconds; 0: never.
    pub replays_again_ms: u64,
}

impl Worker {
    /// A worker without connections.
    pub fn new(index: usize, shared: Arc<Shared>) -> Self {
        let settings = shared.settings.load_full();
        let now = shared.now();
        let level = settings.spec().compression.level.into();
        Self {
            index,
            now,
            connections: Slab::new(),
            subscribers: Subscribers::default(),
            broker: Broker::new(&shared),
            wheel: Wheel::new(millis(now)),
            buffer: vec![0; BUFFER_BYTES],
            turn_bytes: 0,
            inflater: Some(Box::default()),
            deflater: RefCell::new(Deflater::new(level)),
            rng: fastrand::Rng::new(),
            drain: None,
            counts: shared.metrics.local(),
            ticket: 0,
            swept_ms: millis(now),
            replays_again_ms: 0,
            settings,
            shared,
        }
    }

    /// Begins a wake-up: looks at the clock.
    pub fn wake(&mut self) {
        self.now = self.shared.now();
    }

    /// The time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        millis(self.now)
    }

    /// A connection by its key, if it is still the same one.
    pub fn find(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.get_mut(key.slot()).filter(|it| it.key == key)
    }

    /// Every slot with a connection.
    pub fn slots(&self) -> Vec<usize> {
        self.connections.iter().map(|(slot, _)| slot).collect()
    }

    /// Takes a connection in, or only tells it why it cannot stay.
    pub fn open(&mut self, connection: Connection, doomed: Option<CloseReason>) {
        let key = connection.key;
        self.connections.insert(connection);
        self.counts.opened();
        match doomed {
            Some(reason) => self.close(key.slot(), reason),
            None => self.greet(key),
        }
        self.arm(key.slot(), self.now_ms());
        if let Some(drain) = &mut self.drain {
            drain.add(key);
        }
    }

    /// Sends an envelope to one connection and deals with what became of it.
    pub fn send(&mut self, slot: usize, encoded: &Encoded) {
        let bounds = self.settings.bounds;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let sent = connection.send(encoded, bounds);
        self.sent(slot, sent);
    }

    /// Sends the envelope that `write` appends.
    pub fn reply(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.send(slot, &Encoded::text(128, write));
    }

    /// Tells a client that its request failed.
    pub fn error(&mut self, slot: usize, id: Option<&str>, code: ErrorCode, words: &str) {
        self.counts.error(code);
        self.reply(slot, |out| reply::error(out, id, code, words));
    }

    /// Deals with what became of something sent.
    pub fn sent(&mut self, slot: usize, sent: Sent) {
        match sent {
            Sent::Done => {}
            Sent::Queued => self.queued(slot),
            Sent::Overflow => {
                if let Some(connection) = self.connections.get(slot) {
                    debug!(
                        event = "slow_consumer",
                        connection = %self.shared.names.name(connection.key),
                        messages = connection.outbox.messages(),
                        bytes = connection.outbox.bytes(),
                        "reads too slowly"
                    );
                }
                self.close(slot, CloseReason::SlowConsumer);
            }
            Sent::Lost => self.lose(slot),
        }
    }

    /// Something waits: the task looks after the socket, the wheel after the time.
    pub fn queued(&mut self, slot: usize) {
        let now_ms = self.now_ms();
        let write_by_ms = now_ms + self.settings.write_wait_ms;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.blocked_since_ms.is_none() {
            connection.blocked_since_ms = Some(now_ms);
        }
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        self.arm(slot, write_by_ms);
    }

    /// Ends a connection politely.
    pub fn close(&mut self, slot: usize, reason: CloseReason) {
        self.close_with(slot, reason, Ending::of(reason).frame());
    }

    /// Ends a connection politely with this close frame.
    pub fn close_with(&mut self, slot: usize, reason: CloseReason, frame: bytes::Bytes) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.closing.is_some() {
            return;
        }
        connection.close(now_ms, reason, frame);
        let key = connection.key;
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        // It hears nothing more from here on.
        self.unsubscribe_all(key);
        self.arm(slot, now_ms + CLOSE_MS);
    }

    /// Ends a connection whose transport is of no use any more; its task removes it.
    pub fn lose(&mut self, slot: usize) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.outbox.clear();
        let reason =
            connection.closing.as_ref().map_or(CloseReason::ConnectionLost, |it| it.reason);
        connection.closing = Some(Box::new(Closing { reason, until_ms: 0, is_finished: true }));
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        self.arm(slot, now_ms);
    }

    /// Forgets a connection.
    pub fn end(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let key = connection.key;
        self.unsubscribe_all(key);
        let mut connection = self.connections.remove(slot);
        let reason = connection.closing.map_or(CloseReason::ConnectionLost, |it| it.reason);
        let seconds = self.now_ms().saturating_sub(connection.opened_ms) as f64 / 1_000.0;
        self.counts.closed(reason, seconds);
        debug!(
            event = "closed",
            connection = %self.shared.names.name(key),
            code = reason.code(),
            reason = reason.label(),
            seconds,
            "connection ended"
        );
        if let Some(mut span) = connection.span.take() {
            span.set("headgate.close.code", i64::from(reason.code()));
            span.set("headgate.close.reason", reason.label());
            self.shared.traces.end(*span, Ok(()), std::time::SystemTime::now());
        }
        // A burst of connections must not hold its room for as long as the process lives.
        if self.connections.is_empty() && self.connections.capacity() > 1_024 {
            self.connections.shrink_to_fit();
        }
    }

    /// Has the wheel look at a connection by then.
    pub fn arm(&mut self, slot: usize, at_ms: u64) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.armed_ms == 0 || at_ms < connection.armed_ms {
            connection.armed_ms = self.wheel.arm(connection.key, at_ms);
        }
    }
}
