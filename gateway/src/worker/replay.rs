//! The seam between what was published and what is published now.
//!
//! The order is always the same: the topic's home is asked, the reply goes out, then what was missed,
//! part by part as the socket drains, and with the last part what is published from then on, which is
//! held meanwhile. What is too much to hold is asked for again; where the history has let it go, or
//! never had it, it becomes a `gap`, never a silent loss. So a client that reads nothing holds one part.

use std::sync::Arc;

use super::{
    connection::{Held, More, Sent, Stage, State, Subscription},
    key::ConnectionKey,
    life::Worker,
    message::{Message, SubscriptionKey},
};
use crate::{
    broker::{Attached, ClientPosition, HistoryError, HistoryPage, Position, Publication},
    hub::outbox::Bounds,
    protocol::{Dialect, reply, topic::Topic},
};

/// How long to wait before a part of a replay is asked for again that the broker did not give.
const REPLAY_AGAIN_MS: u64 = 1_000;

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
        let Attached { position, recovered, missed, more } = attached;
        subscription.at = position;
        held.is_attached = true;
        held.replay = missed.into();
        held.more = if more { More::Yes } else { More::No };
        let replies = std::mem::take(&mut held.replies);
        if std::mem::take(&mut held.opens) {
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
            } else if held.is_lossy {
                held.is_lossy = false;
                let topic = self.subscribers.topic(subscription.topic).cloned();
                let name = topic.as_ref().map_or("", |it| it.name());
                self.reply(slot, |out| reply::gap(out, name, None));
            } else if held.more != More::No {
                return self.resume(slot, index);
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

    /// Asks the home for the next part of a replay, once.
    fn resume(&mut self, slot: usize, index: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let key = connection.key;
        let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
        let State::Held(held) = &mut subscription.state else { return };
        let Some(topic) = self.subscribers.topic(subscription.topic).cloned() else { return };
        let (More::Yes, Some(at)) = (held.more, subscription.at) else { return };
        held.more = More::Asked;
        let ticket = held.ticket;
        let subscription = SubscriptionKey { topic: topic.clone(), connection: key, ticket };
        // Where it is lost, everything that was asked for is asked for again.
        self.shared.to_home(&topic, Message::Resume(subscription, at));
    }

    /// The home has given the next part of a replay.
    pub fn resumed(
        &mut self,
        subscription: &SubscriptionKey,
        page: Result<HistoryPage, HistoryError>,
    ) {
        let SubscriptionKey { topic, connection: key, ticket } = subscription;
        let slot = key.slot();
        let Some(id) = self.subscribers.find(topic) else { return };
        let Some(connection) = self.connections.get_mut(slot).filter(|it| it.key == *key) else {
            return;
        };
        let Some(index) = connection.subscription(id) else { return };
        let Some(subscription) = connection.subscriptions.get_mut(index) else { return };
        let State::Held(held) = &mut subscription.state else { return };
        if held.ticket != *ticket || held.more != More::Asked {
            return;
        }
        match page {
            Ok(page) => {
                held.more = if page.more { More::Yes } else { More::No };
                // Where it was asked for twice, it came twice.
                let at = subscription.at;
                let is_new = |position: Position| {
                    at.is_none_or(|at| at.epoch != position.epoch || at.offset < position.offset)
                };
                held.replay = page.messages.into();
                held.replay.retain(|it| it.position.is_none_or(is_new));
                if let Some(gap) = page.gap.filter(|gap| is_new(*gap)) {
                    // The history has let go of what comes before this.
                    subscription.at = Some(gap);
                    let at = Position { offset: gap.offset + 1, ..gap };
                    self.reply(slot, |out| reply::gap(out, topic.name(), Some(at)));
                }
            }
            // The broker does not answer: it is asked again when it is back.
            Err(HistoryError::Unavailable) => {
                self.replays_again_ms = self.now_ms() + REPLAY_AGAIN_MS;
                return;
            }
            // It was switched off or began anew, which everybody is told by itself.
            Err(HistoryError::EpochChanged | HistoryError::NoHistory) => held.more = More::No,
        }
        self.replay(slot, index);
    }

    /// Asks once more for the parts whose questions or answers may have been lost.
    pub fn resume_again(&mut self) {
        for slot in self.slots() {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            for subscription in &mut connection.subscriptions {
                if let State::Held(held) = &mut subscription.state
                    && held.more == More::Asked
                {
                    held.more = More::Yes;
                }
            }
            self.go_on(slot);
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
    /// Forgets what is of another life of the topic.
    pub fn begin_anew(&mut self) {
        self.replay.clear();
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.more = More::No;
        self.is_lossy = false;
    }

    /// Forgets what came meanwhile, and asks for it instead.
    pub fn ask_again(&mut self) {
        if self.is_attached && self.more == More::No {
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.more = More::Yes;
        }
    }

    /// Keeps what is published while the last part of a replay runs. What is too much to keep is
    /// asked for again where it is stored.
    pub fn hold(&mut self, run: &[Arc<Publication>], bounds: Bounds) {
        // Before the home has answered, and while it has more, what is published comes with that.
        if !self.is_attached || self.more != More::No {
            return;
        }
        for publication in run {
            let bytes = publication.frames.encoded(Dialect::V1).frame().len();
            let is_full = self.waiting.len() >= bounds.messages_max
                || self.waiting_bytes.saturating_add(bytes) > bounds.bytes_max;
            if is_full {
                self.waiting.clear();
                self.waiting_bytes = 0;
                if publication.position.is_some() {
                    self.more = More::Yes;
                    return;
                }
                self.is_lossy = true;
            }
            self.waiting.push_back(Arc::clone(publication));
            self.waiting_bytes += bytes;
        }
    }
}
