//! The gateway as its internal port sees it: what the workers, the configuration and the metrics
//! know, in the words of the server API.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use bytes::Bytes;
use headgate_crds::v1alpha1::BrokerKind;
use http::HeaderValue;
use serde_json::value::RawValue;
use tokio::{sync::watch, time::Instant};

use super::{
    drain::Phase,
    fleet::{self, Fleet},
    local::Local,
};
use crate::{
    api::{
        error::ApiError,
        gateway::{self, Disconnect, Gateway, Message, Page, Publish, Revocation, Scope},
        keys::ApiKeys,
        status::{Reason, Status},
        views::{
            Channel, Channels, Connection, Connections, Counted, HistoryPage, Json, Member,
            Presence, Stats,
        },
    },
    broker::{
        self, HistoryError, Key, KeyScope,
        nats::talk::{self, List, Part, Question, Revoked, Subscription, Whom},
    },
    config::{Config, Secret, State, document::Document},
    jwks,
    nats::{self, plane::Plane},
    protocol::{
        Dialect,
        position::{ClientPosition, Position},
        topic::Topic,
    },
    telemetry::{
        log,
        metrics::{Metrics, Scrape},
        trace::Traces,
    },
    worker::{pool::Pool, questions::Unavailable},
};

/// What the internal port asks.
#[derive(Debug)]
pub struct Node {
    /// The manifest of the start.
    pub document: Arc<Document>,
    /// The state of the configuration.
    pub state: watch::Receiver<Arc<State>>,
    /// What runs, once everything that is needed has been there.
    pub running: watch::Receiver<Option<Running>>,
    /// How far the process is.
    pub phase: watch::Receiver<Phase>,
    /// Upgrades refused as full within the last half minute.
    pub full: Arc<AtomicU64>,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What makes spans.
    pub traces: Traces,
    /// What the log says of itself.
    pub log: log::Handle,
    /// When the process began.
    pub began: Instant,
    /// The broker between pods, once it is looked for.
    pub broker: watch::Receiver<Option<nats::Broker>>,
}

/// A gateway that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its workers.
    pub pool: Pool,
    /// Its configuration.
    pub config: watch::Receiver<Arc<Config>>,
    /// Where clients connect.
    pub public: SocketAddr,
    /// The keys of an identity provider.
    pub keys: watch::Receiver<jwks::State>,
    /// The other pods, where there may be some.
    pub plane: Option<Plane>,
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Node {
    fn pool(&self) -> Result<Pool, ApiError> {
        let running = self.running.borrow();
        running.as_ref().map(|it| it.pool.clone()).ok_or_else(ApiError::starting)
    }

    fn config(&self) -> Option<Arc<Config>> {
        self.running.borrow().as_ref().map(|it| it.config.borrow().clone())
    }

    /// A channel that no rule is about is not there.
    fn check_rule(pool: &Pool, channel: &Topic) -> Result<(), ApiError> {
        let settings = pool.shared.settings.load();
        match settings.rule(channel.name()) {
            Some(_) => Ok(()),
            None => Err(ApiError::NoRule(channel.name().to_owned())),
        }
    }

    /// Publishes to one topic, with a span where it is sampled.
    async fn publish_to(
        &self,
        pool: &Pool,
        publish: broker::Publish,
        traceparent: Option<&HeaderValue>,
    ) -> Result<Option<Position>, ApiError> {
        let traceparent = traceparent.map(HeaderValue::as_bytes);
        let mut span = self.traces.publish(traceparent, SystemTime::now());
        if let Some(span) = &mut span {
            span.set("messaging.system", "headgate");
            span.set(
                "messaging.message.body.size",
                i64::try_from(publish.data.len()).unwrap_or(i64::MAX),
            );
        }
        let published = pool.publish(publish).await;
        if let Some(span) = span {
            let status = published.map(drop).map_err(|error| error.to_string().into());
            self.traces.end(*span, status, SystemTime::now());
        }
        Ok(published?)
    }

    async fn send(&self, topic: Topic, message: Message) -> Result<Option<Position>, ApiError> {
        let pool = self.pool()?;
        let Message { data, traceparent } = message;
        let publish = broker::Publish { topic, data, user: None, key: None, exclude: None };
        self.publish_to(&pool, publish, traceparent.as_ref()).await
    }

    fn fleet(&self) -> Result<Fleet, ApiError> {
        let running = self.running.borrow();
        let Running { pool, plane, .. } = running.as_ref().ok_or_else(ApiError::starting)?;
        let local = Local { pool: pool.clone(), metrics: Arc::clone(&self.metrics) };
        Ok(Fleet { local, plane: plane.clone() })
    }
}

