//! What a worker does with each envelope of a client.

use std::sync::Arc;

use headgate_crds::v1alpha1::{AuthMode, PresenceMode};

use super::{
    message::{Asker, Message, Publisher},
    state::{Worker, unix_now},
};
use crate::{
    auth::{identity::Grants, token::TokenError},
    broker::{memory::{Key, Publish}, publication::ConnectionKey},
    protocol::{
        close::CloseReason,
        data,
        error::{ClientError, ErrorCode},
        reply,
        request::{Envelope, Malformed, Request, envelopes},
        topic::Topic,
    },
    session::{pace::Kind, rights},
};

impl Worker {
    /// Does what the envelopes of one frame ask for.
    pub fn requests(&mut self, key: ConnectionKey, text: &str) {
        for envelope in envelopes(text) {
            if self.find(key).is_none_or(|it| it.closing.is_some()) {
                return;
            }
            match envelope {
                Err(Malformed) => self.bad(key, None, &ErrorCode::BadRequest.into()),
                Ok(Envelope { id, request: Err(error) }) => self.bad(key, id, &error),
                Ok(Envelope { id, request: Ok(request) }) => {
                    if let Err(error) = self.request(key, id, request) {
                        self.error(key.slot(), id, &error);
                    }
                }
            }
        }
    }

    /// An envelope that could not be understood.
    fn bad(&mut self, key: ConnectionKey, id: Option<&str>, error: &ClientError) {
        let now_ms = self.now_ms();
        self.error(key.slot(), id, error);
        if self.find(key).is_some_and(|it| it.pace.bad(now_ms)) {
            self.close(key.slot(), CloseReason::BadRequests);
        }
    }

    /// Counts a control frame against the message rate; whether it may be answered.
    pub fn paced(&mut self, key: ConnectionKey) -> bool {
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        let Some(connection) = self.find(key) else { return false };
        if connection.is_echo {
            return true;
        }
        match connection.pace.request(now_ms, Kind::Message, &settings.spec.limits) {
            Ok(()) => true,
            Err(over) => {
                if let Some(reason) = over.close() {
                    self.close(key.slot(), reason);
                }
                false
            }
        }
    }

    fn request(&mut self, key: ConnectionKey, id: Option<&str>, request: Request<'_>) -> Result<(), ClientError> {
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        self.shared.metrics.received.with_label_values(&[request.label()]).inc();
        let Some(connection) = self.find(key) else { return Ok(()) };
        let kind = match request {
            Request::Subscribe { .. } | Request::Unsubscribe { .. } => Kind::Subscription,
            _ => Kind::Message,
        };
        if let Err(over) = connection.pace.request(now_ms, kind, &settings.spec.limits) {
            if let Some(reason) = over.close() {
                self.close(key.slot(), reason);
                return Ok(());
            }
            return Err(ErrorCode::RateLimited.into());
        }
        if !connection.is_authenticated && !matches!(request, Request::Ping | Request::Authenticate { .. }) {
            return Err(ErrorCode::Forbidden.into());
        }
        let identity = connection.identity.clone();
        let user = identity.user.as_deref();
        let named = |name: &str| Topic::named_by(name, user).map_err(|_| ErrorCode::ChannelInvalid);
        let channel = |name: &str| Topic::channel(name).map_err(|_| ErrorCode::ChannelInvalid);
        let boxed = id.map(Box::from);
        match request {
            Request::Ping => self.reply(key.slot(), |out| reply::pong(out, id)),
            Request::Authenticate { token } => return self.authenticate(key, id, &token),
            Request::Subscribe { channel: name, recover } => {
                let topic = channel(&name)?;
                self.may_subscribe(key, &topic)?;
                self.subscribe(key, &topic, recover, Some(boxed));
            }
            Request::Unsubscribe { channel: name } => {
                let topic = channel(&name)?;
                if !self.unsubscribe(key, &topic) {
                    return Err(ErrorCode::NotSubscribed.into());
                }
                self.reply(key.slot(), |out| reply::unsubscribed(out, id, topic.name()));
            }
            Request::Message { channel: name, data: json, key: retry, echo } => {
                let topic = channel(&name)?;
                if !rights::may_publish(settings.rule(topic.name()), &identity, topic.name()) {
                    return Err(ErrorCode::Forbidden.into());
                }
                let data = data::compact(json).into_owned().into();
                let retry = retry.map(|it| Key { user: identity.user.clone(), key: it.as_ref().into() });
                let publish = Publish { topic: topic.clone(), data, user: identity.user.clone(), key: retry };
                let publisher = boxed.map_or(Publisher::Nobody, |id| Publisher::Client(key, id));
                let except = (!echo).then_some(key);
                let message = Message::Publish { publish, except, publisher };
                if !self.shared.to_home(&topic, message) {
                    return Err(ErrorCode::Unavailable.into());
                }
            }
            Request::History { channel: name, since, limit } => {
                let topic = named(&name)?;
                if settings.retention(&topic).is_none() {
                    return Err(ErrorCode::Forbidden.into());
                }
                self.may_read(key, &topic, &identity.grants.history)?;
                let asker = Asker::Client(key, boxed);
                self.shared.to_home(&topic, Message::History { topic: topic.clone(), since, limit, asker });
            }
            Request::Presence { channel: name } => {
                let topic = channel(&name)?;
                if settings.presence(&topic) == PresenceMode::Disabled {
                    return Err(ErrorCode::Forbidden.into());
                }
                self.may_read(key, &topic, &identity.grants.presence)?;
                let asker = Asker::Client(key, boxed);
                self.shared.to_home(&topic, Message::Presence { topic: topic.clone(), asker });
            }
        }
        Ok(())
    }

