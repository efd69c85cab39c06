//! Subscriptions, and the seam between what was published and what is published now.
//!
//! The order is always the same: register with the topic's home, hold what is published meanwhile,
//! reply, replay what was missed as the socket drains, then what was held above the last offset.
//! What is too much to hold becomes a `gap`, never a silent loss.

use std::{collections::VecDeque, sync::Arc};

use smallvec::{SmallVec, smallvec};

use super::{
    connection::{Connection, Held, Loss, Sent, Stage, State, Subscription},
    key::ConnectionKey,
    life::Worker,
    message::{Answer, Attach, Message},
};
use crate::{
    broker::{Attached, ClientPosition, Member, Position, Publication},
    hub::{
        outbox::Bounds,
        subscribers::{Moved, Subscriber},
    },
    protocol::{Dialect, encoded::Encoded, error::ErrorCode, reply, topic::Topic},
    session::rights,
};

/// Why a subscription begins.
#[derive(Debug)]
pub enum Begin {
    /// The gateway subscribes by itself, when a session opens.
    Opening,
    /// A client asked, with the `id` of its request.
    Client(Option<Box<str>>, Option<ClientPosition>),
    /// The server API asked.
    Application,
}

impl Worker {
    /// Begins a session that knows who the client is.
    pub fn greet(&mut self, key: ConnectionKey) {
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return };
        if !matches!(connection.stage, Stage::Opening(_)) {
            return;
        }
        let identity = connection.identity.clone();
        if let Some(expires) = identity.expires {
            connection.heartbeat.expire_in(now_ms, expires.saturating_sub(unix_now()));
        }
        let mut topics: SmallVec<[Topic; 4]> = smallvec![Topic::all()];
        topics.extend(identity.user.as_deref().map(Topic::user));
        for channel in &identity.grants.channels {
            let rule = self.settings.rule(channel);
            if rights::may_subscribe(rule, &identity, channel)
                && let Ok(topic) = Topic::named(channel, None)
                && !topics.contains(&topic)
            {
                topics.push(topic);
            }
        }
        // Who was anonymous before has some of them.
        topics.retain(|topic| self.subscription(key, topic).is_none());
        let most = self.settings.spec().limits.channels_per_connection as usize;
        let own = topics.iter().filter(|it| it.is_reserved()).count();
        topics.truncate(own + most);
        if let Some(connection) = self.find(key) {
            connection.subscriptions.reserve_exact(topics.len());
            // One more, so that it cannot open before all are asked for.
            connection.stage = Stage::Opening(topics.len() + 1);
        }
        for topic in topics {
            self.subscribe(key, &topic, Begin::Opening);
        }
        self.opened_one(key);
    }

    /// One of the homes that an opening session waits for has answered.
    fn opened_one(&mut self, key: ConnectionKey) {
        let Some(connection) = self.find(key) else { return };
        let Stage::Opening(waits_for) = &mut connection.stage else { return };
        *waits_for = waits_for.saturating_sub(1);
        if *waits_for > 0 {
            return;
        }
        connection.stage = Stage::Open;
        if let Some(waker) = &connection.waker {
            waker.wake_by_ref();
        }
        if connection.dialect == Dialect::V1 {
            self.welcome(key);
        }
        // What was held goes out behind the welcome.
        self.go_on(key.slot());
    }

    fn welcome(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else {
            return;
        };
        let spec = self.settings.spec();
        let subscriptions: Vec<(&str, Option<Position>)> = connection
            .subscriptions
            .iter()
            .filter_map(|it| Some((self.subscribers.topic(it.topic)?.name(), it.at)))
            .collect();
        let name = self.shared.names.name(key);
        let welcome = reply::Welcome {
            connection: &name,
            user: connection.identity.user.as_deref(),
            ping_period_ms: spec.ping_period.as_millis(),
            max_message_bytes: spec.max_message_size.bytes(),
            expires: connection.identity.expires,
            features: &[],
            subscriptions: &subscriptions,
        };
        let encoded = Encoded::text(256, |out| reply::welcome(out, &welcome));
        self.send(key.slot(), &encoded);
    }

    /// Subscribes a connection that is not subscribed yet.
    pub fn subscribe(&mut self, key: ConnectionKey, topic: &Topic, begin: Begin) {
        let is_granted = matches!(begin, Begin::Application);
        let (replies, recover): (SmallVec<[_; 1]>, _) = match begin {
            Begin::Opening => (SmallVec::new(), None),
            Begin::Client(id, recover) => (smallvec![id], recover),
            Begin::Application => (smallvec![None], None),
        };
        self.ticket = self.ticket.wrapping_add(1);
        let held = Held {
            ticket: self.ticket,
            replies,
            recover,
            is_attached: false,
            replay: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            loss: None,
        };
        let Some(connection) = self.connections.get_mut(key.slot()).filter(|it| it.key == key)
        else {
            return;
        };
        #[expect(clippy::cast_possible_truncation, reason = "both limits are far below 2^32")]
        let (slot, index) = (key.slot() as u32, connection.subscriptions.len() as u32);
        let (id, place) = self.subscribers.add(topic, Subscriber { slot, index, is_live: false });
        connection.subscriptions.push(Subscription {
            topic: id,
            place,
            at: None,
            state: State::Held(Box::new(held)),
            is_granted,
        });
        if !topic.is_reserved() {
            self.counts.sizes.subscriptions += 1;
        }
        let rules = self.settings.topic_rules(topic);
        if self.subscribers.is_attached(id) && rules == crate::broker::TopicRules::default() {
            // What is published comes here already, and there is nothing else to ask for.
            let answer = Answer { topic: topic.clone(), connection: key, ticket: self.ticket };
            let recovered = recover.map(|_| false);
            let attached = Attached { position: None, recovered, missed: Vec::new() };
            self.attached(&answer, attached);
            return;
        }
        self.attach(key, index as usize);
    }

    /// Asks a topic's home for one of a connection's subscriptions.
    fn attach(&mut self, key: ConnectionKey, index: usize) {
        let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else {
            return;
        };
        let Some(subscription) = connection.subscriptions.get(index) else { return };
        let State::Held(held) = &subscription.state else { return };
        let Some(topic) = self.subscribers.topic(subscription.topic).cloned() else { return };
        let (ticket, recover) = (held.ticket, held.recover);
        let member = self.settings.presence(&topic).map(|mode| (self.member(connection), mode));
        let answer = Answer { topic: topic.clone(), connection: key, ticket };
        let attach = Attach { topic: topic.clone(), answer, recover, member };
        if !self.shared.to_home(&topic, Message::Attach(attach)) {
            self.unattached(key, index);
        }
    }

    /// A home could not be asked: who waits for it is told, and may ask again.
    fn unattached(&mut self, key: ConnectionKey, index: usize) {
        let subscription = self.find(key).and_then(|it| it.subscriptions.get_mut(index));
        let replies = match subscription.map(|it| &mut it.state) {
            Some(State::Held(held)) => std::mem::take(&mut held.replies),
            _ => SmallVec::new(),
        };
        self.remove(key, index);
        if replies.is_empty() {
            self.opened_one(key);
        }
        for id in replies {
            let code = ErrorCode::Unavailable;
            self.error(key.slot(), id.as_deref(), code, code.words());
        }
    }

    /// Asks once more for everything whose answer may have been lost.
    pub fn attach_again(&mut self) {
        let is_waiting =
            |it: &Subscription| matches!(&it.state, State::Held(held) if !held.is_attached);
        for slot in self.slots() {
            let Some(connection) = self.connections.get(slot) else { continue };
            let key = connection.key;
            let waiting = connection.subscriptions.iter().enumerate();
            let waiting: Vec<_> =
                waiting.filter(|(_, it)| is_waiting(it)).map(|(index, _)| index).collect();
            // From the end, since one that cannot be asked is removed.
            for index in waiting.into_iter().rev() {
                self.attach(key, index);
            }
        }
    }

    /// A connection as presence shows it.
    pub fn member(&self, connection: &Connection) -> Member {
        Member {
            user: connection.identity.user.clone(),
            connection: self.shared.names.name(connection.key),
            info: connection.identity.info.clone(),
        }
    }

    /// A topic's home has answered: the reply, what was missed, then what came meanwhile.
    pub fn attached(&mut self, answer: &Answer, attached: Attached) {
        let Answer { topic, connection: key, ticket } = answer;
        let slot = key.slot();
        let Some(id) = self.subscribers.find(topic) else { return };
        self.subscribers.set_attached(id);
        let Some(connection) = self.connections.get_mut(slot).filter(|it| it.key == *key) else {
            return;
        };
        let Some(index) = connection.subscription(id) else { return };
        let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
        let State::Held(held) = &mut subscription.state else { return };
        if held.ticket != *ticket || held.is_attached {
            return;
        }
        let Attached { position, recovered, missed } = attached;
        subscription.at = position;
        held.is_attached = true;
        held.replay = missed.into();
        let replies = std::mem::take(&mut held.replies);
        if replies.is_empty() {
            // The welcome names the position.
            self.opened_one(*key);
        }
        for id in replies {
            self.reply(slot, |out| {
                reply::subscribed(out, id.as_deref(), topic.name(), position, recovered);
            });
        }
        self.replay(slot, index);
    }

    /// Answers a client that subscribes to what it is subscribed to.
    pub fn subscribed_already(
        &mut self,
        key: ConnectionKey,
        index: usize,
        topic: &Topic,
        id: Option<Box<str>>,
        recover: Option<ClientPosition>,
    ) {
        let subscription = self.find(key).and_then(|it| it.subscriptions.get_mut(index));
        let Some(subscription) = subscription else { return };
        match &mut subscription.state {
            // One answer for both, when there is one.
            State::Held(held) if !held.is_attached => held.replies.push(id),
            _ => {
                let at = subscription.at;
                // It has had everything since it subscribed, so nothing before its place is missing.
                let has_all = |client: ClientPosition| {
                    at.is_some_and(|at| {
                        client.epoch == Some(at.epoch) && client.offset <= at.offset
                    })
                };
                let recovered = recover.map(has_all);
                self.reply(key.slot(), |out| {
                    reply::subscribed(out, id.as_deref(), topic.name(), at, recovered);
                });
            }
        }
    }

    /// Goes on with every replay of a connection whose socket takes more.
    pub fn go_on(&mut self, slot: usize) {
        let count = self.connections.get(slot).map_or(0, |it| it.subscriptions.len());
        for index in 0..count {
            self.replay(slot, index);
        }
    }

    /// Goes on with a replay while the socket takes it, and then lets the subscription live.
    fn replay(&mut self, slot: usize, index: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if connection.stage != Stage::Open
                || connection.has_unsent()
                || connection.closing.is_some()
            {
                return;
            }
            if connection.delayed_until_ms.take().is_some() && !connection.outbox.is_empty() {
                // What waits for more to come goes out first.
                return self.queued(slot);
            }
            let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
            let State::Held(held) = &mut subscription.state else { return };
            if !held.is_attached {
                return;
            }
            if let Some(next) = held.replay.pop_front() {
                subscription.at = next.position.or(subscription.at);
                let sent = self.send_publication(slot, &next);
                self.sent(slot, sent);
            } else if let Some(Loss(last)) = held.loss.take() {
                // What is missing ends with the last one that was too much.
                subscription.at = last.or(subscription.at);
                let at = last.map(|last| Position { offset: last.offset + 1, ..last });
                let topic = self.subscribers.topic(subscription.topic).cloned();
                let name = topic.as_ref().map_or("", |it| it.name());
                self.reply(slot, |out| reply::gap(out, name, at));
            } else if let Some(next) = held.waiting.pop_front() {
                held.waiting_bytes = held
                    .waiting_bytes
                    .saturating_sub(next.frames.encoded(Dialect::V1).frame().len());
                if subscription.is_news(&next) {
                    subscription.hold_next(next);
                }
            } else {
                subscription.state = State::Live;
                self.subscribers.set_live(subscription.topic, subscription.place);
                return;
            }
        }
    }

    /// Sends one publication, whatever waits; the caller sees to that nothing does.
    fn send_publication(&mut self, slot: usize, publication: &Publication) -> Sent {
        let seconds = self.now.saturating_sub(publication.published_at).as_secs_f64();
        self.counts.delivered(seconds, 1);
        let bounds = self.settings.bounds;
        let Some(connection) = self.connections.get_mut(slot) else { return Sent::Done };
        match super::deliver::deflated(connection, publication, &self.settings, &self.deflater) {
            Some(frame) => connection.send_frame(frame, Some(bounds)),
            None => connection.send(publication.frames.encoded(connection.dialect), bounds),
        }
    }

    /// Ends a subscription; whether there was one.
    pub fn unsubscribe(&mut self, key: ConnectionKey, topic: &Topic) -> bool {
        let Some(id) = self.subscribers.find(topic) else { return false };
        let Some(connection) = self.find(key) else { return false };
        let Some(index) = connection.subscription(id) else { return false };
        let replies = match connection.subscriptions.get_mut(index).map(|it| &mut it.state) {
            Some(State::Held(held)) => std::mem::take(&mut held.replies),
            _ => SmallVec::new(),
        };
        self.remove(key, index);
        // Who did not wait for the answer has it all the same, before the next one.
        for id in replies {
            self.reply(key.slot(), |out| {
                reply::subscribed(out, id.as_deref(), topic.name(), None, None);
            });
        }
        true
    }

    /// Ends all subscriptions of a connection.
    pub fn unsubscribe_all(&mut self, key: ConnectionKey) {
        while let Some(last) = self.find(key).and_then(|it| it.subscriptions.len().checked_sub(1)) {
            self.remove(key, last);
        }
    }

    fn remove(&mut self, key: ConnectionKey, index: usize) {
        let Some(connection) = self.connections.get_mut(key.slot()).filter(|it| it.key == key)
        else {
            return;
        };
        if index >= connection.subscriptions.len() {
            return;
        }
        let gone = connection.subscriptions.swap_remove(index);
        if let Some(moved) = connection.subscriptions.get(index) {
            #[expect(clippy::cast_possible_truncation, reason = "the limit is far below 2^32")]
            self.subscribers.reindex(moved.topic, moved.place, index as u32);
        }
        let topic = self.subscribers.topic(gone.topic).cloned();
        let (moved, emptied) = self.subscribers.remove(gone.topic, gone.place);
        if let Some(Moved { subscriber, place }) = moved
            && let Some(it) = self
                .connections
                .get_mut(subscriber.slot())
                .and_then(|it| it.subscriptions.get_mut(subscriber.index as usize))
        {
            it.place = place;
        }
        let Some(topic) = topic else { return };
        if !topic.is_reserved() {
            self.counts.sizes.subscriptions -= 1;
            if self.settings.presence(&topic).is_some() {
                let name = self.shared.names.name(key);
                self.shared.to_home(&topic, Message::Leave(topic.clone(), name));
            }
        }
        if let Some(topic) = emptied {
            self.shared.to_home(&topic, Message::Detach(topic.clone(), self.index));
        }
    }
}

impl Subscription {
    fn hold_next(&mut self, next: Arc<Publication>) {
        if let State::Held(held) = &mut self.state {
            held.replay.push_back(next);
        }
    }
}

impl Held {
    /// Keeps what is published while a replay runs; too much of it becomes a gap.
    pub fn hold(&mut self, run: &[Arc<Publication>], bounds: Bounds) {
        for publication in run {
            let bytes = publication.frames.encoded(Dialect::V1).frame().len();
            let is_full = self.waiting.len() >= bounds.messages_max
                || self.waiting_bytes.saturating_add(bytes) > bounds.bytes_max;
            if is_full && let Some(last) = self.waiting.back() {
                self.loss = Some(Loss(last.position));
                self.waiting.clear();
                self.waiting_bytes = 0;
            }
            self.waiting.push_back(Arc::clone(publication));
            self.waiting_bytes += bytes;
        }
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
