//! The opening of a session: what is subscribed from the start, then `welcome`.
//!
//! Nothing that a client sends is read before the homes of its first topics have answered, so
//! `welcome` is the first envelope and names where each of them stands.

use smallvec::{SmallVec, smallvec};

use super::{
    connection::Stage, key::ConnectionKey, life::Worker, shared::unix_now, subscribe::Begin,
};
use crate::{
    broker::Position,
    protocol::{Dialect, encoded::Encoded, reply, topic::Topic},
    session::rights,
};

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
    pub fn opened_one(&mut self, key: ConnectionKey) {
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
}
