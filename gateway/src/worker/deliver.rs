//! Hands publications to everybody who listens on this worker.
//!
//! A publication was encoded once, at its home. The walk tries each socket directly; only what a
//! socket does not take goes to that connection's outbox, and only then is a task woken.

use std::{cell::RefCell, iter::Peekable, sync::Arc, time::Duration, vec::Drain};

use bytes::{Bytes, BytesMut};

use super::{
    connection::{Connection, Sent, Stage, State, Subscription, Tenths},
    life::Worker,
    message::Message,
    settings::Settings,
};
use crate::{
    broker::{Announcement, Position, Publication, Reset},
    hub::{
        outbox::{Bounds, Item, Joining},
        subscribers::Subscriber,
    },
    protocol::{Dialect, encoded::Encoded, reply, topic::Topic},
    websocket::{
        deflate::{Deflater, window_holds},
        frame::{self, Coding, Kind},
    },
};

/// How many sockets are written to between two looks at the clock.
const CLOCK_EVERY: u64 = 256;

/// The most bytes that are laid out together: a socket that takes a part of them keeps the rest.
const RUN_BYTES_MAX: usize = 64 * 1024;

/// How long messages are handled before the sockets and the clock have their turn.
const TURN: Duration = Duration::from_millis(10);

/// Messages between two looks at the clock, where none was a walk.
const MESSAGES_PER_LOOK: usize = 16;

/// What was taken out of the mailbox together.
pub type Messages<'a> = Peekable<Drain<'a, Message>>;

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do.
    Over,
    /// Everything is done.
    Done,
}

/// Several publications of one topic that queued up while the last walk ran.
struct Run<'a> {
    publications: &'a [Arc<Publication>],
    /// Whether they have places in a history.
    is_stored: bool,
    v1: Option<Bytes>,
    plain: Option<Bytes>,
}

impl Worker {
    /// Does what messages say, for one turn; publications of one topic that stand together go out
    /// together.
    pub fn handle(&mut self, batch: &mut Messages<'_>) -> Turn {
        let limit = self.settings.spec().batching.max_messages as usize;
        let began = self.now;
        for count in 1_usize.. {
            // A walk has looked at the clock already.
            if count.is_multiple_of(MESSAGES_PER_LOOK) {
                self.wake();
            }
            if self.now.saturating_sub(began) > TURN {
                return Turn::Over;
            }
            let Some(message) = batch.next() else { break };
            self.shared.took(self.index, &message);
            let Message::Deliver(first) = message else {
                self.one(message);
                continue;
            };
            let mut run = smallvec::SmallVec::<[Arc<Publication>; 8]>::new();
            let topic = first.topic.clone();
            // One that somebody does not get is for itself.
            let limit = if first.exclude.is_some() { 1 } else { limit };
            run.push(first);
            while run.len() < limit {
                let is_same = |next: &Message| matches!(next, Message::Deliver(next) if next.topic == topic && next.exclude.is_none());
                let Some(message) = batch.next_if(is_same) else { break };
                self.shared.took(self.index, &message);
                let Message::Deliver(next) = message else { break };
                run.push(next);
            }
            self.deliver(&run);
        }
        Turn::Done
    }

    /// Hands publications of one topic to everybody who listens.
    pub fn deliver(&mut self, run: &[Arc<Publication>]) {
        let Some(first) = run.first() else { return };
        let Some(id) = self.subscribers.find(&first.topic) else { return };
        let exclude = first.exclude.as_deref().and_then(|name| self.shared.names.key(name));
        let now = Tenths::new(self.now_ms());
        let run = Run::new(run, &self.settings);
        let bounds = self.settings.bounds;
        let mut unsettled = Vec::new();
        let mut timed = 0;
        for (count, subscriber) in (1_u64..).zip(self.subscribers.of(id)) {
            let Some(connection) = self.connections.get_mut(subscriber.slot()) else { continue };
            if connection.closing.is_some() || exclude.is_some_and(|it| it == connection.key) {
                continue;
            }
            // Without history there is nothing to compare: the subscription is not looked at.
            let news = if subscriber.is_live && !run.is_stored {
                run.publications
            } else {
                run.news(connection, subscriber.index as usize, bounds)
            };
            if news.is_empty() {
                continue;
            }
            connection.active = now;
            let sent = run.send(connection, news, &self.settings, &self.deflater);
            if sent != Sent::Done {
                unsettled.push((subscriber.slot(), sent));
            }
            timed += news.len() as u64;
            if count.is_multiple_of(CLOCK_EVERY) {
                self.now = self.shared.now();
                let seconds = self.now.saturating_sub(first.published_at).as_secs_f64();
                self.counts.delivered(seconds, timed);
                timed = 0;
            }
        }
        if timed > 0 {
            self.now = self.shared.now();
            let seconds = self.now.saturating_sub(first.published_at).as_secs_f64();
            self.counts.delivered(seconds, timed);
        }
        for (slot, sent) in unsettled {
            match sent {
                Sent::Queued if self.settings.delay_ms > 0 => self.delayed(slot),
                sent => self.sent(slot, sent),
            }
        }
    }

