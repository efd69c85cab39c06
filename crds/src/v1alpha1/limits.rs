//! What one client, one address and one replica may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Duration, Size};

/// What one client, one address and one replica may use. Lower limits bind what is new; nobody here is sent away for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Connections of one user, over all replicas; the newest beyond it end with 4430. 0 is no limit.
    #[schemars(range(max = 100_000))]
    pub connections_per_user: u32,
    /// Connections that one replica accepts; the rest get 429 `connect_rate` with `Retry-After`.
    pub connect_rate: Rate,
    /// What one client address may use, before `connectRate` is spent.
    pub per_address: PerAddress,
    /// TCP connections that were accepted and not yet upgraded; beyond it nothing more is accepted.
    #[schemars(range(min = 1, max = 100_000))]
    pub pending_handshakes: u32,
    /// Envelopes and control frames of one connection. What is over it is not executed (`rate_limited`); 100 of those in 10 s end the connection with 4429.
    pub message_rate: Rate,
    /// Envelopes `subscribe` and `unsubscribe` of one connection, which don't count for `messageRate`, so that a client can resubscribe at once.
    pub subscribe_rate: Rate,
    /// Bytes of one connection, as they come over the network or as they are inflated, whichever is more; over it the gateway reads slower.
    pub byte_rate: ByteRate,
    /// Channels that one connection may have subscribed; more are refused with `too_many_channels`.
    #[schemars(range(min = 1, max = 10_000))]
    pub channels_per_connection: u32,
    /// Messages that may wait for one client; one more ends it as a slow consumer (4431).
    #[schemars(range(min = 1, max = 65_536))]
    pub send_queue_messages: u32,
    /// Bytes that may wait for one client; more end it as a slow consumer (4431). At least `maxMessageSize`.
    #[schemars(extend("x-headgate-range" = ["125", "256Mi"]))]
    pub send_queue_bytes: Size,
    /// From the TCP connection to the finished upgrade, TLS included.
    #[schemars(extend("x-headgate-range" = ["100ms", "2m"]))]
    pub handshake_timeout: Duration,
    /// Ends a connection that has exchanged no message for so long (4503); pings are no messages. 0s is never.
    #[schemars(extend("x-headgate-range" = ["0s", "720h"]))]
    pub idle_timeout: Duration,
    /// When the replica is full and more than this many are idle (no message for 60 s), who comes is let in and the longest idle goes (1013). Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 600_000))]
    pub max_idle_connections: Option<u32>,
}

/// A token bucket: it holds `burst` and is filled with `perSecond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// So many per second for long. 0 is no limit.
    #[schemars(range(max = 1_000_000))]
    pub per_second: u32,
    /// So many at once. At least 1 where `perSecond` is not 0.
    #[schemars(range(max = 1_000_000))]
    pub burst: u32,
}

/// A token bucket of bytes: it holds `burst` and is filled with `perSecond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByteRate {
    /// So many bytes per second for long. 0 is no limit.
    #[schemars(extend("x-headgate-range" = ["0", "64Gi"]))]
    pub per_second: Size,
    /// So many bytes at once. At least 1 where `perSecond` is not 0.
    #[schemars(extend("x-headgate-range" = ["0", "64Gi"]))]
    pub burst: Size,
}

/// What one client address (IPv6: one /64) may use of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PerAddress {
    /// Connections at the same time; the rest get 429 `address`. 0 is no limit.
    #[schemars(range(max = 600_000))]
    pub connections: u32,
    /// New connections; the rest get 429 `address`.
    pub connect_rate: Rate,
}

impl Default for Rate {
    /// No limit.
    fn default() -> Self {
        Self { per_second: 0, burst: 0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: 0,
            connect_rate: Rate { per_second: 500, burst: 1_000 },
            per_address: PerAddress::default(),
            pending_handshakes: 1_000,
            message_rate: Rate { per_second: 50, burst: 100 },
            subscribe_rate: Rate { per_second: 64, burst: 256 },
            byte_rate: ByteRate { per_second: Size::from_mib(1), burst: Size::from_mib(4) },
            channels_per_connection: 128,
            send_queue_messages: 256,
            send_queue_bytes: Size::from_mib(1),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(0),
            max_idle_connections: None,
        }
    }
}