impl Gateway for Node {
    async fn publish(&self, publish: Publish) -> Result<Vec<Option<Position>>, ApiError> {
        let pool = self.pool()?;
        let Publish { channels, data, key, exclude, traceparent } = publish;
        // All or none: a typo in one name must not publish to the others.
        channels.iter().try_for_each(|channel| Self::check_rule(&pool, channel))?;
        let exclude: Option<Arc<str>> = exclude.map(Into::into);
        let mut positions = Vec::with_capacity(channels.len());
        for topic in channels {
            let publish = broker::Publish {
                topic,
                data: data.clone(),
                user: None,
                key: key.as_deref().map(|key| Key::new(KeyScope::Api, key)),
                exclude: exclude.clone(),
            };
            positions.push(self.publish_to(&pool, publish, traceparent.as_ref()).await?);
        }
        Ok(positions)
    }

    async fn broadcast(&self, message: Message) -> Result<Option<Position>, ApiError> {
        self.send(Topic::all(), message).await
    }

    async fn message(
        &self,
        to: gateway::Target,
        message: Message,
    ) -> Result<Option<Position>, ApiError> {
        match to {
            gateway::Target::User(user) => self.send(Topic::user(&user), message).await,
            gateway::Target::Connection(name) => {
                let fleet = self.fleet()?;
                let data = String::from_utf8_lossy(&message.data).into_owned();
                let data = RawValue::from_string(data)
                    .map_err(|error| ApiError::Internal(error.to_string()))?;
                let question = Question::Message(talk::Message { connection: name.clone(), data });
                fleet.have_done_to(&name, question).await.map(|_| None)
            }
        }
    }

    async fn disconnect(
        &self,
        whom: gateway::Target,
        how: Disconnect,
    ) -> Result<Counted, ApiError> {
        let fleet = self.fleet()?;
        let Disconnect { code, reason } = how;
        let question = |whom| Question::Disconnect(talk::Disconnect { whom, code, reason });
        match whom {
            gateway::Target::User(user) => fleet.have_done(question(Whom::User(user))).await,
            gateway::Target::Connection(name) => {
                let question = question(Whom::Connection(name.clone()));
                fleet.have_done_to(&name, question).await
            }
        }
    }

