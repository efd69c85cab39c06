//! How messages travel to a client, and how clients are let go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Switch;
use crate::value::{Duration, Size};

/// Compression of messages (permessage-deflate, RFC 7692, without context takeover).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Compression {
    /// Whether messages are compressed.
    pub mode: CompressionMode,
    /// 0 stores, 1 is fastest, 9 is smallest.
    #[schemars(range(max = 9))]
    pub level: u8,
    /// Shorter messages go out as they are.
    #[schemars(extend("x-headgate-range" = ["0", "64Mi"]))]
    pub min_size: Size,
}

/// Whether messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompressionMode {
    /// A publication is compressed once, for all that receive it.
    Shared,
    /// Nothing is compressed, in either direction.
    Disabled,
}

impl Default for Compression {
    fn default() -> Self {
        Self { mode: CompressionMode::Shared, level: 6, min_size: Size::from_kib(1) }
    }
}

/// How messages that wait for a client are joined in one frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Batching {
    /// The most messages in one frame.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_messages: u32,
    /// How long a message waits for others. 0s joins only what waits anyway.
    #[schemars(extend("x-headgate-range" = ["0s", "10s"]))]
    pub max_delay: Duration,
    /// Whether messages are joined for clients of the plain dialect too; then one frame is more than one JSON text.
    pub plain: Switch,
}

impl Default for Batching {
    fn default() -> Self {
        Self { max_messages: 100, max_delay: Duration::from_secs(0), plain: Switch::Disabled }
    }
}

/// How a replica that ends lets its clients go. `period` and `endpointGrace` together are at most 10m.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Drain {
    /// Over this time the connections are closed (1012), evenly and in random order. At least 1s for every 1,000 of `maxConnections`.
    #[schemars(extend("x-headgate-range" = ["1ms", "10m"]))]
    pub period: Duration,
    /// Before that the replica goes on as ever for so long, since load balancers learn slowly.
    #[schemars(extend("x-headgate-range" = ["0s", "10m"]))]
    pub endpoint_grace: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { period: Duration::from_secs(120), endpoint_grace: Duration::from_secs(10) }
    }
}
