//! `headgate.dev/v1alpha1`: what a person may say of a gateway.
//!
//! Plain fields whose doc comments are the manual: unit, bound, default, effect. A field that is
//! left out has its default; `auth` alone must be there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{ChannelPattern, Cidr, Duration, OriginPattern, Size};

/// The group and version of the resource.
pub const API_VERSION: &str = "headgate.dev/v1alpha1";

/// The kind of the resource.
pub const KIND: &str = "RealtimeGateway";

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// It is.
    Allow,
    /// It is not.
    #[default]
    Deny,
}

/// Where the address of a client is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressSource {
    /// The peer of the TCP connection.
    #[default]
    Socket,
    /// The rightmost hop of `X-Forwarded-For` that is not trusted.
    XForwardedFor,
    /// The header of the PROXY protocol, version 1 or 2.
    ProxyProtocol,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompressionMode {
    /// permessage-deflate without context takeover: once for all clients.
    #[default]
    Shared,
    /// Not at all.
    Disabled,
}

/// Whether something is switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Switch {
    /// It is.
    Enabled,
    /// It is not.
    #[default]
    Disabled,
}

/// Who may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthMode {
    /// Everybody; tokens are not read.
    Disabled,
    /// Who has a valid token, and who has none.
    Optional,
    /// Who has a valid token.
    #[default]
    Required,
}

/// Who may use a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// Everybody who is connected.
    Anyone,
    /// Who has a token with a user.
    Authenticated,
    /// Whom the token grants it.
    #[default]
    Granted,
    /// No client, whatever its token says.
    Nobody,
}

/// What is known of who is in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PresenceMode {
    /// Nothing.
    #[default]
    Disabled,
    /// Who asks is answered.
    Enabled,
    /// Everybody is told who joins and leaves.
    Announced,
}

/// How pods share what clients can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BrokerType {
    /// One pod, nothing to share.
    #[default]
    Memory,
    /// Through NATS with JetStream.
    NATS,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(non_camel_case_types, reason = "the words of the manifest")]
pub enum LogLevel {
    /// What we must mend.
    error,
    /// What another service does wrong.
    warn,
    /// What a person should know.
    #[default]
    info,
    /// Each connection.
    debug,
    /// Each message, by type and size.
    trace,
}

/// The signature of a token (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HS256.
    #[default]
    HS256,
    /// HS384.
    HS384,
    /// HS512.
    HS512,
    /// RS256.
    RS256,
    /// RS384.
    RS384,
    /// RS512.
    RS512,
    /// PS256.
    PS256,
    /// PS384.
    PS384,
    /// PS512.
    PS512,
    /// ES256.
    ES256,
    /// ES384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// How the address of a client is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAddress {
    /// Where it is read. A stranger that sends a PROXY header gets a 400.
    #[serde(default = "clientaddress::from")]
    pub from: AddressSource,
    /// The proxies that are believed. At most 64.
    #[serde(default = "clientaddress::trusted_proxies")]
    #[schemars(length(max = 64))]
    pub trusted_proxies: Vec<Cidr>,
}

mod clientaddress {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn from() -> AddressSource {
        AddressSource::Socket
    }

    pub fn trusted_proxies() -> Vec<Cidr> {
        Vec::new()
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { from: clientaddress::from(), trusted_proxies: clientaddress::trusted_proxies() }
    }
}

/// A token bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Refilled so many a second; 0 is off.
    #[schemars(range(max = 1_000_000))]
    pub per_second: u32,
    /// Holds so many at most.
    #[schemars(range(max = 10_000_000))]
    pub burst: u32,
}

/// A token bucket of bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByteRate {
    /// Refilled so many a second; 0 is off.
    pub per_second: Size,
    /// Holds so many at most.
    pub burst: Size,
}

/// Limits of one client address; an IPv6 address counts with its /64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerAddress {
    /// Connections at a time; 0 is off.
    #[serde(default = "peraddress::connections")]
    #[schemars(range(max = 1_000_000))]
    pub connections: u32,
    /// New connections, spent before `limits.connectRate`.
    #[serde(default = "peraddress::connect_rate")]
    pub connect_rate: Rate,
}

mod peraddress {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn connections() -> u32 {
        0
    }

    pub fn connect_rate() -> Rate {
        Rate { per_second: 0, burst: 0 }
    }
}

