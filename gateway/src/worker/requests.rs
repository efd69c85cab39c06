//! What a worker does with each envelope of a client.

use std::{borrow::Cow, sync::Arc};

use headgate_crds::{
    v1alpha1::{AuthMode, Permission},
    value::ChannelPattern,
};

use super::{
    connection::Stage,
    key::ConnectionKey,
    life::Worker,
    message::{Asker, HistoryQuestion, Message},
    subscribe::{Begin, unix_now},
};
use crate::{
    auth::{
        identity::{Grants, Identity},
        token::TokenError,
    },
    broker::{ClientPosition, Key, KeyScope, Publish},
    protocol::{
        channel::{ChannelInvalid, ChannelName},
        close::CloseReason,
        data,
        error::ErrorCode,
        reply,
        request::{Envelope, Request, RequestError, envelopes},
        topic::Topic,
    },
    session::{pace::Kind, rights},
    telemetry::metrics::Received,
};

/// Why a request is not done.
struct Failed {
    code: ErrorCode,
    words: Cow<'static, str>,
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self { code, words: code.words().into() }
    }
}

impl From<ChannelInvalid> for Failed {
    fn from(invalid: ChannelInvalid) -> Self {
        Self { code: ErrorCode::ChannelInvalid, words: invalid.to_string().into() }
    }
}

impl Worker {
    /// Does what the envelopes of one frame ask for.
    pub fn requests(&mut self, key: ConnectionKey, text: &str) {
        let began = self.shared.now();
        let mut read = 0;
        for Envelope { id, request } in envelopes(text) {
            if self.find(key).is_none_or(|it| it.closing.is_some()) {
                break;
            }
            read += 1;
            match request {
                Err(error) => self.misunderstood(key, id, &error),
                Ok(request) => {
                    if let Err(Failed { code, words }) = self.request(key, id, request) {
                        self.error(key.slot(), id, code, &words);
                    }
                }
            }
        }
        let took = self.shared.now().saturating_sub(began).as_secs_f64();
        self.counts.handling_seconds.observe(took / read.max(1) as f64, read);
    }

    /// An envelope that could not be understood.
    fn misunderstood(&mut self, key: ConnectionKey, id: Option<&str>, error: &RequestError<'_>) {
        let now_ms = self.now_ms();
        self.counts.received(match error {
            RequestError::BadRequest => Received::Invalid,
            RequestError::UnknownType(_) => Received::Unknown,
        });
        self.counts.error(error.code());
        self.reply(key.slot(), |out| reply::request_error(out, id, error));
        if self.find(key).is_some_and(|it| it.pace.bad(now_ms)) {
            self.close(key.slot(), CloseReason::BadRequests);
        }
    }

    /// Counts a control frame against the message rate; whether it may be answered.
    pub fn paced(&mut self, key: ConnectionKey) -> bool {
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        let Some(connection) = self.find(key) else { return false };
        if connection.is_echo() {
            return true;
        }
        match connection.pace.request(now_ms, Kind::Message, &settings.spec().limits) {
            Ok(()) => true,
            Err(over) => {
                if let Some(reason) = over.close() {
                    self.close(key.slot(), reason);
                }
                false
            }
        }
    }