    /// What waits for more to come goes out when its time is up, or when it is enough.
    fn delayed(&mut self, slot: usize) {
        let until_ms = self.now_ms() + self.settings.delay_ms;
        let enough = self.settings.spec().batching.max_messages as usize;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.outbox.messages() >= enough || connection.transport.wants_write() {
            connection.delayed_until_ms = None;
            self.queued(slot);
        } else if connection.delayed_until_ms.is_none() && connection.blocked_since_ms.is_none() {
            connection.delayed_until_ms = Some(until_ms);
            self.arm(slot, until_ms);
        }
    }

    /// Tells everybody who listens who came and who went.
    pub fn announce(&mut self, announcement: &Announcement) {
        let Some(id) = self.subscribers.find(&announcement.topic) else { return };
        for subscriber in self.subscribers.of(id).to_vec() {
            self.tell(subscriber, &announcement.envelope);
        }
    }

    /// Tells everybody who listens that the channel's history began anew, or ended.
    pub fn reset(&mut self, reset: &Reset) {
        let Reset { topic, position, .. } = reset;
        // The first that may come, or the beginning.
        let first =
            position.map(|it| Position { offset: it.offset + u64::from(it.offset > 0), ..it });
        self.tell_gap(topic, first, |it| {
            it.at = *position;
            if let State::Held(held) = &mut it.state {
                held.begin_anew();
            }
            true
        });
    }

    /// Tells everybody who listens that what is published does not come. Who subscribes meanwhile asks the
    /// home.
    pub fn deaf(&mut self, reset: &Reset) {
        if let Some(id) = self.subscribers.find(&reset.topic) {
            self.subscribers.set_detached(id);
        }
        self.reset(reset);
    }

    /// Tells everybody who listens that what is at a position and before it, and did not come, is lost.
    pub fn gap(&mut self, gap: &Reset) {
        let Reset { topic, position, .. } = gap;
        let first = position.map(|it| Position { offset: it.offset + 1, ..it });
        self.tell_gap(topic, first, |it| match &mut it.state {
            State::Live => {
                it.at = *position;
                true
            }
            // Who replays is not there yet, and finds the same hole by asking.
            State::Held(held) => {
                held.ask_again();
                false
            }
        });
    }

    /// Tells everybody here that messages may have been lost, in every topic that is meant.
    pub fn tell_of_a_break(&mut self, is_meant: impl Fn(&Topic) -> bool) {
        let topics = self.subscribers.iter().map(|(topic, _)| topic);
        let topics: Vec<_> = topics.filter(|topic| is_meant(topic)).cloned().collect();
        for topic in topics {
            self.tell_gap(&topic, None, |_| true);
        }
    }

    /// Has each subscription of a topic take note of a gap, and tells those that `take` says.
    fn tell_gap(
        &mut self,
        topic: &Topic,
        first: Option<Position>,
        mut take: impl FnMut(&mut Subscription) -> bool,
    ) {
        let Some(id) = self.subscribers.find(topic) else { return };
        let gap = Encoded::text(96, |out| reply::gap(out, topic.name(), first));
        for subscriber in self.subscribers.of(id).to_vec() {
            let connection = self.connections.get_mut(subscriber.slot());
            let subscription =
                connection.and_then(|it| it.subscriptions.get_mut(subscriber.index as usize));
            if subscription.is_some_and(&mut take) {
                self.tell(subscriber, &gap);
            }
        }
    }

    /// Sends something about a subscription, if the client was told of it by `subscribed` or `welcome`.
    fn tell(&mut self, subscriber: Subscriber, envelope: &Encoded) {
        let Some(connection) = self.connections.get(subscriber.slot()) else { return };
        let is_attached = connection
            .subscriptions
            .get(subscriber.index as usize)
            .is_some_and(|it| !matches!(&it.state, State::Held(held) if !held.is_attached));
        if is_attached && !matches!(connection.stage, Stage::Opening(_)) {
            self.send(subscriber.slot(), envelope);
        }
    }
}

impl<'a> Run<'a> {
    fn new(publications: &'a [Arc<Publication>], settings: &Settings) -> Self {
        let bytes = publications.iter().map(|it| it.frames.encoded(Dialect::V1).frame().len());
        let is_stored = publications.iter().any(|it| it.position.is_some());
        if publications.len() < 2 || bytes.sum::<usize>() > RUN_BYTES_MAX {
            return Self { publications, is_stored, v1: None, plain: None };
        }
        let lay_out = |dialect| match settings.joining(dialect) {
            Joining(0 | 1) => in_a_row(publications, dialect),
            Joining(_) => joined(publications, dialect),
        };
        Self {
            publications,
            is_stored,
            v1: Some(lay_out(Dialect::V1)),
            plain: Some(lay_out(Dialect::Plain)),
        }
    }