impl Default for PerAddress {
    fn default() -> Self {
        Self { connections: peraddress::connections(), connect_rate: peraddress::connect_rate() }
    }
}

/// Bounds of what clients may cost. All are live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Connections of one user over all replicas; 0 is no limit of its own.
    #[serde(default = "limits::connections_per_user")]
    #[schemars(range(max = 1_000_000))]
    pub connections_per_user: u32,
    /// New connections of a replica; the rest get 429 with `Retry-After`.
    #[serde(default = "limits::connect_rate")]
    pub connect_rate: Rate,
    /// Limits of one client address.
    #[serde(default = "limits::per_address")]
    pub per_address: PerAddress,
    /// Connections that are accepted and not yet upgraded; beyond it none is accepted.
    #[serde(default = "limits::pending_handshakes")]
    #[schemars(range(min = 1, max = 100_000))]
    pub pending_handshakes: u32,
    /// Envelopes and control frames of a connection. Over it: `rate_limited`, not executed; 100 of those in 10 s: 4429.
    #[serde(default = "limits::message_rate")]
    pub message_rate: Rate,
    /// `subscribe` and `unsubscribe` of a connection, instead of `messageRate`.
    #[serde(default = "limits::subscribe_rate")]
    pub subscribe_rate: Rate,
    /// Bytes from a connection; over it the gateway reads slower.
    #[serde(default = "limits::byte_rate")]
    pub byte_rate: ByteRate,
    /// Subscriptions of a connection.
    #[serde(default = "limits::channels_per_connection")]
    #[schemars(range(min = 1, max = 10_000))]
    pub channels_per_connection: u32,
    /// Frames that may wait for a slow client; beyond it 4431.
    #[serde(default = "limits::send_queue_messages")]
    #[schemars(range(min = 1, max = 100_000))]
    pub send_queue_messages: u32,
    /// Bytes that may wait for a slow client; beyond it 4431.
    #[serde(default = "limits::send_queue_bytes")]
    pub send_queue_bytes: Size,
    /// From accept to upgrade, and from there to a first-message token.
    #[serde(default = "limits::handshake_timeout")]
    pub handshake_timeout: Duration,
    /// Close what has exchanged no message for so long (4503); 0s is never.
    #[serde(default = "limits::idle_timeout")]
    pub idle_timeout: Duration,
    /// When full, the longest idle (no message for 60 s) beyond this many make room (1013). Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_idle_connections: Option<u32>,
}

mod limits {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn connections_per_user() -> u32 {
        0
    }

    pub fn connect_rate() -> Rate {
        Rate { per_second: 500, burst: 1_000 }
    }

    pub fn per_address() -> PerAddress {
        PerAddress::default()
    }

    pub fn pending_handshakes() -> u32 {
        1_000
    }

    pub fn message_rate() -> Rate {
        Rate { per_second: 50, burst: 100 }
    }

    pub fn subscribe_rate() -> Rate {
        Rate { per_second: 64, burst: 256 }
    }

    pub fn byte_rate() -> ByteRate {
        ByteRate { per_second: Size::new(1 << 20), burst: Size::new(4 << 20) }
    }

    pub fn channels_per_connection() -> u32 {
        128
    }

    pub fn send_queue_messages() -> u32 {
        256
    }

    pub fn send_queue_bytes() -> Size {
        Size::new(1 << 20)
    }

    pub fn handshake_timeout() -> Duration {
        Duration::secs(10)
    }

    pub fn idle_timeout() -> Duration {
        Duration::secs(0)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_user: limits::connections_per_user(),
            connect_rate: limits::connect_rate(),
            per_address: limits::per_address(),
            pending_handshakes: limits::pending_handshakes(),
            message_rate: limits::message_rate(),
            subscribe_rate: limits::subscribe_rate(),
            byte_rate: limits::byte_rate(),
            channels_per_connection: limits::channels_per_connection(),
            send_queue_messages: limits::send_queue_messages(),
            send_queue_bytes: limits::send_queue_bytes(),
            handshake_timeout: limits::handshake_timeout(),
            idle_timeout: limits::idle_timeout(),
            max_idle_connections: None,
        }
    }
}

/// permessage-deflate (RFC 7692). Live, for new connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// Whether it is offered.
    #[serde(default = "compression::mode")]
    pub mode: CompressionMode,
    /// 1 is fast, 9 is small.
    #[serde(default = "compression::level")]
    #[schemars(range(min = 0, max = 9))]
    pub level: u32,
    /// Smaller messages are not compressed.
    #[serde(default = "compression::min_size")]
    pub min_size: Size,
}

