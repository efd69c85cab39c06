//! One worker: its connections, its part of the topics, and what it does with each message.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use headgate_crds::v1alpha1::{CompressionMode, PresenceMode};
use slab::Slab;
use tokio::time::Instant;
use tracing::debug;

use super::{
    connection::{Closing, Connection, Held, Sent, State, Subscription},
    message::{Asker, ConnectionInfo, Message, Publisher, Target},
    pool::Shared,
};
use crate::{
    broker::{
        memory::{Attached, Outcome, Partition, Workers},
        presence::{Member, Notice},
        publication::{ConnectionKey, Publication},
    },
    config::settings::Settings,
    hub::{subscribers::{Moved, Subscriber, Subscribers}, wheel::Wheel},
    protocol::{close::CloseReason, encoded::Encoded, error::{ClientError, ErrorCode}, position::{ClientPosition, Position}, reply, topic::Topic},
    session::{heartbeat::Due, rights},
    websocket::{
        assembler::{Event, Input, Violation},
        deflate::{Deflater, Inflater},
        frame,
        handshake::Dialect,
    },
};

/// What one read takes at most; one buffer serves all connections of a worker.
const BUFFER: usize = 64 * 1024;

/// Reads of one connection before the others have their turn.
const READS_MAX: usize = 8;

/// Everything that a worker owns.
pub struct Worker {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub settings: Arc<Settings>,
    pub connections: Slab<Connection>,
    pub subscribers: Subscribers,
    partition: Partition,
    wheel: Wheel<ConnectionKey>,
    buffer: Vec<u8>,
    inflater: Option<Box<Inflater>>,
    deflater: RefCell<Deflater>,
    pub rng: fastrand::Rng,
    drain: Option<Drain>,
    swept_ms: u64,
    counts: Counts,
}

/// Closes that are spread over time.
struct Drain {
    begun_ms: u64,
    period_ms: u64,
    /// Who is closed, the next one last, with the time and whether it was told.
    queue: Vec<(u64, ConnectionKey)>,
    told: VecDeque<(u64, ConnectionKey)>,
}

/// What a worker has counted since the last tick.
#[derive(Default)]
struct Counts {
    delivered: u64,
    subscriptions: i64,
    reported: (i64, i64, i64, i64),
}

impl Worker {
    pub fn new(index: usize, shared: Arc<Shared>, settings: Arc<Settings>) -> Self {
        let now_ms = shared.now_ms();
        let bytes_max = usize::try_from(settings.spec.broker.history_bytes.bytes()).unwrap_or(usize::MAX);
        let partition = Partition::new(Arc::clone(&shared.history_bytes), bytes_max, fastrand::u64(..));
        let level = settings.spec.compression.level;
        Self {
            index,
            shared,
            settings,
            connections: Slab::new(),
            subscribers: Subscribers::default(),
            partition,
            wheel: Wheel::new(now_ms),
            buffer: vec![0; BUFFER],
            inflater: Some(Box::default()),
            deflater: RefCell::new(Deflater::new(level)),
            rng: fastrand::Rng::new(),
            drain: None,
            swept_ms: now_ms,
            counts: Counts::default(),
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.shared.now_ms()
    }

    /// A connection by its name, if it is still the same one.
    pub fn find(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.get_mut(key.slot()).filter(|it| it.key == key)
    }

    /// Takes a connection in and says what it is subscribed to from the start.
    pub fn open(&mut self, connection: Connection) {
        let key = connection.key;
        let now_ms = self.now_ms();
        let slot = key.slot();
        self.connections.insert(connection);
        self.shared.metrics.connections.inc();
        debug!(event = "opened", connection = %key, "connection opened");
        self.greet(key);
        self.arm(slot, now_ms);
        if let Some(drain) = &mut self.drain {
            drain.queue.insert(0, (now_ms + drain.period_ms, key));
        }
    }

    /// Begins a session that knows who the client is.
    pub fn greet(&mut self, key: ConnectionKey) {
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return };
        if !connection.is_authenticated || connection.is_echo {
            return;
        }
        let identity = connection.identity.clone();
        if let Some(expires) = identity.expires {
            let left_ms = expires.saturating_sub(unix_now()).saturating_mul(1_000);
            // A token within its leeway at connect gets a moment, so that clocks may differ.
            let left_ms = left_ms.max(1_000);
            connection.heartbeat.expires_ms = now_ms + left_ms;
        }
        let mut topics = vec![Topic::all()];
        topics.extend(identity.user.as_deref().map(Topic::user));
        for channel in &identity.grants.channels {
            let rule = self.settings.rule(channel);
            if rights::may_subscribe(rule, &identity, channel) {
                topics.extend(Topic::channel(channel));
            }
        }
        if let Some(connection) = self.find(key) {
            connection.opening = Some(topics.len());
        }
        for topic in topics {
            self.subscribe(key, &topic, None, None);
        }
    }