    fn request(
        &mut self,
        key: ConnectionKey,
        id: Option<&str>,
        request: Request<'_>,
    ) -> Result<(), Failed> {
        let now_ms = self.now_ms();
        let settings = Arc::clone(&self.settings);
        self.counts.received(received(&request));
        let Some(connection) = self.find(key) else { return Ok(()) };
        let kind = match request {
            Request::Subscribe { .. } | Request::Unsubscribe { .. } => Kind::Subscription,
            _ => Kind::Message,
        };
        if let Err(over) = connection.pace.request(now_ms, kind, &settings.spec().limits) {
            if let Some(reason) = over.close() {
                self.close(key.slot(), reason);
                return Ok(());
            }
            return Err(ErrorCode::RateLimited.into());
        }
        let is_open_to_all = matches!(request, Request::Ping | Request::Authenticate { .. });
        if !connection.is_authenticated() && !is_open_to_all {
            return Err(ErrorCode::Forbidden.into());
        }
        let boxed = || id.map(Box::from);
        match request {
            Request::Ping => self.reply(key.slot(), |out| reply::pong(out, id)),
            Request::Authenticate { token } => return self.authenticate(key, id, &token.0),
            Request::Subscribe { channel, recover } => {
                return self.client_subscribes(key, &channel, recover, boxed());
            }
            Request::Unsubscribe { channel } => {
                let topic = Topic::channel(ChannelName::parse(&channel)?);
                if !self.unsubscribe(key, &topic) {
                    return Err(ErrorCode::NotSubscribed.into());
                }
                self.reply(key.slot(), |out| reply::unsubscribed(out, id, topic.name()));
            }
            Request::Message { channel, data, key: retry, echo } => {
                let retry = retry.as_deref();
                return self.client_publishes(key, &channel, data, retry, echo, boxed());
            }
            Request::History { channel, since, limit } => {
                let identity = connection.identity.clone();
                let topic = Topic::named(&channel, identity.user.as_deref())?;
                if settings.history(&topic).is_none() {
                    return Err(ErrorCode::Forbidden.into());
                }
                self.may_read(key, &topic, &identity.grants.history)?;
                let question = HistoryQuestion { topic: topic.clone(), since, limit };
                let asker = Asker::Client(key, boxed());
                self.ask(&topic, Message::History(question, asker))?;
            }
            Request::Presence { channel } => {
                let identity = connection.identity.clone();
                let topic = Topic::channel(ChannelName::parse(&channel)?);
                if settings.presence(&topic).is_none() {
                    return Err(ErrorCode::Forbidden.into());
                }
                self.may_read(key, &topic, &identity.grants.presence)?;
                let asker = Asker::Client(key, boxed());
                self.ask(&topic, Message::Presence(topic.clone(), asker))?;
            }
        }
        Ok(())
    }

    fn ask(&self, topic: &Topic, message: Message) -> Result<(), Failed> {
        if self.shared.to_home(topic, message) {
            Ok(())
        } else {
            Err(ErrorCode::Unavailable.into())
        }
    }

    fn client_subscribes(
        &mut self,
        key: ConnectionKey,
        channel: &str,
        recover: Option<ClientPosition>,
        id: Option<Box<str>>,
    ) -> Result<(), Failed> {
        let topic = Topic::channel(ChannelName::parse(channel)?);
        let settings = Arc::clone(&self.settings);
        if let Some(index) = self.subscription(key, &topic) {
            self.subscribed_already(key, index, &topic, id, recover);
            return Ok(());
        }
        let Some(connection) = self.find(key) else { return Ok(()) };
        if !rights::may_subscribe(settings.rule(channel), &connection.identity, channel) {
            return Err(ErrorCode::Forbidden.into());
        }
        // `@all` and `@user` do not count.
        let own = 1 + usize::from(connection.identity.user.is_some());
        let most = settings.spec().limits.channels_per_connection as usize;
        if connection.subscriptions.len() >= own + most {
            return Err(ErrorCode::TooManyChannels.into());
        }
        self.subscribe(key, &topic, Begin::Client(id, recover));
        Ok(())
    }

    fn client_publishes(
        &mut self,
        key: ConnectionKey,
        channel: &str,
        json: &str,
        retry: Option<&str>,
        echo: bool,
        id: Option<Box<str>>,
    ) -> Result<(), Failed> {
        let topic = Topic::channel(ChannelName::parse(channel)?);
        let settings = Arc::clone(&self.settings);
        let names = self.shared.names;
        let Some(connection) = self.find(key) else { return Ok(()) };
        let Identity { user, .. } = &connection.identity;
        if !rights::may_publish(settings.rule(channel), &connection.identity, channel) {
            return Err(ErrorCode::Forbidden.into());
        }
        let retry = retry.map(|text| match user {
            Some(user) => Key::new(KeyScope::User(user), text),
            None => Key::new(KeyScope::Connection(&names.name(key)), text),
        });
        let publish = Publish {
            topic: topic.clone(),
            data: data::compact(json).into_owned().into(),
            user: user.clone(),
            key: retry,
            exclude: (!echo).then(|| names.name(key)),
        };
        let asker = if id.is_some() { Asker::Client(key, id) } else { Asker::Nobody };
        self.ask(&topic, Message::Publish(publish, asker))
    }

