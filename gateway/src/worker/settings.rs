//! What workers look at all the time, worked out once from the configuration.

use std::sync::Arc;

use headgate_crds::v1alpha1::{
    ChannelRule, CompressionMode, Presence, RealtimeGatewaySpec, Switch,
};

use crate::{
    auth::token::Verifier,
    broker::{HistoryRule, PresenceMode, TopicRules, nats::link::Kept},
    config::Config,
    hub::outbox::{Bounds, Joining},
    protocol::{Dialect, topic::Topic},
    websocket::assembler::Limits,
};

/// Fragments of a message at most: what careful peers allow, and few enough to cost nothing.
const FRAGMENTS_MAX: u32 = 4_096;

/// One whole configuration as the workers use it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration.
    pub config: Arc<Config>,
    /// What the rules keep between pods, in their order.
    kept: Vec<Option<Kept>>,
    /// What vouches for tokens: the keys of the manifest and those of a key set.
    pub verifier: Arc<Verifier>,
    /// Connections that fit: `maxConnections`, or what the limit on files allows.
    pub capacity: u32,
    /// What may wait for a slow client.
    pub bounds: Bounds,
    /// Milliseconds that one write may take.
    pub write_wait_ms: u64,
    /// Milliseconds for which what could go out waits for more; 0: it goes at once.
    pub delay_ms: u64,
}

impl Settings {
    /// Works them out.
    pub fn new(config: Arc<Config>, verifier: Arc<Verifier>, capacity: u32) -> Self {
        let spec = &config.spec;
        let bounds = Bounds {
            messages_max: spec.limits.send_queue_messages as usize,
            bytes_max: usize::try_from(spec.limits.send_queue_bytes.bytes()).unwrap_or(usize::MAX),
        };
        Self {
            kept: config.rules.iter().map(Kept::of).collect(),
            verifier,
            capacity,
            bounds,
            write_wait_ms: spec.write_wait.as_millis(),
            delay_ms: spec.batching.max_delay.as_millis(),
            config,
        }
    }

    /// What a person may say of a gateway.
    pub fn spec(&self) -> &RealtimeGatewaySpec {
        &self.config.spec
    }

    /// The rule of a channel, `@user` or `@all`: the first that matches.
    pub fn rule(&self, name: &str) -> Option<&ChannelRule> {
        self.config.rules.iter().find(|rule| rule.r#match.matches(name))
    }

    /// What a topic keeps, if anything.
    pub fn history(&self, topic: &Topic) -> Option<HistoryRule> {
        history(self.rule(topic.name()))
    }

    /// What keeps a topic between pods, if anything does.
    pub fn kept(&self, topic: &Topic) -> Option<Kept> {
        let name = topic.name();
        let at = self.config.rules.iter().position(|rule| rule.r#match.matches(name))?;
        self.kept.get(at)?.clone()
    }

    /// Whether and how it is told who is in a channel.
    pub fn presence(&self, topic: &Topic) -> Option<PresenceMode> {
        if topic.is_reserved() {
            return None;
        }
        presence(self.rule(topic.name()))
    }

    /// What the manifest says about a topic.
    pub fn topic_rules(&self, topic: &Topic) -> TopicRules {
        let rule = self.rule(topic.name());
        let presence = presence(rule).filter(|_| !topic.is_reserved());
        TopicRules { history: history(rule), presence }
    }

    /// What a connection may send.
    pub fn message_limits(&self, deflate: bool) -> Limits {
        let message_bytes_max = self.spec().max_message_size.bytes();
        Limits { message_bytes_max, fragments_max: FRAGMENTS_MAX, deflate }
    }

    /// How what waits is written.
    pub fn joining(&self, dialect: Dialect) -> Joining {
        let batching = &self.spec().batching;
        match dialect {
            Dialect::Plain if batching.plain == Switch::Disabled => Joining(1),
            Dialect::V1 | Dialect::Plain => Joining(batching.max_messages as usize),
        }
    }

    /// Whether a message of this length is worth deflating.
    pub fn is_deflated(&self, bytes: usize) -> bool {
        let compression = &self.spec().compression;
        compression.mode == CompressionMode::Shared && bytes as u64 >= compression.min_size.bytes()
    }
}

fn history(rule: Option<&ChannelRule>) -> Option<HistoryRule> {
    rule?.history.as_ref().map(Into::into)
}

fn presence(rule: Option<&ChannelRule>) -> Option<PresenceMode> {
    match rule?.presence {
        Presence::Disabled => None,
        Presence::Enabled => Some(PresenceMode::Enabled),
        Presence::Announced => Some(PresenceMode::Announced),
    }
}
