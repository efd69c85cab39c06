//! What a live change of the configuration does to those who are here.

use std::sync::Arc;

use headgate_crds::v1alpha1::AuthMode;

use super::{
    connection::Stage,
    key::ConnectionKey,
    life::{Broker, Worker},
    message::Message,
    settings::Settings,
};
use crate::{
    protocol::{
        reply::{self, SubscriptionEnd},
        topic::Topic,
    },
    session::rights,
};

/// Those whom nobody vouches for any more go within it, so that they do not come back at once.
const SPREAD_MS: u64 = 60_000;

impl Worker {
    /// Takes a configuration into use.
    pub fn configure(&mut self, settings: &Arc<Settings>) {
        let old = std::mem::replace(&mut self.settings, Arc::clone(settings));
        let resets = match &mut self.broker {
            Broker::Memory(partition) => {
                partition.reconfigure(self.now, |topic| settings.topic_rules(topic))
            }
            Broker::Nats(_) => self.seat_rules(),
        };
        for reset in resets {
            self.tell_workers(reset.to, || Message::Reset(reset.clone()));
        }
        let now_ms = self.now_ms();
        let are_rules_new = old.config.rules != settings.config.rules;
        for slot in self.slots() {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let key = connection.key;
            // Periods and deadlines may be others now.
            connection.armed_ms = 0;
            self.arm(slot, now_ms);
            self.check_identity(key);
            if are_rules_new {
                self.check_rights(key);
                self.join_anew(key, &old);
            }
        }
    }

    /// A session lives as long as somebody vouches for it.
    fn check_identity(&mut self, key: ConnectionKey) {
        let settings = Arc::clone(&self.settings);
        let now_ms = self.now_ms();
        let within_ms = self.rng.u64(0..SPREAD_MS);
        let shared = Arc::clone(&self.shared);
        let Some(connection) = self.find(key) else { return };
        if connection.closing.is_some()
            || shared.house_of(connection.identity.key).is_some()
            || matches!(connection.stage, Stage::Echo | Stage::Unauthenticated)
        {
            return;
        }
        let is_vouched = match connection.identity.key {
            Some(key) => settings.verifier.vouches(key),
            // Nobody vouched for the anonymous, which is enough unless a token is required.
            None => settings.spec().auth.mode != AuthMode::Required,
        };
        let has_no_need = settings.spec().auth.mode == AuthMode::Disabled;
        if !is_vouched && !has_no_need {
            let heartbeat = &mut connection.heartbeat;
            heartbeat.expires_ms = heartbeat.expires_ms.min(now_ms + within_ms);
        }
    }

    /// Ends the subscriptions that are no longer allowed.
    pub fn check_rights(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else {
            return;
        };
        let is_allowed = |topic: &Topic| {
            let rule = self.settings.rule(topic.name());
            rights::may_subscribe(rule, &connection.identity, topic.name())
        };
        let forbidden: Vec<Topic> = connection
            .subscriptions
            .iter()
            .filter(|it| !it.is_granted)
            .filter_map(|it| self.subscribers.topic(it.topic))
            .filter(|topic| !topic.is_reserved() && !is_allowed(topic))
            .cloned()
            .collect();
        for topic in forbidden {
            self.unsubscribe(key, &topic);
            self.reply(key.slot(), |out| {
                reply::subscription_ended(out, topic.name(), SubscriptionEnd::Forbidden);
            });
        }
    }

    /// Says who is here in the channels whose presence was switched on.
    fn join_anew(&self, key: ConnectionKey, old: &Settings) {
        self.join(key, |topic| old.presence(topic).is_none());
    }

    /// Says who is here now, where somebody else was known to be.
    pub fn join_again(&self, key: ConnectionKey) {
        self.join(key, |_| true);
    }

    fn join(&self, key: ConnectionKey, is_meant: impl Fn(&Topic) -> bool) {
        let Some(connection) = self.connections.get(key.slot()).filter(|it| it.key == key) else {
            return;
        };
        let joins: Vec<_> = connection
            .subscriptions
            .iter()
            .filter_map(|it| self.subscribers.topic(it.topic))
            .filter(|topic| is_meant(topic))
            .filter_map(|topic| Some((topic.clone(), self.settings.presence(topic)?)))
            .map(|(topic, mode)| (topic, self.member(connection), mode))
            .collect();
        for (topic, member, mode) in joins {
            self.shared.to_home(&topic.clone(), Message::Join(topic, member, mode));
        }
    }
}