    fn welcome(&mut self, key: ConnectionKey) {
        let settings = Arc::clone(&self.settings);
        let positions: Vec<(String, Option<Position>)> = {
            let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else { return };
            connection
                .subscriptions
                .iter()
                .filter_map(|it| {
                    let topic = self.subscribers.topic(it.topic)?;
                    let position = match &it.state {
                        State::Held(held) => held.lost,
                        State::Live => None,
                    };
                    Some((topic.name().to_owned(), position))
                })
                .collect()
        };
        let Some(connection) = self.find(key) else { return };
        connection.opening = None;
        if connection.dialect == Dialect::V1 {
            let name = key.to_string();
            let identity = &connection.identity;
            let it = reply::Welcome {
                connection: &name,
                user: identity.user.as_deref(),
                ping_period_ms: settings.spec.ping_period.millis(),
                message_bytes_max: settings.spec.max_message_size.bytes(),
                expires: identity.expires,
                subscriptions: &positions,
            };
            let encoded = Encoded::build(256, |out| reply::welcome(out, &it));
            self.send(key.slot(), encoded.frame());
        }
        // What was held goes out behind the welcome.
        let count = self.find(key).map_or(0, |it| it.subscriptions.len());
        for index in 0..count {
            if let Some(State::Held(held)) = self.find(key).and_then(|it| it.subscriptions.get_mut(index)).map(|it| &mut it.state) {
                held.lost = None;
            }
            self.pump(key.slot(), index);
        }
        if let Some(waker) = self.find(key).and_then(|it| it.waker.clone()) {
            waker.wake();
        }
    }

