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
use tokio::{sync::watch, time::Instant};

use super::drain::Phase;
use crate::{
    api::{
        error::ApiError,
        gateway::{self, Disconnect, Gateway, Message, Page, Publish, Revocation, Scope},
        keys::ApiKeys,
        status::{Reason, Status},
        views::{
            Channel, Channels, Connection, Connections, Counted, HistoryPage, Json, Member, Pods,
            Presence, Stats,
        },
    },
    auth::revocations::Revoked,
    broker::{self, HistoryError, Key, KeyScope},
    config::{Config, Secret, State, document::Document},
    jwks, nats,
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
    worker::{
        message::{Ending, IsOn, Target},
        pool::Pool,
        questions::Unavailable,
    },
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
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Node {
    fn pool(&self) -> Result<Pool, ApiError> {
        let running = self.running.borrow();
        running.as_ref().map(|it| it.pool.clone()).ok_or_else(starting)
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

    async fn subscribe_user(
        &self,
        user: String,
        channel: Topic,
        is_on: IsOn,
    ) -> Result<Counted, ApiError> {
        let pool = self.pool()?;
        if is_on == IsOn::On {
            Self::check_rule(&pool, &channel)?;
        }
        Ok(counted(pool.subscribe(&user.into(), &channel, is_on).await?))
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
                if self.pool()?.send(&name, &message.data).await? {
                    Ok(None)
                } else {
                    Err(ApiError::NotFound("connection"))
                }
            }
        }
    }

    async fn disconnect(
        &self,
        whom: gateway::Target,
        how: Disconnect,
    ) -> Result<Counted, ApiError> {
        let pool = self.pool()?;
        let Disconnect { code, reason } = how;
        let ending = Ending::by_application(code, reason.map(Into::into));
        let (target, has_to_be_there) = match whom {
            gateway::Target::User(user) => (Target::User(user.into()), false),
            gateway::Target::Connection(name) => {
                let key = pool.shared.names.key(&name).ok_or(ApiError::NotFound("connection"))?;
                (Target::Connection(key), true)
            }
        };
        match pool.disconnect(&target, &ending).await? {
            0 if has_to_be_there => Err(ApiError::NotFound("connection")),
            count => Ok(counted(count)),
        }
    }

    async fn subscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        self.subscribe_user(user, channel, IsOn::On).await
    }

    async fn unsubscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        self.subscribe_user(user, channel, IsOn::Off).await
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Counted, ApiError> {
        let pool = self.pool()?;
        let Revocation { revoked, expires } = revocation;
        let revoked = match revoked {
            gateway::Revoked::Jti(jti) => Revoked::Jti(jti),
            gateway::Revoked::User(user) => Revoked::User(user),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |it| it.as_secs());
        let ended = pool.revoke(&revoked, expires, now).await?;
        ended.map(counted).map_err(|_| {
            ApiError::Full("as many revocations as may be kept; revoke users rather than tokens")
        })
    }

    async fn stats(&self, _: Scope) -> Result<Stats, ApiError> {
        let pool = self.pool()?;
        let channels = pool.channels().await?;
        let totals = self.metrics.totals();
        Ok(Stats {
            active_connections: pool.shared.load.connections() as u64,
            total_connections: totals.connections_total,
            subscriptions: channels.iter().map(|it| it.subscribers as u64).sum(),
            channels: channels.len() as u64,
            messages_received: totals.messages_received,
            messages_delivered: totals.messages_delivered,
            errors: totals.errors,
            average_latency_ms: totals.delivery_seconds_mean.unwrap_or_default() * 1_000.0,
            delivery_seconds_sum: totals.delivery_seconds_sum,
            delivery_seconds_count: totals.delivery_seconds_count,
            uptime_seconds: self.began.elapsed().as_secs(),
            pods: Pods::ONE,
        })
    }

    async fn connections(&self, page: Page) -> Result<Connections, ApiError> {
        let all = self.pool()?.connections().await?;
        let total = all.len() as u64;
        let (list, more) = paged(all, &page, |it| &it.name);
        let list = list.into_iter().map(|it| Connection {
            connection: it.name.to_string(),
            user: it.user.map(|user| user.to_string()),
            subscriptions: it.subscriptions as u64,
            age_ms: u64::try_from(it.age.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(Connections { list: list.collect(), more, total, pods: Pods::ONE })
    }

    async fn channels(&self, page: Page) -> Result<Channels, ApiError> {
        let all = self.pool()?.channels().await?;
        let total = all.len() as u64;
        let (list, more) = paged(all, &page, |it| it.topic.name());
        let list = list.into_iter().map(|it| Channel {
            channel: it.topic.name().to_owned(),
            subscribers: it.subscribers as u64,
            top: it.position.into(),
        });
        Ok(Channels { list: list.collect(), more, total, pods: Pods::ONE })
    }

    async fn presence(&self, channel: Topic) -> Result<Presence, ApiError> {
        let pool = self.pool()?;
        Self::check_rule(&pool, &channel)?;
        if pool.shared.settings.load().presence(&channel).is_none() {
            return Err(ApiError::no_presence());
        }
        let members = pool.presence(&channel).await?;
        let list = members.members.into_iter().map(|it| Member {
            user: it.user.map(|user| user.to_string()),
            connection: it.connection.to_string(),
            info: it.info.map(|info| Json(Bytes::copy_from_slice(info.as_bytes()))),
        });
        Ok(Presence {
            members: list.collect(),
            total: members.total as u64,
            complete: true,
            pods: Pods::ONE,
        })
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
        let config = self.config();
        ApiKeys::new(config.iter().flat_map(|it| &it.api_keys).map(Secret::bytes))
    }

    fn message_bytes_max(&self) -> usize {
        let bytes = self.config().map_or(0, |it| it.spec.max_message_size.bytes());
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// What there is to say before the workers run, and when they are gone.
pub fn starting() -> ApiError {
    ApiError::Unavailable("the gateway is starting or has stopped".to_owned())
}

fn counted(connections: usize) -> Counted {
    Counted { connections: connections as u64, pods: Pods::ONE }
}

/// The part of a sorted list that a page is, and whether there is more.
fn paged<T>(all: Vec<T>, page: &Page, name: impl Fn(&T) -> &str) -> (Vec<T>, bool) {
    let after = page.after.as_deref();
    let start = after.map_or(0, |after| all.partition_point(|it| name(it) <= after));
    let more = all.len() - start > page.limit;
    (all.into_iter().skip(start).take(page.limit).collect(), more)
}