    async fn subscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        let fleet = self.fleet()?;
        Self::check_rule(&fleet.local.pool, &channel)?;
        let channel = channel.name().to_owned();
        fleet.have_done(Question::Subscribe(Subscription { user, channel })).await
    }

    async fn unsubscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        let channel = channel.name().to_owned();
        let question = Question::Unsubscribe(Subscription { user, channel });
        self.fleet()?.have_done(question).await
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Counted, ApiError> {
        let Revocation { revoked, expires } = revocation;
        let revoked = match revoked {
            gateway::Revoked::Jti(jti) => Revoked::Jti(jti),
            gateway::Revoked::User(user) => Revoked::User(user),
        };
        self.fleet()?.revoke(talk::Revocation { revoked, expires, sequence: 0 }).await
    }

    async fn stats(&self, scope: Scope) -> Result<Stats, ApiError> {
        let gathered = self.fleet()?.ask(scope, Question::Stats).await;
        let pods = fleet::pods(&gathered)?;
        Ok(fleet::stats(gathered, self.began.elapsed(), pods))
    }

    async fn connections(&self, page: Page) -> Result<Connections, ApiError> {
        let Page { after, limit, scope } = page;
        let question = Question::Connections(Part { after, limit });
        let gathered = self.fleet()?.ask(scope, question).await;
        let pods = fleet::pods(&gathered)?;
        let List { list, more, total } = fleet::connections(gathered, limit);
        let list = list.into_iter().map(|it| Connection {
            connection: it.name,
            user: it.user,
            subscriptions: it.subscriptions,
            age_ms: it.age_ms,
        });
        Ok(Connections { list: list.collect(), more, total, pods })
    }

    async fn channels(&self, page: Page) -> Result<Channels, ApiError> {
        let Page { after, limit, scope } = page;
        let question = Question::Channels(Part { after, limit });
        let gathered = self.fleet()?.ask(scope, question).await;
        let pods = fleet::pods(&gathered)?;
        let List { list, more, total } = fleet::channels(gathered, limit);
        let list = list.into_iter().map(|it| Channel {
            channel: it.name,
            subscribers: it.subscribers,
            top: fleet::place(it.top),
        });
        Ok(Channels { list: list.collect(), more, total, pods })
    }

    async fn presence(&self, channel: Topic) -> Result<Presence, ApiError> {
        let fleet = self.fleet()?;
        let pool = &fleet.local.pool;
        Self::check_rule(pool, &channel)?;
        if pool.shared.settings.load().presence(&channel).is_none() {
            return Err(ApiError::no_presence());
        }
        let question = Question::Presence(channel.key().to_owned());
        let gathered = fleet.ask(Scope::Gateway, question).await;
        let pods = fleet::pods(&gathered)?;
        let complete = gathered.is_complete();
        let members = gathered.members();
        let list = members.members.into_iter().map(|it| Member {
            user: it.user.map(|user| user.to_string()),
            connection: it.connection.to_string(),
            info: it.info.map(|info| Json(Bytes::copy_from_slice(info.as_bytes()))),
        });
        let total = members.total as u64;
        Ok(Presence { members: list.collect(), total, complete, pods })
    }

    async fn history(
        &self,
        channel: Topic,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> Result<HistoryPage, ApiError> {
        let pool = self.pool()?;
        Self::check_rule(&pool, &channel)?;
        let page = pool.history(channel, since, limit).await?.map_err(|error| match error {
            HistoryError::EpochChanged => ApiError::EpochChanged,
            HistoryError::NoHistory => ApiError::no_history(),
            HistoryError::Unavailable => ApiError::Unavailable(error.to_string()),
        })?;
        let messages = page.messages.iter();
        let messages = messages.map(|it| Json(Bytes::copy_from_slice(it.payload(Dialect::V1))));
        Ok(HistoryPage { top: page.top, messages: messages.collect(), more: page.more })
    }

    fn status(&self) -> Status {
        self.pod_status()
    }

    fn not_live(&self) -> Vec<Reason> {
        self.reasons_not_live()
    }

    fn not_ready(&self) -> Vec<Reason> {
        self.reasons_not_ready()
    }

    fn metrics(&self) -> String {
        if let Some(running) = self.running.borrow().as_ref() {
            let is_draining = !matches!(*self.phase.borrow(), Phase::Serving);
            let connections = running.pool.shared.load.connections();
            let remaining = if is_draining { connections } else { 0 };
            self.metrics.drain_remaining.set(i64::try_from(remaining).unwrap_or(i64::MAX));
        }
        if self.document.spec.broker.kind == BrokerKind::Memory {
            self.metrics.broker_connected.set(1);
        }
        let has_provider =
            |config: &Config| config.spec.auth.jwt.as_ref().is_some_and(|jwt| jwt.jwks.is_some());
        let running = self.running.borrow().clone();
        let keys = running.filter(|it| has_provider(&it.config.borrow()));
        let keys = keys.map(|it| it.keys.borrow().clone());
        self.metrics.render(&Scrape {
            keys: keys.as_ref(),
            now: SystemTime::now(),
            config: &self.state.borrow(),
            log_lines_dropped: self.log.lines_dropped(),
            spans_dropped: self.traces.spans_dropped(),
        })
    }

    fn api_keys(&self) -> ApiKeys {
        if self.document.spec.api.key_secret_name.is_none() {
            return ApiKeys::Off;
        }
        self.config().map_or(ApiKeys::Awaited, |config| {
            ApiKeys::new(config.api_keys.iter().map(Secret::bytes))
        })
    }

    fn message_bytes_max(&self) -> usize {
        let bytes = self.config().map_or(0, |it| it.spec.max_message_size.bytes());
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
