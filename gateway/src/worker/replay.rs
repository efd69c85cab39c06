//! The seam between what was published and what is published now.
//!
//! The order is always the same: the topic's home is asked, what is published meanwhile is held, the
//! reply goes out, then what was missed as the socket drains, then what was held above the last
//! offset. What is too much to hold becomes a `gap`, never a silent loss.

use std::sync::Arc;

use super::{
    connection::{Held, Loss, Sent, Stage, State, Subscription},
    key::ConnectionKey,
    life::Worker,
    message::SubscriptionKey,
};
use crate::{
    broker::{Attached, ClientPosition, Position, Publication},
    hub::outbox::Bounds,
    protocol::{Dialect, reply, topic::Topic},
};

impl Worker {
    /// A topic's home has answered: the reply, what was missed, then what came meanwhile.
    pub fn attached(&mut self, subscription: &SubscriptionKey, attached: Attached) {
        let SubscriptionKey { topic, connection: key, ticket } = subscription;
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
