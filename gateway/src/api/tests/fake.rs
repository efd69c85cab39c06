//! A gateway for tests: it notes what it is asked, and answers as if it were small.
//!
//! Channels have a rule unless they begin with `none.`; those that begin with `room.` have history
//! and presence. Alice has the connections `c1` and `c2`, and somebody without a name has `c3`.

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::{
    error::ApiError,
    gateway::{Disconnect, Gateway, Message, Page, Publish, Revocation, Scope, Target},
    keys::ApiKeys,
    operation::Operation,
    status::{
        Broker, Certificate, Config, Drain, DrainState, Finding, Reason, Refused, Secrets, State,
        Status,
    },
    views::{
        Channel, Channels, Connection, Connections, Counted, HistoryPage, Json, Member, Place,
        Pods, Presence, Stats,
    },
};
use crate::protocol::{
    position::{ClientPosition, Epoch, Position},
    topic::Topic,
};

/// The key that counts unless a test says otherwise.
pub const KEY: &str = "the-key-of-the-tests";

const EPOCH: Epoch = Epoch(0x00c0_ffee);
const TOP: u64 = 43;

/// What was asked of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    To(Operation),
    Stats(Scope),
    Connections(Page),
    Channels(Page),
    Presence(Topic),
    History(Topic, Option<ClientPosition>, usize),
}

/// How the gateway takes what it is asked.
#[derive(Clone, Debug)]
pub enum Mood {
    Answers,
    Refuses(ApiError),
    IsSilent,
}

pub struct Fake {
    pub mood: Mood,
    pub keys: Mutex<ApiKeys>,
    pub message_bytes_max: usize,
    pub reasons: Vec<Reason>,
    pub asked: Mutex<Vec<Asked>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            mood: Mood::Answers,
            keys: Mutex::new(ApiKeys::new([KEY])),
            message_bytes_max: 1024,
            reasons: Vec::new(),
            asked: Mutex::default(),
        }
    }
}

impl Fake {
    async fn note(&self, asked: Asked) -> Result<(), ApiError> {
        self.asked.lock().push(asked);
        match &self.mood {
            Mood::Answers => Ok(()),
            Mood::Refuses(error) => Err(error.clone()),
            Mood::IsSilent => std::future::pending().await,
        }
    }

    fn counted(of: &Target) -> Result<Counted, ApiError> {
        let connections = match of {
            Target::User(user) => CONNECTIONS.iter().filter(|it| it.1 == Some(user)).count(),
            Target::Connection(name) => CONNECTIONS.iter().filter(|it| it.0 == name).count(),
        };
        match (of, connections) {
            (Target::Connection(_), 0) => Err(ApiError::NotFound("connection")),
            _ => Ok(Counted { connections: connections as u64, pods: Pods::ONE }),
        }
    }
}

/// Names and users.
const CONNECTIONS: [(&str, Option<&str>); 3] =
    [("c1", Some("alice")), ("c2", Some("alice")), ("c3", None)];

fn has_rule(channel: &Topic) -> Result<(), ApiError> {
    let name = channel.name();
    if name.starts_with("none.") { Err(ApiError::NoRule(name.to_owned())) } else { Ok(()) }
}

fn has_history(channel: &Topic) -> bool {
    channel.name().starts_with("room.")
}

/// The part of a list that a page is.
fn part<T>(list: Vec<T>, name: impl Fn(&T) -> &str, page: &Page) -> (Vec<T>, bool, u64) {
    let total = list.len() as u64;
    let is_after = |it: &T| page.after.as_deref().is_none_or(|after| name(it) > after);
    let mut rest: Vec<T> = list.into_iter().filter(is_after).collect();
    let more = rest.len() > page.limit;
    rest.truncate(page.limit);
    (rest, more, total)
}

impl Gateway for Fake {
    async fn publish(&self, publish: Publish) -> Result<Vec<Option<Position>>, ApiError> {
        self.note(Asked::To(Operation::Publish(publish.clone()))).await?;
        publish.channels.iter().try_for_each(has_rule)?;
        let position = Position { epoch: EPOCH, offset: TOP };
        Ok(publish.channels.iter().map(|it| has_history(it).then_some(position)).collect())
    }

    async fn broadcast(&self, message: Message) -> Result<Option<Position>, ApiError> {
        self.note(Asked::To(Operation::Broadcast(message))).await?;
        Ok(None)
    }

    async fn message(&self, to: Target, message: Message) -> Result<Option<Position>, ApiError> {
        self.note(Asked::To(Operation::Message(to.clone(), message))).await?;
        Self::counted(&to)?;
        let has_history = matches!(to, Target::User(_));
        Ok(has_history.then_some(Position { epoch: EPOCH, offset: 7 }))
    }

    async fn disconnect(&self, whom: Target, how: Disconnect) -> Result<Counted, ApiError> {
        self.note(Asked::To(Operation::Disconnect(whom.clone(), how))).await?;
        Self::counted(&whom)
    }