    /// Subscribes a connection and asks the topic's home; `reply` where the client wants one.
    pub fn subscribe(
        &mut self,
        key: ConnectionKey,
        topic: &Topic,
        recover: Option<ClientPosition>,
        reply: Option<Option<Box<str>>>,
    ) {
        let Some(connection) = self.connections.get_mut(key.slot()).filter(|it| it.key == key) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "the limit is far below 2^32")]
        let index = connection.subscriptions.len() as u32;
        let (id, place, _) = self.subscribers.add(topic, Subscriber { slot: key.slot(), index });
        let held = Held { reply, ..Held::default() };
        let state = State::Held(Box::new(held));
        connection.subscriptions.push(Subscription { topic: id, place, after: 0, state });
        self.counts.subscriptions += 1;
        let member = (self.settings.presence(topic) != PresenceMode::Disabled).then(|| Member {
            connection: key,
            user: connection.identity.user.clone(),
            info: connection.identity.info.clone(),
        });
        self.shared.to_home(topic, Message::Attach { topic: topic.clone(), connection: key, recover, member });
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, key: ConnectionKey, topic: &Topic) -> bool {
        let Some(id) = self.subscribers.find(topic) else { return false };
        let Some(connection) = self.find(key) else { return false };
        let Some(index) = connection.subscription(id) else { return false };
        self.remove(key, index);
        true
    }

    fn remove(&mut self, key: ConnectionKey, index: usize) {
        let Some(connection) = self.connections.get_mut(key.slot()).filter(|it| it.key == key) else { return };
        if index >= connection.subscriptions.len() {
            return;
        }
        let gone = connection.subscriptions.swap_remove(index);
        if let Some(moved) = connection.subscriptions.get(index) {
            #[expect(clippy::cast_possible_truncation, reason = "the limit is far below 2^32")]
            self.subscribers.reindex(moved.topic, moved.place, index as u32);
        }
        self.counts.subscriptions -= 1;
        let topic = self.subscribers.topic(gone.topic).cloned();
        let (moved, emptied) = self.subscribers.remove(gone.topic, gone.place);
        if let Some(Moved { subscriber, place }) = moved
            && let Some(it) = self.connections.get_mut(subscriber.slot).and_then(|it| it.subscriptions.get_mut(subscriber.index as usize))
        {
            it.place = place;
        }
        let Some(topic) = topic else { return };
        if self.settings.presence(&topic) != PresenceMode::Disabled {
            self.shared.to_home(&topic, Message::Leave { topic: topic.clone(), connection: key });
        }
        if let Some(topic) = emptied {
            let worker = self.index;
            self.shared.to_home(&topic.clone(), Message::Detach { topic, worker });
        }
    }

    /// Sends a frame to one connection and deals with what became of it.
    pub fn send(&mut self, slot: usize, frame: &Bytes) {
        let bounds = self.settings.outbox_bounds();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let sent = connection.send(frame, Some(bounds));
        self.sent(slot, sent);
    }

    pub fn reply(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let encoded = Encoded::build(128, write);
        self.send(slot, encoded.frame());
    }

    pub fn error(&mut self, slot: usize, id: Option<&str>, error: &ClientError) {
        self.shared.metrics.errors.with_label_values(&[error.code.code()]).inc();
        self.reply(slot, |out| reply::error(out, id, error));
    }

    fn sent(&mut self, slot: usize, sent: Sent) {
        match sent {
            Sent::Done => {}
            Sent::Queued => self.queued(slot),
            Sent::Overflow => self.close(slot, CloseReason::SlowConsumer),
            Sent::Lost => self.lose(slot),
        }
    }

    /// Something waits: the task looks after the socket, the wheel after the time.
    fn queued(&mut self, slot: usize) {
        let now_ms = self.now_ms();
        let write_wait = self.settings.spec.write_wait.millis();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.blocked_since_ms.is_none() {
            connection.blocked_since_ms = Some(now_ms);
        }
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        self.arm(slot, now_ms + write_wait);
    }

    /// Ends a connection politely.
    pub fn close(&mut self, slot: usize, reason: CloseReason) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.closing.is_some() {
            return;
        }
        let sent = connection.close(now_ms, reason, &Connection::close_frame(reason));
        self.closed(slot, sent);
    }

    fn closed(&mut self, slot: usize, sent: Sent) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let until_ms = connection.closing.map_or(now_ms, |it| it.until_ms);
        let key = connection.key;
        if sent == Sent::Lost {
            self.lose(slot);
            return;
        }
        if sent == Sent::Done {
            connection.transport.finish();
            if let Some(closing) = &mut connection.closing {
                closing.is_finished = true;
            }
        }
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        // It hears nothing more from here on.
        while self.find(key).is_some_and(|it| !it.subscriptions.is_empty()) {
            self.remove(key, 0);
        }
        self.arm(slot, until_ms);
    }

    /// Ends a connection whose transport is of no use any more; its task removes it.
    fn lose(&mut self, slot: usize) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.outbox.clear();
        let reason = connection.closing.map_or(CloseReason::ConnectionLost, |it| it.reason);
        connection.closing = Some(Closing { reason, until_ms: 0, is_finished: true });
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        self.arm(slot, now_ms);
    }

    /// Forgets a connection.
    pub fn end(&mut self, slot: usize) {
        let Some(connection) = self.connections.get(slot) else { return };
        let key = connection.key;
        while self.find(key).is_some_and(|it| !it.subscriptions.is_empty()) {
            self.remove(key, 0);
        }
        let now_ms = self.now_ms();
        let connection = self.connections.remove(slot);
        let reason = connection.closing.map_or(CloseReason::ConnectionLost, |it| it.reason);
        let metrics = &self.shared.metrics;
        metrics.closed.with_label_values(&[reason.label()]).inc();
        metrics.duration.observe((now_ms - connection.opened_ms) as f64 / 1_000.0);
        debug!(event = "closed", connection = %key, code = reason.code(), reason = reason.label(), "connection closed");
    }

    /// Has the wheel look at a connection by then.
    pub fn arm(&mut self, slot: usize, at_ms: u64) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.armed_ms == 0 || at_ms < connection.armed_ms {
            connection.armed_ms = self.wheel.arm(connection.key, at_ms);
        }
    }

    /// Drives one connection as far as its socket allows.
    pub fn drive(&mut self, key: ConnectionKey, cx: &mut Context<'_>) -> Poll<()> {
        let slot = key.slot();
        let mut reads = 0;
        loop {
            let Some(connection) = self.find(key) else { return Poll::Ready(()) };
            if connection.waker.as_ref().is_none_or(|it| !it.will_wake(cx.waker())) {
                connection.waker = Some(cx.waker().clone());
            }
            if let Some(closing) = connection.closing
                && closing.until_ms == 0
            {
                self.end(slot);
                return Poll::Ready(());
            }
            self.write(slot, cx);
            let now_ms = self.now_ms();
            let Some(connection) = self.find(key) else { return Poll::Ready(()) };
            let is_paused = connection.paused_until_ms > now_ms || connection.opening.is_some();
            if is_paused && connection.closing.is_none() {
                return Poll::Pending;
            }
            if reads == READS_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match connection.transport.tcp().poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => reads += 1,
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.connections.get_mut(slot).map(|it| it.transport.read(&mut buffer));
            match read {
                Some(Ok(count)) if count > 0 => self.received(key, buffer.get_mut(..count).unwrap_or_default()),
                Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => self.lose(slot),
            }
            self.buffer = buffer;
        }
    }

    fn write(&mut self, slot: usize, cx: &mut Context<'_>) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if !connection.has_unsent() {
                break;
            }
            if connection.transport.tcp().poll_write_ready(cx).is_pending() {
                return;
            }
            match connection.flush() {
                Err(_) => return self.lose(slot),
                Ok(false) => {}
                Ok(true) => break,
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(closing) = &mut connection.closing {
            if !closing.is_finished {
                closing.is_finished = true;
                connection.transport.finish();
            }
            return;
        }
        let count = connection.subscriptions.len();
        for index in 0..count {
            self.pump(slot, index);
        }
    }

    /// Reads the frames in what came.
    pub fn received(&mut self, key: ConnectionKey, input: &mut [u8]) {
        let slot = key.slot();
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        let Some(connection) = self.find(key) else { return };
        connection.heartbeat.heard_ms = now_ms;
        let pause_ms = if connection.is_echo { 0 } else { connection.pace.bytes(now_ms, input.len(), &settings.spec.limits) };
        if pause_ms > 0 {
            connection.paused_until_ms = now_ms + pause_ms;
            self.arm(slot, now_ms + pause_ms);
        }
        let Some(mut inflater) = self.inflater.take() else { return };
        let mut input = Input::new(input);
        loop {
            let Some(connection) = self.find(key) else { break };
            // After a close frame, sent or received, nothing is read.
            if connection.closing.is_some() {
                break;
            }
            let mut limits = settings.message_limits(connection.window_bits.is_some());
            if connection.is_echo {
                limits.message_bytes_max = 16 << 20;
                limits.fragments_max = 65_536;
            } else if !connection.is_authenticated {
                limits.message_bytes_max = limits.message_bytes_max.min(16 << 10);
            }
            let mut assembler = std::mem::take(&mut connection.assembler);
            let event = assembler.next(&mut input, &limits, &mut inflater);
            let is_over = match event {
                Ok(None) => true,
                Ok(Some(event)) => {
                    // The next message's time runs from its own first byte.
                    if let (Event::Text(_) | Event::Binary(_), Some(connection)) = (&event, self.find(key)) {
                        connection.heartbeat.partial_since_ms = None;
                    }
                    self.event(key, &event);
                    false
                }
                Err(violation) => {
                    self.close(slot, violation_reason(violation));
                    true
                }
            };
            if let Some(connection) = self.find(key) {
                connection.assembler = assembler;
            }
            if is_over {
                break;
            }
        }
        self.inflater = Some(inflater);
        self.note_partial(key, now_ms);
    }

    fn note_partial(&mut self, key: ConnectionKey, now_ms: u64) {
        let pong_wait = self.settings.spec.pong_wait.millis();
        let Some(connection) = self.find(key) else { return };
        if !connection.assembler.is_incomplete() {
            connection.heartbeat.partial_since_ms = None;
        } else if connection.heartbeat.partial_since_ms.is_none() {
            connection.heartbeat.partial_since_ms = Some(now_ms);
            self.arm(key.slot(), now_ms + pong_wait);
        }
    }

    fn event(&mut self, key: ConnectionKey, event: &Event<'_>) {
        let slot = key.slot();
        match event {
            Event::Close(code) => {
                let now_ms = self.now_ms();
                let Some(connection) = self.connections.get_mut(slot) else { return };
                let frame = code.map_or_else(frame::close_empty, |(code, _)| frame::close(code, ""));
                let sent = connection.close(now_ms, CloseReason::Client, &frame);
                self.closed(slot, sent);
            }
            Event::Ping(payload) => {
                if self.paced(key) {
                    // One pong that waits is enough (RFC 6455, section 5.5.3).
                    let is_waiting = self.find(key).is_some_and(|it| it.has_unsent());
                    if !is_waiting || self.find(key).is_some_and(|it| it.is_echo) {
                        self.send(slot, &frame::pong(payload));
                    }
                }
            }
            Event::Pong(_) => drop(self.paced(key)),
            Event::Text(text) => self.message(key, text, true),
            Event::Binary(bytes) => {
                let Some(connection) = self.find(key) else { return };
                if connection.is_echo {
                    self.echo(key, bytes, false);
                } else if connection.dialect == Dialect::V1 {
                    self.close(slot, CloseReason::Unsupported);
                } else if let Ok(text) = std::str::from_utf8(bytes) {
                    self.message(key, text, false);
                } else {
                    self.close(slot, CloseReason::InvalidText);
                }
            }
        }
    }

    fn message(&mut self, key: ConnectionKey, text: &str, is_text: bool) {
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return };
        connection.heartbeat.active_ms = now_ms;
        if connection.is_echo {
            self.echo(key, text.as_bytes(), is_text);
        } else {
            self.requests(key, text);
        }
    }

    fn echo(&mut self, key: ConnectionKey, payload: &[u8], is_text: bool) {
        let window = self.find(key).and_then(|it| it.window_bits);
        let fits = window.is_some_and(|bits| bits >= 15 || payload.len() <= 1 << bits);
        let deflated = fits.then(|| self.deflater.borrow_mut().deflate(payload, 1)).flatten();
        let frame = deflated.map_or_else(|| frame::message(is_text, payload), |it| frame::compressed(is_text, &it));
        let Some(connection) = self.find(key) else { return };
        let sent = connection.send(&frame, None);
        self.sent(key.slot(), sent);
    }

    /// Does what a message says.
    pub fn handle(&mut self, batch: &mut Vec<Message>) {
        let mut batch = batch.drain(..).peekable();
        while let Some(message) = batch.next() {
            let Message::Deliver { publication, except } = message else {
                self.one(message);
                continue;
            };
            // What queued up for the same listeners while the last walk ran goes out in one write.
            let mut run = vec![publication];
            let limit = self.settings.spec.batching.max_messages as usize;
            while except.is_none() && run.len() < limit {
                let is_same = |next: &Message| {
                    matches!((next, run.first()), (Message::Deliver { publication, except: None }, Some(first)) if publication.topic == first.topic)
                };
                let Some(Message::Deliver { publication, .. }) = batch.next_if(is_same) else { break };
                run.push(publication);
            }
            self.deliver(&run, except);
        }
    }

    fn one(&mut self, message: Message) {
        let now_ms = self.now_ms();
        match message {
            Message::Publish { publish, except, publisher } => {
                let retention = self.settings.retention(&publish.topic);
                let channel = publish.topic.clone();
                let outcome = self.partition.publish(now_ms, publish, retention);
                let position = match outcome {
                    Outcome::Duplicate(position) => Some(position),
                    Outcome::Published(publication, workers) => {
                        let position = publication.position;
                        self.fan_out(&publication, workers, except);
                        position
                    }
                };
                match publisher {
                    Publisher::Nobody => {}
                    Publisher::Api(done) => drop(done.send(position)),
                    Publisher::Client(connection, id) => {
                        let encoded = Encoded::build(96, |out| reply::published(out, &id, channel.name(), position));
                        self.answer(connection, encoded.frame().clone());
                    }
                }
            }
            Message::Attach { topic, connection, recover, member } => {
                let retention = self.settings.retention(&topic);
                let attached = self.partition.attach(now_ms, &topic, connection.worker(), recover, retention);
                let to = connection.worker();
                if let Some(member) = member {
                    let is_announced = self.settings.presence(&topic) == PresenceMode::Announced;
                    if let Some((notice, workers)) = self.partition.join(now_ms, &topic, member, is_announced) {
                        self.announce(notice, workers);
                    }
                }
                self.shared.send(to, Message::Attached { topic, connection, recover, attached });
            }
            Message::Detach { topic, worker } => {
                // A subscriber that came meanwhile has attached behind this message.
                self.partition.detach(&topic, worker);
            }
            Message::Leave { topic, connection } => self.partition.leave(now_ms, &topic, connection),
            Message::History { topic, since, limit, asker } => {
                let retention = self.settings.retention(&topic);
                let page = retention.map(|it| self.partition.history(now_ms, &topic, since, limit, it));
                match asker {
                    Asker::Api(done) => drop(done.send(page)),
                    Asker::Client(connection, id) => {
                        let id = id.as_deref();
                        let encoded = Encoded::build(1_024, |out| match &page {
                            Some(Ok(page)) => {
                                let messages = page.messages.iter().map(|it| it.past());
                                reply::history(out, id, topic.name(), page.position, messages, page.more);
                            }
                            Some(Err(code)) => reply::error(out, id, &(*code).into()),
                            None => reply::error(out, id, &ErrorCode::Forbidden.into()),
                        });
                        self.answer(connection, encoded.frame().clone());
                    }
                }
            }
            Message::Presence { topic, asker } => {
                let (members, total) = self.partition.presence(&topic);
                match asker {
                    Asker::Api(done) => drop(done.send((members, total))),
                    Asker::Client(connection, id) => {
                        let names: Vec<_> = members.iter().map(|it| it.connection.to_string()).collect();
                        let encoded = Encoded::build(1_024, |out| {
                            let members = members.iter().zip(&names).map(|(it, name)| reply::Present {
                                user: it.user.as_deref(),
                                connection: name,
                                info: it.info.as_deref(),
                            });
                            reply::presence(out, id.as_deref(), topic.name(), members, total);
                        });
                        self.answer(connection, encoded.frame().clone());
                    }
                }
            }
            Message::Deliver { publication, except } => self.deliver(&[publication], except),
            Message::Notice(notice) => self.notice(&notice),
            Message::Attached { topic, connection, recover, attached } => self.attached(connection, &topic, recover, attached),
            Message::Gap { topic, position } => {
                let frame = Encoded::build(96, |out| reply::gap(out, topic.name(), position));
                if let Some(id) = self.subscribers.find(&topic) {
                    for subscriber in self.subscribers.of(id).to_vec() {
                        let found = self.connections.get_mut(subscriber.slot).and_then(|it| it.subscriptions.get_mut(subscriber.index as usize));
                        if let Some(it) = found {
                            it.after = 0;
                        }
                        self.send(subscriber.slot, frame.frame());
                    }
                }
            }
            Message::Answer { connection, frame } => {
                if self.find(connection).is_some() {
                    self.send(connection.slot(), &frame);
                }
            }
            Message::Configure(settings) => self.configure(settings),
            Message::Drain { period_ms } => self.begin_drain(period_ms),
            Message::Stop => {
                for slot in self.slots() {
                    self.close(slot, CloseReason::GoingAway);
                }
            }
            Message::Disconnect { target, reason, done } => {
                let slots = self.targets(&target);
                let count = slots.len();
                for slot in slots {
                    self.close(slot, reason);
                }
                let _ = done.send(count);
            }
            Message::Send { connection, data, done } => {
                let is_here = self.find(connection).is_some_and(|it| it.closing.is_none());
                if is_here {
                    let is_plain = self.find(connection).is_some_and(|it| it.dialect == Dialect::Plain);
                    self.reply(connection.slot(), |out| {
                        let channel = if is_plain { None } else { Some("@user") };
                        reply::message(out, channel, &data, None, None);
                    });
                }
                let _ = done.send(is_here);
            }
            Message::Subscribe { user, topic, is_on, done } => {
                let mut count = 0;
                for slot in self.targets(&Target::User(user)) {
                    let Some(key) = self.connections.get(slot).map(|it| it.key) else { continue };
                    let has = self.subscribers.find(&topic).is_some_and(|id| self.connections.get(slot).is_some_and(|it| it.subscription(id).is_some()));
                    if is_on && !has {
                        self.subscribe(key, &topic, None, Some(None));
                        count += 1;
                    } else if !is_on && self.unsubscribe(key, &topic) {
                        self.reply(slot, |out| reply::ended(out, topic.name(), "unsubscribed", "by the application"));
                        count += 1;
                    }
                }
                let _ = done.send(count);
            }
            Message::Revoke { revoked: _, all, done } => {
                let now = unix_now();
                let gone: Vec<_> = self.connections.iter().filter(|(_, it)| it.closing.is_none() && all.contain(&it.identity, now)).map(|(slot, _)| slot).collect();
                let count = gone.len();
                for slot in gone {
                    self.close(slot, CloseReason::Revoked);
                }
                let _ = done.send(count);
            }
            Message::Connections(done) => {
                let list = self.connections.iter().map(|(_, it)| ConnectionInfo {
                    key: it.key,
                    user: it.identity.user.clone(),
                    subscriptions: it.subscriptions.len(),
                    age_ms: now_ms - it.opened_ms,
                });
                let _ = done.send(list.collect());
            }
            Message::Channels(done) => {
                let list = self.subscribers.iter().filter(|(topic, _)| !topic.is_own());
                let _ = done.send(list.map(|(topic, count)| (topic.clone(), count)).collect());
            }
        }
    }

    fn slots(&self) -> Vec<usize> {
        self.connections.iter().map(|(slot, _)| slot).collect()
    }

    fn targets(&self, target: &Target) -> Vec<usize> {
        match target {
            Target::Connection(key) => self.connections.get(key.slot()).filter(|it| it.key == *key && it.closing.is_none()).map(|_| key.slot()).into_iter().collect(),
            Target::User(user) => {
                let id = self.subscribers.find(&Topic::user(user));
                id.map_or(Vec::new(), |id| self.subscribers.of(id).iter().map(|it| it.slot).collect())
            }
        }
    }

    fn answer(&mut self, connection: ConnectionKey, frame: Bytes) {
        self.shared.send(connection.worker(), Message::Answer { connection, frame });
    }

    fn fan_out(&mut self, publication: &Arc<Publication>, workers: Workers, except: Option<ConnectionKey>) {
        for worker in workers.iter() {
            self.shared.send(worker, Message::Deliver { publication: Arc::clone(publication), except });
        }
    }

    fn announce(&mut self, notice: Notice, workers: Workers) {
        for worker in workers.iter() {
            self.shared.send(worker, Message::Notice(notice.clone()));
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let Some(id) = self.subscribers.find(&notice.topic) else { return };
        for subscriber in self.subscribers.of(id).to_vec() {
            self.send(subscriber.slot, notice.encoded.frame());
        }
    }

    /// A topic's home has answered: the reply, what was missed, then what came meanwhile.
    fn attached(&mut self, key: ConnectionKey, topic: &Topic, recover: Option<ClientPosition>, attached: Attached) {
        let Some(id) = self.subscribers.find(topic) else { return };
        let Some(connection) = self.connections.get_mut(key.slot()).filter(|it| it.key == key) else { return };
        let Some(index) = connection.subscription(id) else { return };
        let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
        let Attached { position, recovered, missed } = attached;
        let recovered_from = recover.and_then(ClientPosition::known).filter(|_| recovered == Some(true));
        let told = recovered_from.or(position);
        subscription.after = told.map_or(0, |at| at.offset);
        let State::Held(held) = &mut subscription.state else { return };
        held.is_attached = true;
        held.replay = missed.into();
        let reply = held.reply.take();
        if reply.is_none() {
            // Kept for the welcome, which names the position.
            held.lost = position;
        }
        let opening = connection.opening.as_mut().filter(|_| reply.is_none());
        if let Some(opening) = opening {
            *opening = opening.saturating_sub(1);
            if *opening == 0 {
                self.welcome(key);
            }
            return;
        }
        if let Some(id) = reply {
            self.reply(key.slot(), |out| reply::subscribed(out, id.as_deref(), topic.name(), told, recovered));
        }
        self.pump(key.slot(), index);
    }

    /// Goes on with a replay while the socket takes it, and then lets the subscription live.
    fn pump(&mut self, slot: usize, index: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if connection.opening.is_some() || connection.has_unsent() || connection.closing.is_some() {
                return;
            }
            let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
            let State::Held(held) = &mut subscription.state else { return };
            if !held.is_attached {
                return;
            }
            if let Some(next) = held.replay.pop_front() {
                subscription.after = next.position.map_or(subscription.after, |at| at.offset);
                let frame = connection.frame_of(&next, |it| deflate(&self.settings, &self.deflater, it)).clone();
                let sent = connection.send(&frame, None);
                self.counts.delivered += 1;
                self.sent(slot, sent);
                continue;
            }
            if held.has_lost {
                let at = held.lost.take().map(|at| Position { offset: at.offset + 1, ..at });
                held.has_lost = false;
                let name = self.subscribers.topic(subscription.topic).map(|it| it.name().to_owned());
                self.reply(slot, |out| reply::gap(out, &name.unwrap_or_default(), at));
                continue;
            }
            let Some(next) = held.held.pop_front() else {
                subscription.state = State::Live;
                return;
            };
            if next.position.is_none_or(|at| at.offset > subscription.after) {
                held.replay.push_back(next);
            }
        }
    }

    /// Hands publications of one topic to everybody who listens.
    fn deliver(&mut self, run: &[Arc<Publication>], except: Option<ConnectionKey>) {
        let Some(first) = run.first() else { return };
        let Some(id) = self.subscribers.find(&first.topic) else { return };
        let now_ms = self.shared.now_ms();
        let bounds = self.settings.outbox_bounds();
        let joined = Joined::new(run, &self.settings);
        let held_max = bounds.messages_max;
        let delay_ms = self.settings.spec.batching.max_delay.millis();
        let mut unsettled = Vec::new();
        for subscriber in self.subscribers.of(id) {
            let Some(connection) = self.connections.get_mut(subscriber.slot) else { continue };
            if except == Some(connection.key) || connection.closing.is_some() {
                continue;
            }
            let Some(subscription) = connection.subscriptions.get_mut(subscriber.index as usize) else { continue };
            if let State::Held(held) = &mut subscription.state {
                hold(held, run, held_max);
                continue;
            }
            let after = subscription.after;
            let is_news = |it: &Publication| it.position.is_none_or(|at| at.offset > after);
            subscription.after = run.last().and_then(|it| it.position).map_or(after, |at| at.offset.max(after));
            connection.heartbeat.active_ms = now_ms;
            let sent = match &joined {
                Some(joined) if delay_ms == 0 && connection.window_bits.is_none() && is_news(first) => {
                    connection.send(joined.of(connection.dialect), Some(bounds))
                }
                _ => {
                    let mut all = Sent::Done;
                    for publication in run.iter().filter(|it| is_news(it)) {
                        let frame = connection.frame_of(publication, |it| deflate(&self.settings, &self.deflater, it)).clone();
                        let sent = if delay_ms > 0 { connection.delay(&frame, bounds) } else { connection.send(&frame, Some(bounds)) };
                        if sent != Sent::Done {
                            all = sent;
                        }
                    }
                    all
                }
            };
            self.counts.delivered += run.len() as u64;
            if sent != Sent::Done {
                unsettled.push((subscriber.slot, sent));
            }
        }
        for (slot, sent) in unsettled {
            if delay_ms > 0 && sent == Sent::Queued {
                self.delayed(slot, now_ms + delay_ms);
            } else {
                self.sent(slot, sent);
            }
        }
        let took_ms = now_ms.saturating_sub(first.at_ms);
        self.shared.metrics.delivery.observe(took_ms as f64 / 1_000.0);
    }

    /// What waits for more to come goes out when its time is up, or when it is enough.
    fn delayed(&mut self, slot: usize, until_ms: u64) {
        let enough = self.settings.spec.batching.max_messages as usize;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.outbox.messages() >= enough {
            connection.delayed_until_ms = None;
            self.queued(slot);
        } else if connection.delayed_until_ms.is_none() && connection.blocked_since_ms.is_none() {
            connection.delayed_until_ms = Some(until_ms);
            self.arm(slot, until_ms);
        }
    }

    fn configure(&mut self, settings: Arc<Settings>) {
        let old = std::mem::replace(&mut self.settings, Arc::clone(&settings));
        let now_ms = self.now_ms();
        let bytes_max = usize::try_from(settings.spec.broker.history_bytes.bytes()).unwrap_or(usize::MAX);
        let changed = self.partition.reconfigure(now_ms, bytes_max, |topic| settings.retention(topic));
        for (topic, workers, position) in changed {
            for worker in workers.iter() {
                self.shared.send(worker, Message::Gap { topic: topic.clone(), position });
            }
        }
        for slot in self.slots() {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let key = connection.key;
            let is_vouched = connection.identity.key.is_none_or(|key| settings.verifier.vouches(key));
            if !is_vouched && !connection.is_echo && connection.closing.is_none() {
                // Spread over a minute, so that they do not come back all at once.
                let within_ms = self.rng.u64(0..60_000);
                connection.heartbeat.expires_ms = connection.heartbeat.expires_ms.min(now_ms + within_ms);
            }
            connection.armed_ms = 0;
            self.arm(slot, now_ms);
            if old.rules != settings.rules {
                self.check_rights(key);
            }
        }
    }

    /// Ends the subscriptions that are no longer allowed.
    pub fn check_rights(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else { return };
        let forbidden: Vec<Topic> = connection
            .subscriptions
            .iter()
            .filter_map(|it| self.subscribers.topic(it.topic))
            .filter(|topic| !topic.is_own())
            .filter(|topic| !rights::may_subscribe(self.settings.rule(topic.name()), &connection.identity, topic.name()))
            .cloned()
            .collect();
        for topic in forbidden {
            self.unsubscribe(key, &topic);
            self.reply(key.slot(), |out| reply::ended(out, topic.name(), "forbidden", "no longer allowed"));
        }
    }

    fn begin_drain(&mut self, period_ms: u64) {
        if self.drain.is_some() {
            return;
        }
        let now_ms = self.now_ms();
        let mut keys: Vec<_> = self.connections.iter().map(|(_, it)| it.key).collect();
        self.rng.shuffle(&mut keys);
        let count = keys.len().max(1) as u64;
        let at = |i: usize| now_ms + (i as u64 + 1) * period_ms / count;
        let mut queue: Vec<_> = keys.into_iter().enumerate().map(|(i, key)| (at(i), key)).collect();
        queue.reverse();
        self.drain = Some(Drain { begun_ms: now_ms, period_ms, queue, told: VecDeque::new() });
    }

    /// Tells those whose close is near, and closes those whose time has come.
    fn drain(&mut self, now_ms: u64) {
        /// A client is told so long before its close at most, in milliseconds.
        const NOTICE_MS: u64 = 5_000;
        let Some(mut drain) = self.drain.take() else { return };
        while drain.queue.last().is_some_and(|(at, _)| *at <= now_ms + NOTICE_MS) {
            let Some((at, key)) = drain.queue.pop() else { break };
            let delay_ms = self.rng.u64(0..=drain.period_ms.clamp(1_000, 10_000));
            if self.find(key).is_some_and(|it| !it.is_echo) {
                self.reply(key.slot(), |out| reply::reconnect(out, "drain", at.saturating_sub(now_ms), delay_ms));
            }
            drain.told.push_back((at, key));
        }
        while drain.told.front().is_some_and(|(at, _)| *at <= now_ms) {
            let Some((_, key)) = drain.told.pop_front() else { break };
            if self.find(key).is_some() {
                self.close(key.slot(), CloseReason::Draining);
            }
        }
        // Who came after the drain began goes with the last.
        if now_ms >= drain.begun_ms + drain.period_ms && drain.queue.is_empty() && drain.told.is_empty() {
            for slot in self.slots() {
                self.close(slot, CloseReason::Draining);
            }
        }
        self.drain = Some(drain);
    }

    /// Looks after time: deadlines, presence and history, the drain, metrics.
    pub fn tick(&mut self) {
        let now_ms = self.now_ms();
        let mut due = Vec::new();
        self.wheel.advance(now_ms, &mut due);
        for key in due {
            if self.find(key).is_some() {
                self.look_after(key, now_ms);
            }
        }
        self.drain(now_ms);
        if now_ms >= self.swept_ms + 200 {
            self.swept_ms = now_ms;
            for (notice, workers) in self.partition.tick(now_ms) {
                self.announce(notice, workers);
            }
            self.report();
        }
        if self.shared.take_lost(self.index) {
            self.tell_all_of_a_gap();
        }
        self.shared.beat(self.index, now_ms);
    }

    fn look_after(&mut self, key: ConnectionKey, now_ms: u64) {
        let slot = key.slot();
        let settings = Arc::clone(&self.settings);
        let spec = &settings.spec;
        let Some(connection) = self.find(key) else { return };
        connection.armed_ms = 0;
        if let Some(closing) = connection.closing {
            if now_ms >= closing.until_ms {
                if let Some(closing) = &mut connection.closing {
                    closing.until_ms = 0;
                }
                if let Some(waker) = connection.waker.clone() {
                    waker.wake();
                }
            } else {
                self.arm(slot, closing.until_ms);
            }
            return;
        }
        if connection.delayed_until_ms.is_some_and(|at| now_ms >= at) {
            connection.delayed_until_ms = None;
            self.queued(slot);
        }
        let Some(connection) = self.find(key) else { return };
        let write_by = connection.blocked_since_ms.map(|since| since + spec.write_wait.millis());
        if write_by.is_some_and(|by| now_ms >= by) {
            return self.close(slot, CloseReason::WriteTimeout);
        }
        if connection.paused_until_ms > 0 && connection.paused_until_ms <= now_ms {
            connection.paused_until_ms = 0;
            if let Some(waker) = connection.waker.clone() {
                waker.wake();
            }
        }
        let Some(connection) = self.find(key) else { return };
        if !connection.is_echo {
            match connection.heartbeat.due(now_ms, spec) {
                Due::Nothing => {}
                Due::Ping => self.send(slot, &frame::ping()),
                Due::Close(reason) => return self.close(slot, reason),
            }
        }
        let Some(connection) = self.find(key) else { return };
        let mut next = connection.heartbeat.next_ms(spec);
        next = next.min(write_by.unwrap_or(u64::MAX)).min(connection.delayed_until_ms.unwrap_or(u64::MAX));
        if connection.paused_until_ms > now_ms {
            next = next.min(connection.paused_until_ms);
        }
        self.arm(slot, next);
    }

    fn tell_all_of_a_gap(&mut self) {
        let topics: Vec<Topic> = self.subscribers.iter().map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            self.one(Message::Gap { topic, position: None });
        }
    }

    fn report(&mut self) {
        let metrics = &self.shared.metrics;
        metrics.delivered.inc_by(std::mem::take(&mut self.counts.delivered));
        metrics.subscriptions.add(std::mem::take(&mut self.counts.subscriptions));
        let queues = self.connections.iter().fold((0, 0), |(messages, bytes), (_, it)| {
            (messages + it.outbox.messages(), bytes + it.outbox.bytes())
        });
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let now = (signed(queues.0), signed(queues.1), signed(self.subscribers.topics()), signed(self.connections.len()));
        let before = std::mem::replace(&mut self.counts.reported, now);
        metrics.queue_messages.add(now.0 - before.0);
        metrics.queue_bytes.add(now.1 - before.1);
        metrics.channels.add(now.2 - before.2);
        self.shared.held.fetch_add(now.3 - before.3, Ordering::Relaxed);
    }

    /// The connection of the longest idle, if it has been idle for a minute.
    pub fn longest_idle(&self, now_ms: u64) -> Option<usize> {
        let idle = self.connections.iter().filter(|(_, it)| it.closing.is_none() && now_ms.saturating_sub(it.heartbeat.active_ms) >= 60_000);
        idle.min_by_key(|(_, it)| it.heartbeat.active_ms).map(|(slot, _)| slot)
    }

    /// How many connections have been idle for a minute.
    pub fn idle(&self, now_ms: u64) -> usize {
        self.connections.iter().filter(|(_, it)| now_ms.saturating_sub(it.heartbeat.active_ms) >= 60_000).count()
    }
}