    /// The index of a connection's subscription to a topic.
    pub fn subscription(&self, key: ConnectionKey, topic: &Topic) -> Option<usize> {
        let id = self.subscribers.find(topic)?;
        self.connections.get(key.slot()).filter(|it| it.key == key)?.subscription(id)
    }

    /// Reading a channel takes a live subscription or the grant of that name.
    fn may_read(
        &self,
        key: ConnectionKey,
        topic: &Topic,
        granted: &[ChannelPattern],
    ) -> Result<(), Failed> {
        if self.subscription(key, topic).is_some() || Grants::any(granted, topic.name()) {
            Ok(())
        } else {
            Err(ErrorCode::NotSubscribed.into())
        }
    }

    /// The first token of a connection, or a fresh one.
    fn authenticate(
        &mut self,
        key: ConnectionKey,
        id: Option<&str>,
        token: &str,
    ) -> Result<(), Failed> {
        let settings = Arc::clone(&self.settings);
        let spec = settings.spec();
        if spec.auth.mode == AuthMode::Disabled {
            return Err(ErrorCode::Forbidden.into());
        }
        let now = unix_now();
        let shared = Arc::clone(&self.shared);
        let now_ms = self.now_ms();
        let Some(connection) = self.find(key) else { return Ok(()) };
        let house = shared.house_of(connection.identity.key);
        let verifier = house.map_or(&*settings.verifier, |house| &house.verifier);
        let verified = shared.asks.verify(verifier, token, now).and_then(|identity| {
            let is_revoked = shared.revocations.read().contain(&identity, now);
            if is_revoked { Err(TokenError::Refused("revoked")) } else { Ok(identity) }
        });
        let is_first = connection.stage == Stage::Unauthenticated;
        // Where anonymous clients may stay, they may still say later who they are.
        let is_anonymous =
            connection.identity.key.is_none() && spec.auth.first_message == Permission::Allow;
        let identity = match verified {
            Ok(identity) => identity,
            Err(error) if is_first => {
                self.close(key.slot(), first_refused(error));
                return Ok(());
            }
            Err(TokenError::Undecided) => return Err(ErrorCode::Unavailable.into()),
            Err(_) => return Err(ErrorCode::TokenInvalid.into()),
        };
        let begins = is_first || is_anonymous;
        if !begins && identity.user != connection.identity.user {
            return Err(ErrorCode::TokenInvalid.into());
        }
        let expires = identity.expires.unwrap_or_default();
        let user = identity.user.clone();
        if begins && let Some(user) = &user {
            let Ok(place) = self.shared.load.user(user, spec.limits.connections_per_user) else {
                self.close(key.slot(), CloseReason::UserConnections);
                return Ok(());
            };
            if let Some(connection) = self.find(key) {
                connection.places.push(place);
            }
        }
        let Some(connection) = self.find(key) else { return Ok(()) };
        connection.identity = identity;
        connection.heartbeat.authenticate_by_ms = u64::MAX;
        connection.heartbeat.expire_in(now_ms, expires.saturating_sub(now));
        let expires_ms = connection.heartbeat.expires_ms;
        if begins {
            connection.stage = Stage::Opening(0);
        }
        self.arm(key.slot(), expires_ms);
        self.reply(key.slot(), |out| reply::authenticated(out, id, user.as_deref(), expires));
        if begins {
            self.greet(key);
        } else {
            self.check_rights(key);
        }
        Ok(())
    }
}

fn first_refused(error: TokenError) -> CloseReason {
    match error {
        TokenError::Expired => CloseReason::TokenExpired,
        TokenError::Undecided => CloseReason::Undecided,
        TokenError::Refused(_) => CloseReason::TokenRefused,
    }
}

fn received(request: &Request<'_>) -> Received {
    match request {
        Request::Ping => Received::Ping,
        Request::Subscribe { .. } => Received::Subscribe,
        Request::Unsubscribe { .. } => Received::Unsubscribe,
        Request::Message { .. } => Received::Message,
        Request::History { .. } => Received::History,
        Request::Presence { .. } => Received::Presence,
        Request::Authenticate { .. } => Received::Authenticate,
    }
}
