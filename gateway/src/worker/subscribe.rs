//! How a subscription begins and how it ends.
//!
//! It begins with a question to the topic's home, and holds what is published until the home has
//! answered; from there on it is `replay`'s. Connection and topic each know where the other one
//! keeps the subscription, so that neither has to search.

use std::collections::VecDeque;

use smallvec::{SmallVec, smallvec};

use super::{
    connection::{Connection, Held, More, State, Subscription},
    key::ConnectionKey,
    life::Worker,
    message::{Attach, Message, SubscriptionKey},
};
use crate::{
    broker::{Attached, ClientPosition, Member, TopicRules},
    hub::subscribers::{Moved, Subscriber},
    protocol::{error::ErrorCode, reply, topic::Topic},
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
    /// Subscribes a connection that is not subscribed yet.
    pub fn subscribe(&mut self, key: ConnectionKey, topic: &Topic, begin: Begin) {
        let is_granted = matches!(begin, Begin::Application);
        let opens = matches!(begin, Begin::Opening);
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
            opens,
            more: More::No,
            replay: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_lossy: false,
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
        if self.subscribers.is_attached(id) && rules == TopicRules::default() {
            // What is published comes here already, and there is nothing else to ask for.
            let subscription =
                SubscriptionKey { topic: topic.clone(), connection: key, ticket: self.ticket };
            self.attached(&subscription, Attached::at(None, recover.map(|_| false)));
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
        let (ticket, recover, opens) = (held.ticket, held.recover, held.opens);
        let member = self.settings.presence(&topic).map(|mode| (self.member(connection), mode));
        let subscription = SubscriptionKey { topic: topic.clone(), connection: key, ticket };
        let attach = Attach { subscription, recover, opens, member };
        if !self.shared.to_home(&topic, Message::Attach(attach)) {
            self.unattached(key, index);
        }
    }

    /// A home says that a subscription cannot begin now.
    pub fn unattached_from_home(&mut self, subscription: &SubscriptionKey) {
        let SubscriptionKey { topic, connection: key, ticket } = subscription;
        let Some(index) = self.subscription(*key, topic) else { return };
        let Some(it) = self.find(*key).and_then(|it| it.subscriptions.get(index)) else { return };
        let State::Held(held) = &it.state else { return };
        if held.ticket != *ticket || held.is_attached {
            return;
        }
        if !held.opens {
            return self.unattached(*key, index);
        }
        // The session opens all the same; a `gap` says where the topic stands, as soon as that is known.
        self.attached(subscription, Attached::at(None, None));
        if let Some(id) = self.subscribers.find(topic) {
            // The next one asks.
            self.subscribers.set_detached(id);
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
        let opens = matches!(&gone.state, State::Held(held) if held.opens);
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
        if let Some(topic) = topic.filter(|it| !it.is_reserved()) {
            self.counts.sizes.subscriptions -= 1;
            if self.settings.presence(&topic).is_some() {
                let name = self.shared.names.name(key);
                self.shared.to_home(&topic, Message::Leave(topic.clone(), name));
            }
        }
        if let Some(topic) = emptied {
            self.shared.to_home(&topic, Message::Detach(topic.clone(), self.index));
        }
        if opens {
            // Nobody answers for it any more.
            self.opened_one(key);
        }
    }
}