/// Keeps what is published while a replay runs; too much of it becomes a gap.
fn hold(held: &mut Held, run: &[Arc<Publication>], max: usize) {
    for publication in run {
        if held.held.len() >= max {
            held.lost = held.held.back().and_then(|it| it.position);
            held.has_lost = true;
            held.held.clear();
        }
        held.held.push_back(Arc::clone(publication));
    }
}

fn deflate(settings: &Settings, deflater: &RefCell<Deflater>, payload: &[u8]) -> Option<Bytes> {
    let compression = &settings.spec.compression;
    if compression.mode == CompressionMode::Disabled || (payload.len() as u64) < compression.min_size.bytes() {
        return None;
    }
    let deflated = deflater.borrow_mut().deflate(payload, compression.level)?;
    Some(frame::compressed(true, &deflated))
}

/// Several publications in the bytes of one write, one variant per dialect.
struct Joined {
    v1: Bytes,
    plain: Bytes,
}

impl Joined {
    fn new(run: &[Arc<Publication>], settings: &Settings) -> Option<Self> {
        if run.len() < 2 {
            return None;
        }
        let v1 = join(run.iter().map(|it| it.v1().encoded.payload()));
        let plain = if settings.spec.batching.plain == headgate_crds::v1alpha1::Switch::Enabled {
            join(run.iter().map(|it| it.plain().encoded.payload()))
        } else {
            run.iter().flat_map(|it| it.plain().encoded.frame().iter().copied()).collect()
        };
        Some(Self { v1, plain })
    }