mod compression {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn mode() -> CompressionMode {
        CompressionMode::Shared
    }

    pub fn level() -> u32 {
        6
    }

    pub fn min_size() -> Size {
        Size::new(1_024)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            mode: compression::mode(),
            level: compression::level(),
            min_size: compression::min_size(),
        }
    }
}

/// Envelopes that go out together. Live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// Envelopes joined in one frame.
    #[serde(default = "batching::max_messages")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_messages: u32,
    /// Wait so long for more; 0s joins only what waits. At most 10s.
    #[serde(default = "batching::max_delay")]
    pub max_delay: Duration,
    /// Join in the plain dialect too.
    #[serde(default = "batching::plain")]
    pub plain: Switch,
}

mod batching {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn max_messages() -> u32 {
        100
    }

    pub fn max_delay() -> Duration {
        Duration::secs(0)
    }

    pub fn plain() -> Switch {
        Switch::Disabled
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            max_messages: batching::max_messages(),
            max_delay: batching::max_delay(),
            plain: batching::plain(),
        }
    }
}

/// A key that tokens are signed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtKey {
    /// The only algorithm that this key verifies.
    pub algorithm: Algorithm,
    /// The file in the Secret: a PEM public key, or the bytes of an HMAC secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The `kid` that chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub kid: Option<String>,
}

/// Keys from an identity provider (RFC 7517).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwks {
    /// An https URL. Redirects are not followed; 64 KiB, 5 s.
    #[schemars(length(min = 9, max = 2048))]
    pub url: String,
    /// How often it is read. At least 10s.
    #[serde(default = "jwks::refresh_period")]
    pub refresh_period: Duration,
    /// A Secret whose `ca.crt` vouches for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub ca_secret_name: Option<String>,
}

mod jwks {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn refresh_period() -> Duration {
        Duration::secs(600)
    }
}

/// Which tokens are good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// `iss` must be this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// `aud` must be or contain this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
    /// The Secret with the keys. A change of the name rolls the pods; what is in it is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub keys_secret_name: Option<String>,
    /// Several, for rotation. At most 16.
    #[serde(default = "jwt::keys")]
    #[schemars(length(max = 16))]
    pub keys: Vec<JwtKey>,
    /// Keys from an identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
}

mod jwt {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn keys() -> Vec<JwtKey> {
        Vec::new()
    }
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Disabled, Optional or Required.
    #[serde(default = "auth::mode")]
    pub mode: AuthMode,
    /// Whether `?token=` counts; URLs end in logs.
    #[serde(default = "auth::token_in_query")]
    pub token_in_query: Permission,
    /// Whether the first message may bring the token.
    #[serde(default = "auth::first_message")]
    pub first_message: Permission,
    /// Which tokens are good; must be there but for mode Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
}

mod auth {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn mode() -> AuthMode {
        AuthMode::Required
    }

    pub fn token_in_query() -> Permission {
        Permission::Deny
    }

    pub fn first_message() -> Permission {
        Permission::Deny
    }
}

/// What a channel keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Publications at most.
    #[schemars(range(min = 1, max = 100_000))]
    pub messages: u32,
    /// The age at which a publication goes. 1s to 30 days.
    pub max_age: Duration,
}

/// What may be done in some channels. The first rule that matches counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRule {
    /// `*` is one dot-separated part, `**` the rest; `@user` and `@all` are named in full.
    #[serde(rename = "match")]
    pub pattern: ChannelPattern,
    /// Who may subscribe.
    #[serde(default = "channelrule::subscribe")]
    pub subscribe: Access,
    /// Who may publish.
    #[serde(default = "channelrule::publish")]
    pub publish: Access,
    /// What is known of who is here.
    #[serde(default = "channelrule::presence")]
    pub presence: PresenceMode,
    /// What is kept; left out, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

mod channelrule {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn subscribe() -> Access {
        Access::Granted
    }

    pub fn publish() -> Access {
        Access::Granted
    }

    pub fn presence() -> PresenceMode {
        PresenceMode::Disabled
    }
}

/// How a pod goes away. Live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Closes are spread over so long.
    #[serde(default = "drain::period")]
    pub period: Duration,
    /// Before that, stay ready so long: load balancers learn slowly.
    #[serde(default = "drain::endpoint_grace")]
    pub endpoint_grace: Duration,
}

