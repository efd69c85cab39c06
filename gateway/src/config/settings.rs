//! One whole configuration that is known to be good.

use std::sync::Arc;

use headgate_crds::v1alpha1::{ChannelRule, PresenceMode, RealtimeGatewaySpec};

use crate::{
    auth::token::Verifier,
    broker::memory::Retention,
    hub::outbox::Bounds,
    protocol::topic::Topic,
    websocket::assembler::Limits as MessageLimits,
};

/// Fragments of a message at most.
const FRAGMENTS_MAX: u32 = 4_096;

/// A manifest that has passed every check, with the Secrets it names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// What a person may say of a gateway.
    pub spec: RealtimeGatewaySpec,
    /// The channel rules, the default one where there are none.
    pub rules: Vec<ChannelRule>,
    /// What vouches for tokens.
    pub verifier: Verifier,
    /// The keys of the server API; none switches it off.
    pub api_keys: Vec<String>,
    /// TLS for new connections.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// When the certificate ends, in seconds since 1970.
    pub certificate_expires: Option<i64>,
    /// Names the document: the operator compares it.
    pub hash: String,
}

impl Settings {
    /// The rule of a channel, `@user` or `@all`.
    pub fn rule(&self, name: &str) -> Option<&ChannelRule> {
        self.rules.iter().find(|rule| rule.pattern.matches(name))
    }

    /// What a topic keeps, if anything.
    pub fn retention(&self, topic: &Topic) -> Option<Retention> {
        let history = self.rule(topic.name())?.history.as_ref()?;
        Some(Retention {
            messages_max: history.messages as usize,
            age_max_ms: history.max_age.millis(),
        })
    }

    /// What is known of who is in a channel.
    pub fn presence(&self, topic: &Topic) -> PresenceMode {
        if topic.is_own() {
            return PresenceMode::Disabled;
        }
        self.rule(topic.name()).map_or(PresenceMode::Disabled, |rule| rule.presence)
    }

    /// What a connection may send.
    pub fn message_limits(&self, deflate: bool) -> MessageLimits {
        let message_bytes_max = self.spec.max_message_size.bytes();
        MessageLimits { message_bytes_max, fragments_max: FRAGMENTS_MAX, deflate }
    }

    /// What may wait for a slow client.
    pub fn outbox_bounds(&self) -> Bounds {
        let limits = &self.spec.limits;
        Bounds {
            messages_max: limits.send_queue_messages as usize,
            bytes_max: usize::try_from(limits.send_queue_bytes.bytes()).unwrap_or(usize::MAX),
        }
    }
}