    /// What a subscription has not had, as its last; nothing where it is held for later.
    fn news(
        &self,
        connection: &mut Connection,
        index: usize,
        bounds: Bounds,
    ) -> &'a [Arc<Publication>] {
        let Some(subscription) = connection.subscriptions.get_mut(index) else { return &[] };
        if let State::Held(held) = &mut subscription.state {
            held.hold(self.publications, bounds);
            return &[];
        }
        let count = self.publications.iter().filter(|it| subscription.is_news(it)).count();
        let news = self.publications.get(self.publications.len() - count..).unwrap_or_default();
        subscription.at = news.last().and_then(|it| it.position).or(subscription.at);
        news
    }

    /// Sends what is news to one client.
    fn send(
        &self,
        connection: &mut Connection,
        news: &[Arc<Publication>],
        settings: &Settings,
        deflater: &RefCell<Deflater>,
    ) -> Sent {
        if settings.delay_ms > 0 {
            return queue_each(connection, news, settings, deflater);
        }
        if let ([publication], true) = (news, connection.window_bits.is_none()) {
            // The hot path: one publication, the same bytes for everybody.
            return connection
                .send(publication.frames.encoded(connection.dialect), settings.bounds);
        }
        let whole = match connection.dialect {
            Dialect::V1 => &self.v1,
            Dialect::Plain => &self.plain,
        };
        if let Some(frames) = whole
            && news.len() == self.publications.len()
            && connection.window_bits.is_none()
            && let Some(sent) = connection.send_run(frames, news.len())
        {
            return sent;
        }
        send_each(connection, news, settings, deflater)
    }
}

fn send_each(
    connection: &mut Connection,
    news: &[Arc<Publication>],
    settings: &Settings,
    deflater: &RefCell<Deflater>,
) -> Sent {
    let mut all = Sent::Done;
    for publication in news {
        let sent = match deflated(connection, publication, settings, deflater) {
            Some(frame) => connection.send_frame(frame, Some(settings.bounds)),
            None => {
                connection.send(publication.frames.encoded(connection.dialect), settings.bounds)
            }
        };
        match sent {
            Sent::Done => {}
            Sent::Queued => all = sent,
            Sent::Overflow | Sent::Lost => return sent,
        }
    }
    all
}

fn queue_each(
    connection: &mut Connection,
    news: &[Arc<Publication>],
    settings: &Settings,
    deflater: &RefCell<Deflater>,
) -> Sent {
    for publication in news {
        let item = match deflated(connection, publication, settings, deflater) {
            Some(frame) => Item::Frame(frame.clone()),
            None => Item::Envelope(publication.frames.encoded(connection.dialect).clone()),
        };
        let sent = connection.queue(item, settings.bounds);
        if sent != Sent::Queued {
            return sent;
        }
    }
    Sent::Queued
}

/// The compressed frame of a publication, where this client gets one.
pub fn deflated<'p>(
    connection: &Connection,
    publication: &'p Publication,
    settings: &Settings,
    deflater: &RefCell<Deflater>,
) -> Option<&'p Bytes> {
    let window_bits = connection.window_bits?;
    let dialect = connection.dialect;
    let bytes = publication.frames.encoded(dialect).as_bytes().len();
    if !settings.is_deflated(bytes) || !window_holds(window_bits, bytes) {
        return None;
    }
    let level = settings.spec().compression.level.into();
    publication.frames.deflated(dialect, |payload| {
        let deflated = deflater.borrow_mut().deflate(payload, level)?;
        Some(frame::compressed(true, &deflated))
    })
}

/// Envelopes joined by line feeds in one frame.
fn joined(publications: &[Arc<Publication>], dialect: Dialect) -> Bytes {
    let payloads = || publications.iter().map(|it| it.frames.encoded(dialect).as_bytes());
    let length = payloads().map(<[u8]>::len).sum::<usize>() + publications.len() - 1;
    let header = frame::header(Kind::Text, Coding::Plain, length);
    let mut out = BytesMut::with_capacity(header.as_ref().len() + length);
    out.extend_from_slice(header.as_ref());
    for (at, payload) in payloads().enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\n");
        }
        out.extend_from_slice(payload);
    }
    out.freeze()
}

/// Frames one after the other.
fn in_a_row(publications: &[Arc<Publication>], dialect: Dialect) -> Bytes {
    let frames = || publications.iter().map(|it| it.frames.encoded(dialect).frame());
    let mut out = BytesMut::with_capacity(frames().map(Bytes::len).sum());
    frames().for_each(|frame| out.extend_from_slice(frame));
    out.freeze()
}