mod drain {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn period() -> Duration {
        Duration::secs(120)
    }

    pub fn endpoint_grace() -> Duration {
        Duration::secs(10)
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { period: drain::period(), endpoint_grace: drain::endpoint_grace() }
    }
}

/// Traces over OTLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Otlp {
    /// A gRPC endpoint.
    #[schemars(length(min = 1, max = 2048))]
    pub endpoint: String,
    /// The share of connections and API publishes that is traced, 0 to 1.
    #[serde(default = "otlp::sample_ratio")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_ratio: f64,
}

mod otlp {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn sample_ratio() -> f64 {
        0.01
    }
}

/// What the gateway says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Telemetry {
    /// What is logged.
    #[serde(default = "telemetry::log_level")]
    pub log_level: LogLevel,
    /// Where traces go; left out, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

mod telemetry {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn log_level() -> LogLevel {
        LogLevel::info
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log_level: telemetry::log_level(), otlp: None }
    }
}

/// TLS on the public port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The Secret with `tls.crt` and `tls.key`; they are reloaded live.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}

/// The NATS servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Nats {
    /// One or more, separated by commas.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// A Secret with `nats.creds`, or `user` and `password`, or `token`; and `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret_name: Option<String>,
}

/// How pods share what clients can see. Read at start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Memory or NATS.
    #[serde(rename = "type", default = "broker::kind")]
    pub kind: BrokerType,
    /// All histories of a pod together. Live.
    #[serde(default = "broker::history_bytes")]
    pub history_bytes: Size,
    /// The servers; must be there for NATS and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
}

mod broker {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn kind() -> BrokerType {
        BrokerType::Memory
    }

    pub fn history_bytes() -> Size {
        Size::new(64 << 20)
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self { kind: broker::kind(), history_bytes: broker::history_bytes(), nats: None }
    }
}

/// The server API. Read at start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// A Secret with `api-key`: a key a line.
    #[schemars(length(min = 1, max = 253))]
    pub key_secret_name: String,
}

/// Replicas by connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// At least so many.
    #[serde(default = "autoscaling::min_replicas")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_replicas: u32,
    /// At most so many.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_replicas: u32,
    /// Percent of connections to `maxConnections`.
    #[serde(default = "autoscaling::target_utilization")]
    #[schemars(range(min = 1, max = 100))]
    pub target_utilization: u32,
    /// Wait so long before asking for less. At most 1h.
    #[serde(default = "autoscaling::scale_down_stabilization")]
    pub scale_down_stabilization: Duration,
}

mod autoscaling {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn min_replicas() -> u32 {
        1
    }

    pub fn target_utilization() -> u32 {
        70
    }

    pub fn scale_down_stabilization() -> Duration {
        Duration::secs(600)
    }
}