    fn is_subscribed(&self, key: ConnectionKey, topic: &Topic) -> bool {
        let id = self.subscribers.find(topic);
        id.is_some_and(|id| self.connections.get(key.slot()).is_some_and(|it| it.key == key && it.subscription(id).is_some()))
    }

    /// Whether a subscription may begin; one that is there begins anew without a replay.
    fn may_subscribe(&mut self, key: ConnectionKey, topic: &Topic) -> Result<(), ClientError> {
        let settings = Arc::clone(&self.settings);
        if self.is_subscribed(key, topic) {
            self.unsubscribe(key, topic);
            return Ok(());
        }
        let Some(connection) = self.find(key) else { return Ok(()) };
        if !rights::may_subscribe(settings.rule(topic.name()), &connection.identity, topic.name()) {
            return Err(ErrorCode::Forbidden.into());
        }
        if connection.subscriptions.len() >= settings.spec.limits.channels_per_connection as usize {
            return Err(ErrorCode::TooManyChannels.into());
        }
        Ok(())
    }

    /// Reading a channel takes a live subscription or the grant of that name.
    fn may_read(&self, key: ConnectionKey, topic: &Topic, granted: &[headgate_crds::value::ChannelPattern]) -> Result<(), ClientError> {
        if self.is_subscribed(key, topic) || Grants::any(granted, topic.name()) {
            Ok(())
        } else {
            Err(ErrorCode::NotSubscribed.into())
        }
    }

    /// The first token of a connection, or a fresh one.
    fn authenticate(&mut self, key: ConnectionKey, id: Option<&str>, token: &str) -> Result<(), ClientError> {
        let settings = Arc::clone(&self.settings);
        let invalid = || ClientError::from(ErrorCode::TokenInvalid);
        if settings.spec.auth.mode == AuthMode::Disabled {
            return Err(ErrorCode::Forbidden.into());
        }
        let now = unix_now();
        let verified = settings.verifier.verify(token, now);
        let is_revoked = verified.as_ref().is_ok_and(|it| self.shared.revocations.load().contain(it, now));
        let Some(connection) = self.find(key) else { return Ok(()) };
        let is_first = !connection.is_authenticated;
        let identity = match verified {
            Ok(identity) if !is_revoked => identity,
            Err(TokenError::Expired) if is_first => {
                self.close(key.slot(), CloseReason::TokenExpired);
                return Ok(());
            }
            Err(TokenError::Undecided) if is_first => {
                self.close(key.slot(), CloseReason::Undecided);
                return Ok(());
            }
            _ if is_first => {
                self.close(key.slot(), CloseReason::TokenRefused);
                return Ok(());
            }
            _ => return Err(invalid()),
        };
        if !is_first && identity.user != connection.identity.user {
            return Err(invalid());
        }
        let expires = identity.expires.unwrap_or_default();
        let user = identity.user.clone();
        if is_first && let Some(user) = &user {
            let max = settings.spec.limits.connections_per_user;
            let Ok(place) = self.shared.load.user(user, max) else {
                self.close(key.slot(), CloseReason::UserConnections);
                return Ok(());
            };
            if let Some(connection) = self.find(key) {
                connection.places.push(place);
            }
        }
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return Ok(()) };
        connection.identity = identity;
        connection.is_authenticated = true;
        connection.heartbeat.authenticate_by_ms = u64::MAX;
        connection.heartbeat.expires_ms = now_ms + expires.saturating_sub(now).saturating_mul(1_000);
        let expires_ms = connection.heartbeat.expires_ms;
        self.arm(key.slot(), expires_ms);
        self.reply(key.slot(), |out| reply::authenticated(out, id, user.as_deref(), expires));
        if is_first {
            self.greet(key);
        } else {
            self.check_rights(key);
        }
        Ok(())
    }
}
