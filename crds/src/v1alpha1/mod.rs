//! Version `v1alpha1` of the resource.
//!
//! [`RealtimeGatewaySpec`] has three kinds of fields: what the gateway applies live, what it reads once at start, and what
//! only the operator reads. [`startup`] says which is which, and forgets no field.

#![cfg_attr(
    feature = "kube",
    allow(
        clippy::duplicated_attributes,
        reason = "the columns of `kubectl get` are one attribute each"
    )
)]

mod choice;
pub use choice::{Install, Permission, Switch};

mod client_address;
pub use client_address::{ClientAddress, ClientAddressFrom};

mod limits;
pub use limits::{ByteRate, Limits, PerAddress, Rate};

mod delivery;
pub use delivery::{Batching, Compression, CompressionMode, Drain};

mod auth;
pub use auth::{Algorithm, Auth, AuthMode, Jwks, Jwt, JwtKey};

mod channels;
pub use channels::{Access, ChannelRule, History, Presence};

mod telemetry;
pub use telemetry::{LogLevel, Otlp, Telemetry};

mod broker;
pub use broker::{Broker, BrokerKind, Nats};

mod deployment;
pub use deployment::{
    Autoscaling, Deployment, LocalReference, Quantity, Resources, TaintEffect, Toleration,
    TolerationOperator, TopologySpread,
};

mod exposure;
pub use exposure::{
    IpBlock, LabelSelector, Monitoring, NetworkPolicy, NetworkPolicyPeer, ParentReference, Route,
    Service, ServiceKind,
};

mod status;
pub use status::{Condition, ConditionStatus, PodState, PodStatus, RealtimeGatewayStatus};

pub mod startup;
pub use startup::{Applied, Startup};

#[cfg(feature = "kube")]
mod resource;
#[cfg(feature = "kube")]
pub use resource::{crd, crd_yaml};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Duration, OriginPattern, Size, kind};

/// The group of the resource.
pub const GROUP: &str = "headgate.dev";
/// The version of the resource.
pub const VERSION: &str = "v1alpha1";
/// The kind of the resource.
pub const KIND: &str = "RealtimeGateway";

/// What a gateway does, how it starts and how it is deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(
    feature = "kube",
    derive(kube::CustomResource),
    kube(
        group = "headgate.dev",
        version = "v1alpha1",
        kind = "RealtimeGateway",
        doc = "A WebSocket hub: one gateway and its pods.",
        namespaced,
        schema = "disabled",
        status = "RealtimeGatewayStatus",
        shortname = "rtgw",
        category = "realtime",
        derive = "PartialEq",
        scale(
            spec_replicas_path = ".spec.replicas",
            status_replicas_path = ".status.replicas",
            label_selector_path = ".status.selector"
        ),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas"),
        printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
        printcolumn(name = "Capacity", type_ = "integer", json_path = ".status.capacity"),
        printcolumn(name = "Config", type_ = "string", json_path = ".status.configHash"),
        printcolumn(
            name = "Reason",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
            priority = 1
        ),
        printcolumn(
            name = "Broker",
            type_ = "string",
            json_path = ".spec.broker.type",
            priority = 1
        ),
        printcolumn(name = "Auth", type_ = "string", json_path = ".spec.auth.mode", priority = 1),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    )
)]
#[serde(default, rename_all = "camelCase")]
pub struct RealtimeGatewaySpec {
    /// The web pages that may connect, by the `Origin` that their browser sends. An empty list refuses every page.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_origins: Vec<OriginPattern>,
    /// What happens to requests without an `Origin`: they come from a program, not from a browser.
    pub missing_origin: Permission,
    /// The most connections of one replica; a full replica refuses with 503 `full`. Beyond what the file limit allows, a warning says so and `capacity` says the truth.
    #[schemars(range(min = 1, max = 600_000))]
    pub max_connections: u32,
    /// The longest message of a client, after decompression; a longer one ends its connection with 1009.
    #[schemars(extend("x-headgate-range" = ["125", "64Mi"]))]
    pub max_message_size: Size,
    /// After so long without traffic from a client, the gateway sends it a WebSocket ping. Must be shorter than `pongWait`.
    #[schemars(extend("x-headgate-range" = ["100ms", "1h"]))]
    pub ping_period: Duration,
    /// After so long without anything from a client, its connection ends with 4408. A message must be whole within as long.
    #[schemars(extend("x-headgate-range" = ["100ms", "2h"]))]
    pub pong_wait: Duration,
    /// A write that doesn't finish within this time ends the connection.
    #[schemars(extend("x-headgate-range" = ["100ms", "10m"]))]
    pub write_wait: Duration,
    /// Where a client's address is read from, which limits per address and logs go by. IPv6 addresses count per /64. A change counts for new connections.
    pub client_address: ClientAddress,
    /// What one client, one address and one replica may use. Lower limits bind what is new: nobody who is here is sent away for them.
    pub limits: Limits,
    /// Compression of messages (permessage-deflate, RFC 7692, without context takeover). A change counts for new connections.
    pub compression: Compression,
    /// How messages that wait for a client are joined in one frame.
    pub batching: Batching,
    /// Who may connect. Must be there; everything else may be left out. Unless `mode` is `Disabled`, there must be a key in `jwt.keys`, or `jwt.jwks`.
    pub auth: Auth,
    /// What clients may do in which channels; the first rule that matches counts. Left out, it is one rule for `**`: `Anyone` where `auth.mode` is `Disabled`, else `Granted`.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub channels: Vec<ChannelRule>,
    /// How a replica that ends lets its clients go. `period` and `endpointGrace` together are at most 10m.
    pub drain: Drain,
    /// Logs and traces.
    pub telemetry: Telemetry,

