//! What this pod answers, to its own API and to other pods alike.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    auth::revocations,
    broker::nats::talk::{
        Answer, Channel, Connection, Disconnect, List, Message, Part, Question, Revocation,
        Revoked, Stats, Subscription, Whom,
    },
    protocol::{channel::ChannelName, data, topic::Topic},
    telemetry::metrics::Metrics,
    worker::{
        message::{Ending, IsOn, Target},
        pool::Pool,
        questions::Unavailable,
        shared::unix_now,
    },
};

/// This pod alone.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its workers.
    pub pool: Pool,
    /// What counts.
    pub metrics: Arc<Metrics>,
}

impl Local {
    /// Answers; [`Answer::Failed`] where a worker does not.
    pub async fn answer(self, question: Question) -> Answer {
        let answered = match question {
            Question::Presence(topic) => self.presence(&topic).await,
            Question::Connections(part) => self.connections(&part).await,
            Question::Channels(part) => self.channels(&part).await,
            Question::Stats => self.stats().await,
            Question::Disconnect(how) => self.disconnect(how).await,
            Question::Message(message) => self.message(&message).await,
            Question::Subscribe(it) => self.subscribe(it, IsOn::On).await,
            Question::Unsubscribe(it) => self.subscribe(it, IsOn::Off).await,
            Question::Revoke(revocations) => self.revoke(revocations).await,
            // The plane knows what it told.
            Question::Counts(_) => Ok(Answer::Unknown),
        };
        answered.unwrap_or_else(|error| Answer::Failed(error.to_string()))
    }

    async fn presence(&self, topic: &str) -> Result<Answer, Unavailable> {
        let Ok(channel) = ChannelName::parse(topic) else { return Ok(Answer::Unknown) };
        let members = self.pool.presence(&Topic::channel(channel)).await?;
        Ok(Answer::Presence(members.into()))
    }

    async fn connections(&self, part: &Part) -> Result<Answer, Unavailable> {
        let all = self.pool.connections().await?;
        let list = cut(
            all,
            part,
            |it| &it.name,
            |it| Connection {
                name: it.name.to_string(),
                user: it.user.map(|user| user.to_string()),
                subscriptions: it.subscriptions as u64,
                age_ms: u64::try_from(it.age.as_millis()).unwrap_or(u64::MAX),
            },
        );
        Ok(Answer::Connections(list))
    }

    async fn channels(&self, part: &Part) -> Result<Answer, Unavailable> {
        let all = self.pool.channels().await?;
        let list = cut(
            all,
            part,
            |it| it.topic.name(),
            |it| Channel {
                name: it.topic.name().to_owned(),
                subscribers: it.subscribers as u64,
                top: it.position.map(|it| (it.epoch.0, it.offset)),
            },
        );
        Ok(Answer::Channels(list))
    }

    async fn stats(&self) -> Result<Answer, Unavailable> {
        let channels = self.pool.channels().await?;
        let totals = self.metrics.totals();
        Ok(Answer::Stats(Stats {
            active_connections: self.pool.shared.load.connections() as u64,
            total_connections: totals.connections_total,
            subscriptions: channels.iter().map(|it| it.subscribers as u64).sum(),
            channels: channels.len() as u64,
            messages_received: totals.messages_received,
            messages_delivered: totals.messages_delivered,
            errors: totals.errors,
            delivery_seconds_sum: totals.delivery_seconds_sum,
            delivery_seconds_count: totals.delivery_seconds_count,
        }))
    }

    async fn disconnect(&self, how: Disconnect) -> Result<Answer, Unavailable> {
        let Disconnect { whom, code, reason } = how;
        let ending = Ending::by_application(code, reason.map(Into::into));
        let target = match whom {
            Whom::User(user) => Target::User(user.into()),
            Whom::Connection(name) => match self.pool.shared.names.key(&name) {
                Some(key) => Target::Connection(key),
                None => return Ok(Answer::Count(0)),
            },
        };
        Ok(Answer::Count(self.pool.disconnect(&target, &ending).await? as u64))
    }

    async fn message(&self, message: &Message) -> Result<Answer, Unavailable> {
        // What came from elsewhere may have line feeds, and envelopes are told apart by them.
        let data = Bytes::from(data::compact(message.data.get()).into_owned());
        Ok(Answer::Count(self.pool.send(&message.connection, &data).await?.into()))
    }

    async fn subscribe(&self, it: Subscription, is_on: IsOn) -> Result<Answer, Unavailable> {
        let Ok(channel) = ChannelName::parse(&it.channel) else { return Ok(Answer::Unknown) };
        let count = self.pool.subscribe(&it.user.into(), &Topic::channel(channel), is_on).await?;
        Ok(Answer::Count(count as u64))
    }

    async fn revoke(&self, revocations: Vec<Revocation>) -> Result<Answer, Unavailable> {
        let revoked = revocations.into_iter().map(|it| (revoked(it.revoked), it.expires)).collect();
        Ok(match self.pool.revoke_all(revoked, unix_now()).await? {
            Ok(count) => Answer::Count(count as u64),
            Err(full) => Answer::Failed(full.to_string()),
        })
    }
}

/// What is revoked, in the words of `auth`.
pub fn revoked(revoked: Revoked) -> revocations::Revoked {
    match revoked {
        Revoked::Jti(jti) => revocations::Revoked::Jti(jti),
        Revoked::User(user) => revocations::Revoked::User(user),
    }
}

/// The part of a sorted list that is asked for.
fn cut<T, S>(
    all: Vec<T>,
    part: &Part,
    name: impl Fn(&T) -> &str,
    as_said: impl Fn(T) -> S,
) -> List<S> {
    let total = all.len() as u64;
    let after = part.after.as_deref();
    let start = after.map_or(0, |after| all.partition_point(|it| name(it) <= after));
    let more = all.len() - start > part.limit;
    let list = all.into_iter().skip(start).take(part.limit).map(as_said).collect();
    List { list, more, total }
}