    async fn subscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        self.note(Asked::To(Operation::Subscribe(user.clone(), channel.clone()))).await?;
        has_rule(&channel)?;
        Self::counted(&Target::User(user))
    }

    async fn unsubscribe(&self, user: String, channel: Topic) -> Result<Counted, ApiError> {
        self.note(Asked::To(Operation::Unsubscribe(user.clone(), channel))).await?;
        Self::counted(&Target::User(user))
    }

    async fn revoke(&self, revocation: Revocation) -> Result<Counted, ApiError> {
        self.note(Asked::To(Operation::Revoke(revocation))).await?;
        Ok(Counted { connections: 2, pods: Pods { asked: 3, answered: 2 } })
    }

    async fn stats(&self, scope: Scope) -> Result<Stats, ApiError> {
        self.note(Asked::Stats(scope)).await?;
        Ok(Stats {
            active_connections: 3,
            total_connections: 17,
            subscriptions: 5,
            channels: 3,
            messages_received: 120,
            messages_delivered: 4800,
            errors: 2,
            average_latency_ms: 0.5,
            delivery_seconds_sum: 2.4,
            delivery_seconds_count: 4800,
            uptime_seconds: 3600,
            pods: Pods::ONE,
        })
    }

    async fn connections(&self, page: Page) -> Result<Connections, ApiError> {
        self.note(Asked::Connections(page.clone())).await?;
        let list = CONNECTIONS.map(|(name, user)| Connection {
            connection: name.to_owned(),
            user: user.map(str::to_owned),
            subscriptions: 2,
            age_ms: 60_000,
        });
        let (list, more, total) = part(list.into(), |it| &it.connection, &page);
        Ok(Connections { list, more, total, pods: Pods::ONE })
    }

    async fn channels(&self, page: Page) -> Result<Channels, ApiError> {
        self.note(Asked::Channels(page.clone())).await?;
        let list = ["news & more", "room.1", "room.2"].map(|name| Channel {
            channel: name.to_owned(),
            subscribers: 2,
            top: match name {
                "room.1" => Place { epoch: Some(EPOCH), offset: Some(TOP) },
                _ => Place::default(),
            },
        });
        let (list, more, total) = part(list.into(), |it| &it.channel, &page);
        Ok(Channels { list, more, total, pods: Pods::ONE })
    }

    async fn presence(&self, channel: Topic) -> Result<Presence, ApiError> {
        self.note(Asked::Presence(channel.clone())).await?;
        has_rule(&channel)?;
        if !has_history(&channel) {
            return Err(ApiError::no_presence());
        }
        let alice = Member {
            user: Some("alice".to_owned()),
            connection: "c1".to_owned(),
            info: Some(Json(Bytes::from_static(br#"{"name":"Alice"}"#))),
        };
        let somebody = Member { user: None, connection: "c3".to_owned(), info: None };
        let members = vec![alice, somebody];
        Ok(Presence { members, total: 2, complete: true, pods: Pods::ONE })
    }

    async fn history(
        &self,
        channel: Topic,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> Result<HistoryPage, ApiError> {
        self.note(Asked::History(channel.clone(), since, limit)).await?;
        has_rule(&channel)?;
        if !has_history(&channel) {
            return Err(ApiError::no_history());
        }
        if since.is_some_and(|since| since.epoch != Some(EPOCH)) {
            return Err(ApiError::EpochChanged);
        }
        let name = channel.name();
        let message = |offset| {
            let payload =
                serde_json::json!({"channel": name, "data": {"text": "hi"}, "offset": offset});
            Json(Bytes::from(payload.to_string()))
        };
        let after = since.map_or(TOP - 2, |since| since.offset);
        let mut messages: Vec<Json> = (after..TOP).map(|offset| message(offset + 1)).collect();
        let more = messages.len() > limit;
        messages.truncate(limit);
        Ok(HistoryPage { top: Position { epoch: EPOCH, offset: TOP }, messages, more })
    }

    fn status(&self) -> Status {
        let finding = Finding {
            path: "spec.pongWait".to_owned(),
            line: Some(8),
            value: "30s".to_owned(),
            problem: "is not above pingPeriod, 54s".to_owned(),
            right: "a duration above 54s, such as 60s".to_owned(),
        };
        let refused = Refused { hash: Some("a1b2c3d4".to_owned()), findings: vec![finding] };
        Status {
            name: "chat".to_owned(),
            namespace: "demo".to_owned(),
            version: "0.1.0".to_owned(),
            state: State::Serving,
            not_ready: self.reasons.clone(),
            connections: 3,
            capacity: 10_000,
            refused_full_30s: 0,
            config: Config {
                hash: Some("5d41402a".to_owned()),
                applied_at: Some(1_767_225_600),
                error: Some(refused),
                restart_required: vec!["spec.path".to_owned()],
            },
            secrets: Secrets { missing: vec![], vanished: vec!["chat-jwt/hmac".to_owned()] },
            drain: Drain { state: DrainState::None, remaining: 0, deadline: None },
            broker: Broker { kind: "Memory", connected: true, problem: None },
            certificate: Some(Certificate { not_after: 1_798_761_600 }),
        }
    }

    fn not_live(&self) -> Vec<Reason> {
        self.reasons.clone()
    }

    fn not_ready(&self) -> Vec<Reason> {
        self.reasons.clone()
    }

    fn metrics(&self) -> String {
        let help = "# HELP realtime_gateway_channels Channels with subscribers or history.";
        format!("{help}\n# TYPE realtime_gateway_channels gauge\nrealtime_gateway_channels 3\n")
    }

    fn api_keys(&self) -> ApiKeys {
        self.keys.lock().clone()
    }

    fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }
}