    /// The path of the URL that clients connect to; every other path is a 404.
    #[schemars(schema_with = "kind::url_path")]
    pub path: String,
    /// TLS on the public port. Left out, the gateway speaks plain HTTP, for a proxy in front of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What carries publications between replicas and keeps history.
    pub broker: Broker,
    /// The server API on the internal port.
    pub api: Api,

    /// How many replicas. With `autoscaling` it belongs to the autoscaler: leave it out of the manifest.
    #[schemars(range(max = 1_000))]
    pub replicas: u32,
    /// Scaling by connections; it needs nothing else installed, since the operator serves the metric. Left out, `replicas` stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The pods.
    pub deployment: Deployment,
    /// The Service in front of the pods.
    pub service: Service,
    /// A way in from outside: an `HTTPRoute` where there are `parentRefs`, else an Ingress. Left out, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// What is installed for Prometheus and Grafana.
    pub monitoring: Monitoring,
    /// Who may reach the internal port, besides the operator.
    pub network_policy: NetworkPolicy,
}

impl RealtimeGatewaySpec {
    /// The rules for channels, with the one that counts where the manifest has none.
    pub fn channel_rules(&self) -> Vec<ChannelRule> {
        if self.channels.is_empty() {
            vec![ChannelRule::for_everything(self.auth.mode)]
        } else {
            self.channels.clone()
        }
    }
}

/// What a manifest gets that leaves everything out. It is refused by [`crate::rules`]: its `auth` requires tokens and has
/// no key to check them with.
impl Default for RealtimeGatewaySpec {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            missing_origin: Permission::Allow,
            max_connections: 10_000,
            max_message_size: Size::from_kib(512),
            ping_period: Duration::from_secs(54),
            pong_wait: Duration::from_secs(60),
            write_wait: Duration::from_secs(10),
            client_address: ClientAddress::default(),
            limits: Limits::default(),
            compression: Compression::default(),
            batching: Batching::default(),
            auth: Auth::default(),
            channels: Vec::new(),
            drain: Drain::default(),
            telemetry: Telemetry::default(),
            path: "/ws".to_owned(),
            tls: None,
            broker: Broker::default(),
            api: Api::default(),
            replicas: 1,
            autoscaling: None,
            deployment: Deployment::default(),
            service: Service::default(),
            route: None,
            monitoring: Monitoring::default(),
            network_policy: NetworkPolicy::default(),
        }
    }
}

/// TLS on the public port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The Secret with `tls.crt` and `tls.key`. What is in it is reloaded live; another name rolls the pods.
    #[schemars(schema_with = "kind::object_name")]
    pub secret_name: String,
}

/// The server API on the internal port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Api {
    /// The Secret with `api-key`: a key a line, several for rotation. Left out, the server API is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kind::object_name")]
    pub key_secret_name: Option<String>,
}
