//! What the rest of the process asks of a worker.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    connection::{Connection, Stage},
    key::ConnectionKey,
    life::{Broker, Worker},
    message::{ChannelView, Command, ConnectionView, Ending, IsOn, Target},
    shared::unix_now,
    subscribe::Begin,
};
use crate::{
    admission::load::Place,
    auth::{identity::Identity, revocations::Revoked},
    protocol::{
        Dialect,
        close::CloseReason,
        reply::{self, SubscriptionEnd},
        topic::Topic,
    },
};

impl Worker {
    /// Does what a command says. Who has given up waiting has no use for the answer.
    pub fn command(&mut self, command: Command) {
        match command {
            Command::Configure(settings) => self.configure(&settings),
            Command::Drain(period) => self.begin_drain(period),
            Command::Stop => {
                for slot in self.slots() {
                    self.close(slot, CloseReason::GoingAway);
                }
            }
            Command::Disconnect(target, ending, done) => {
                let slots = self.targets(&target);
                for slot in &slots {
                    self.close_with(*slot, ending.reason, ending.frame());
                }
                let _ = done.send(slots.len());
            }
            Command::Send(connection, data, done) => {
                let _ = done.send(self.send_data(connection, &data));
            }
            Command::Subscribe(user, topic, is_on, done) => {
                let _ = done.send(self.subscribe_user(user, &topic, is_on));
            }
            Command::Revoke(revoked, done) => {
                let _ = done.send(self.revoke(&revoked));
            }
            Command::MakeRoom => self.make_room(),
            Command::Connections(done) => {
                let _ = done.send(self.connection_views());
            }
            Command::Channels(done) => {
                let _ = done.send(self.channel_views());
            }
            Command::Expel(done) => {
                let _ = done.send(self.expel());
            }
            Command::Surplus(openings) => {
                let is_meant = |it: &Connection| {
                    it.places.iter().filter_map(Place::opening).any(|it| openings.contains(&it))
                };
                self.close_all(is_meant, CloseReason::UserConnections);
            }
        }
    }

    /// The slots of the connections that are meant and stay.
    fn targets(&self, target: &Target) -> Vec<usize> {
        let stays =
            |slot: &usize| self.connections.get(*slot).is_some_and(|it| it.closing.is_none());
        match target {
            Target::Connection(key) => {
                let found = self.connections.get(key.slot()).filter(|it| it.key == *key);
                found.map(|_| key.slot()).into_iter().filter(stays).collect()
            }
            Target::User(user) => {
                let id = self.subscribers.find(&Topic::user(user));
                let subscribers = id.map_or(&[][..], |id| self.subscribers.of(id));
                subscribers.iter().map(|it| it.slot()).filter(stays).collect()
            }
        }
    }

    fn send_data(&mut self, key: ConnectionKey, data: &Bytes) -> bool {
        let Some(connection) = self.find(key).filter(|it| it.closing.is_none()) else {
            return false;
        };
        // To this client it is a message to the user.
        let channel = (connection.dialect == Dialect::V1).then_some("@user");
        self.reply(key.slot(), |out| {
            reply::message(out, &reply::Message { channel, data, offset: None, user: None });
        });
        true
    }

    fn subscribe_user(&mut self, user: Arc<str>, topic: &Topic, is_on: IsOn) -> usize {
        let slots = self.targets(&Target::User(user));
        let count = slots.len();
        for slot in slots {
            let Some(key) = self.connections.get(slot).map(|it| it.key) else { continue };
            let index = self.subscription(key, topic);
            match (is_on, index) {
                (IsOn::On, None) => self.subscribe(key, topic, Begin::Application),
                (IsOn::On, Some(index)) => self.grant(key, index),
                (IsOn::Off, Some(_)) => {
                    self.unsubscribe(key, topic);
                    self.reply(slot, |out| {
                        reply::subscription_ended(out, topic.name(), SubscriptionEnd::Application);
                    });
                }
                (IsOn::Off, None) => {}
            }
        }
        count
    }

    /// The application wants a subscription that is there.
    fn grant(&mut self, key: ConnectionKey, index: usize) {
        if let Some(it) = self.find(key).and_then(|it| it.subscriptions.get_mut(index)) {
            it.is_granted = true;
        }
    }

    fn revoke(&mut self, revoked: &Revoked) -> usize {
        let is_meant = |identity: &Identity| match revoked {
            Revoked::Jti(jti) => identity.jti.as_deref() == Some(jti),
            Revoked::User(user) => identity.user.as_deref() == Some(user),
        };
        self.close_all(|it| is_meant(&it.identity), CloseReason::Revoked)
    }

    /// Closes whoever is revoked by now.
    fn expel(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let revocations = shared.revocations.read();
        let now = unix_now();
        self.close_all(|it| revocations.contain(&it.identity, now), CloseReason::Revoked)
    }

    /// Closes those who are meant and stay; how many.
    fn close_all(&mut self, is_meant: impl Fn(&Connection) -> bool, reason: CloseReason) -> usize {
        let stay = self.connections.iter().filter(|(_, it)| it.closing.is_none());
        let meant: Vec<_> = stay.filter(|(_, it)| is_meant(it)).map(|(slot, _)| slot).collect();
        for slot in &meant {
            self.close(*slot, reason);
        }
        meant.len()
    }

    fn connection_views(&self) -> Vec<ConnectionView> {
        let shown = self
            .connections
            .iter()
            .map(|(_, it)| it)
            .filter(|it| it.closing.is_none() && it.stage != Stage::Echo);
        shown
            .map(|it| {
                let topics =
                    it.subscriptions.iter().filter_map(|it| self.subscribers.topic(it.topic));
                ConnectionView {
                    name: self.shared.names.name(it.key),
                    user: it.identity.user.clone(),
                    subscriptions: topics.filter(|topic| !topic.is_reserved()).count(),
                    age: std::time::Duration::from_millis(
                        self.now_ms().saturating_sub(it.opened_ms),
                    ),
                }
            })
            .collect()
    }

    /// What is subscribed here, and what has history here.
    fn channel_views(&self) -> Vec<ChannelView> {
        let subscribed = self.subscribers.iter().map(|(topic, subscribers)| ChannelView {
            topic: topic.clone(),
            subscribers,
            position: None,
        });
        let kept = match &self.broker {
            Broker::Memory(partition) => {
                partition.topics().map(|it| (it.topic.clone(), it.position)).collect::<Vec<_>>()
            }
            Broker::Nats(seats) => {
                seats.positions().map(|(topic, position)| (topic.clone(), position)).collect()
            }
        };
        let kept = kept.into_iter().filter(|(_, position)| position.is_some());
        let kept = kept.map(|(topic, position)| ChannelView { topic, subscribers: 0, position });
        subscribed.chain(kept).filter(|it| !it.topic.is_reserved()).collect()
    }
}

impl Ending {
    /// The end with a code of the application's own, or 4500.
    pub fn by_application(code: Option<u16>, words: Option<Arc<str>>) -> Self {
        let reason = code.map_or(CloseReason::Disconnected, CloseReason::Application);
        Self { reason, words }
    }
}
