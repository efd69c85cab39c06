//! What a worker does with each envelope of a client.

use std::{borrow::Cow, sync::Arc};

use headgate_crds::value::ChannelPattern;

use super::{
    connection::Stage,
    key::ConnectionKey,
    life::Worker,
    message::{Asker, HistoryQuestion, Message},
    subscribe::Begin,
};
use crate::{
    auth::identity::{Grants, Identity},
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
pub struct Failed {
    /// What a program reads.
    pub code: ErrorCode,
    /// What a person reads.
    pub words: Cow<'static, str>,
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
        let mut envelopes = envelopes(text);
        while let Some(connection) = self.find(key).filter(|it| it.closing.is_none()) {
            if matches!(connection.stage, Stage::Opening(_)) {
                // What stands behind a first token waits for the `welcome`.
                connection.unasked =
                    Some(envelopes.rest()).filter(|it| !it.is_empty()).map(Box::from);
                break;
            }
            let Some(Envelope { id, request }) = envelopes.next() else { break };
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
        self.counts.received((&request).into());
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
        let is_behind = self.shared.is_behind();
        let Some(connection) = self.find(key) else { return Ok(()) };
        let Identity { user, .. } = &connection.identity;
        if !rights::may_publish(settings.rule(channel), &connection.identity, channel) {
            return Err(ErrorCode::Forbidden.into());
        }
        if is_behind {
            // What all publish is more than can be handed to those who listen.
            return Err(ErrorCode::Unavailable.into());
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
}