/// What a gateway does and how it is deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeGatewaySpec {
    /// Pages that may connect: exact scheme, host and port, `*` is one label. Empty refuses every page. At most 64. Live.
    #[serde(default = "realtimegatewayspec::allowed_origins")]
    #[schemars(length(max = 64))]
    pub allowed_origins: Vec<OriginPattern>,
    /// Requests without an Origin, which no browser sends. Live.
    #[serde(default = "realtimegatewayspec::missing_origin")]
    pub missing_origin: Permission,
    /// Connections of a replica. Live.
    #[serde(default = "realtimegatewayspec::max_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// The longest message of a client, in bytes; 125 to 64Mi. Live.
    #[serde(default = "realtimegatewayspec::max_message_size")]
    pub max_message_size: Size,
    /// Ping a client after so long without traffic from it. At least 1s. Live.
    #[serde(default = "realtimegatewayspec::ping_period")]
    pub ping_period: Duration,
    /// Close with 4408 after so long without anything from it. Live.
    #[serde(default = "realtimegatewayspec::pong_wait")]
    pub pong_wait: Duration,
    /// A write must finish within it. At least 100ms. Live.
    #[serde(default = "realtimegatewayspec::write_wait")]
    pub write_wait: Duration,
    /// How the address of a client is known. Live, for new connections.
    #[serde(default = "realtimegatewayspec::client_address")]
    pub client_address: ClientAddress,
    /// Bounds of what clients may cost. Live.
    #[serde(default = "realtimegatewayspec::limits")]
    pub limits: Limits,
    /// permessage-deflate. Live, for new connections.
    #[serde(default = "realtimegatewayspec::compression")]
    pub compression: Compression,
    /// Envelopes that go out together. Live.
    #[serde(default = "realtimegatewayspec::batching")]
    pub batching: Batching,
    /// Who may connect. Must be there.
    pub auth: Auth,
    /// The rules; the first match counts. Left out: one for `**`, Anyone where `auth.mode` is Disabled and Granted otherwise. At most 128. Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub channels: Option<Vec<ChannelRule>>,
    /// How a pod goes away. Live.
    #[serde(default = "realtimegatewayspec::drain")]
    pub drain: Drain,
    /// What the gateway says of itself. Live.
    #[serde(default = "realtimegatewayspec::telemetry")]
    pub telemetry: Telemetry,
    /// The path of the WebSocket endpoint. Read at start.
    #[serde(default = "realtimegatewayspec::path")]
    #[schemars(length(min = 1, max = 255))]
    pub path: String,
    /// TLS on the public port. Read at start; certificates are live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How pods share what clients can see. Read at start.
    #[serde(default = "realtimegatewayspec::broker")]
    pub broker: Broker,
    /// The server API; left out, it is off. Read at start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// Pods; with autoscaling it belongs to the autoscaler.
    #[serde(default = "realtimegatewayspec::replicas")]
    #[schemars(range(min = 0, max = 1_000))]
    pub replicas: u32,
    /// Replicas by connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How pods are made; the operator reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<serde_json::Map<String, serde_json::Value>>,
    /// The Service; the operator reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<serde_json::Map<String, serde_json::Value>>,
    /// The route to the Service; the operator reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<serde_json::Map<String, serde_json::Value>>,
    /// Objects of monitoring; the operator reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<serde_json::Map<String, serde_json::Value>>,
    /// Who reaches the pods; the operator reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<serde_json::Map<String, serde_json::Value>>,
}

mod realtimegatewayspec {
    #[allow(clippy::wildcard_imports, unused_imports, reason = "names of the types above")]
    use super::*;

    pub fn allowed_origins() -> Vec<OriginPattern> {
        Vec::new()
    }

    pub fn missing_origin() -> Permission {
        Permission::Allow
    }

    pub fn max_connections() -> u32 {
        10_000
    }

    pub fn max_message_size() -> Size {
        Size::new(512 << 10)
    }

    pub fn ping_period() -> Duration {
        Duration::secs(54)
    }

    pub fn pong_wait() -> Duration {
        Duration::secs(60)
    }

    pub fn write_wait() -> Duration {
        Duration::secs(10)
    }

    pub fn client_address() -> ClientAddress {
        ClientAddress::default()
    }

    pub fn limits() -> Limits {
        Limits::default()
    }

    pub fn compression() -> Compression {
        Compression::default()
    }

    pub fn batching() -> Batching {
        Batching::default()
    }

    pub fn drain() -> Drain {
        Drain::default()
    }

    pub fn telemetry() -> Telemetry {
        Telemetry::default()
    }

    pub fn path() -> String {
        "/ws".to_owned()
    }

    pub fn broker() -> Broker {
        Broker::default()
    }

    pub fn replicas() -> u32 {
        1
    }
}

impl RealtimeGatewaySpec {
    /// The rules, the default one where there are none.
    pub fn rules(&self) -> Vec<ChannelRule> {
        self.channels.clone().unwrap_or_else(|| {
            let access = match self.auth.mode {
                AuthMode::Disabled => Access::Anyone,
                AuthMode::Optional | AuthMode::Required => Access::Granted,
            };
            vec![ChannelRule {
                pattern: ChannelPattern::any(),
                subscribe: access,
                publish: access,
                presence: PresenceMode::Disabled,
                history: None,
            }]
        })
    }

    /// What is read at start, by path: a change of it needs a new process.
    pub fn startup(&self) -> Vec<(&'static str, String)> {
        let Broker { kind, history_bytes: _, nats } = &self.broker;
        let jwt = self.auth.jwt.as_ref();
        vec![
            ("spec.path", self.path.clone()),
            ("spec.tls", format!("{:?}", self.tls)),
            ("spec.broker", format!("{kind:?} {nats:?}")),
            ("spec.api", format!("{:?}", self.api)),
            ("spec.auth.jwt.keysSecretName", format!("{:?}", jwt.map(|it| &it.keys_secret_name))),
        ]
    }
}