    fn of(&self, dialect: Dialect) -> &Bytes {
        match dialect {
            Dialect::V1 => &self.v1,
            Dialect::Plain => &self.plain,
        }
    }
}

/// Envelopes joined by line feeds in one frame.
fn join<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let encoded = Encoded::build(1_024, |out| {
        for (i, payload) in payloads.enumerate() {
            if i > 0 {
                out.push(b'\n');
            }
            out.extend_from_slice(payload);
        }
    });
    encoded.frame().clone()
}

fn violation_reason(violation: Violation) -> CloseReason {
    match violation {
        Violation::Protocol(_) => CloseReason::ProtocolViolation,
        Violation::InvalidText => CloseReason::InvalidText,
        Violation::TooBig => CloseReason::TooBig,
        Violation::TooManyFragments => CloseReason::Policy,
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

/// Runs one connection until it has ended.
pub async fn run(worker: Rc<RefCell<Worker>>, key: ConnectionKey) {
    std::future::poll_fn(|cx| worker.borrow_mut().drive(key, cx)).await;
}

/// The worker's clock: a tick of the wheel.
pub async fn clock(worker: Rc<RefCell<Worker>>) {
    let period = std::time::Duration::from_millis(crate::hub::wheel::TICK_MS);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        worker.borrow_mut().tick();
    }
}
