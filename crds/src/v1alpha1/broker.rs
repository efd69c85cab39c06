//! What carries publications between replicas and keeps history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Size, kind};

/// What carries publications between replicas and keeps history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Broker {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: BrokerKind,
    /// What history may hold, of one replica with `Memory`, of the gateway with `NATS`. The oldest go first.
    #[schemars(extend("x-headgate-range" = ["64Ki", "1Ti"]))]
    pub history_bytes: Size,
    /// The NATS servers. Must be there with `type: NATS`, and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
}

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BrokerKind {
    /// The gateway's own memory, for one replica.
    Memory,
    /// NATS with `JetStream`, for any number of replicas.
    #[serde(rename = "NATS")]
    Nats,
}

impl Default for Broker {
    fn default() -> Self {
        Self { kind: BrokerKind::Memory, history_bytes: Size::from_mib(64), nats: None }
    }
}

/// The NATS servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nats {
    /// Where they are.
    #[schemars(schema_with = "kind::nats_url")]
    pub url: String,
    /// The Secret with `nats.creds`, or `user` and `password`, or `token`, and perhaps `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub credentials_secret_name: Option<String>,
}
