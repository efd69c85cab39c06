//! Which fields are live, which are read once at start, and which are about deployment.
//!
//! [`RealtimeGatewaySpec::APPLIED`] names every field in exactly one place and does not compile when one is forgotten.
//! The names of Secrets are read at start wherever they stand: each is a volume of the pod. What is in them is live.

use super::{Api, Broker, RealtimeGatewaySpec, Tls};

/// When a change of a field takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// At once, in the running pods.
    Live,
    /// With the next start. The operator rolls the pods; a gateway outside a cluster says that it needs a restart.
    AtStart,
    /// By the operator. The gateway does not read it.
    Deployment,
}

/// Says for each field when it is applied, and takes the spec apart so that none is missing.
macro_rules! applied {
    ($($when:ident: $($field:ident = $name:literal),+ $(,)?;)+) => {
        impl RealtimeGatewaySpec {
            /// Every field of the spec, by its name in the manifest, and when a change of it is applied.
            pub const APPLIED: &[(&str, Applied)] = &[$($(($name, Applied::$when)),+),+];

            #[allow(dead_code, reason = "it exists to be compiled: a field that is not listed is an error")]
            fn every_field_is_listed(&self) {
                let Self { $($($field: _),+),+ } = self;
            }
        }
    };
}

applied! {
    Live:
        allowed_origins = "allowedOrigins",
        missing_origin = "missingOrigin",
        max_connections = "maxConnections",
        max_message_size = "maxMessageSize",
        ping_period = "pingPeriod",
        pong_wait = "pongWait",
        write_wait = "writeWait",
        client_address = "clientAddress",
        limits = "limits",
        compression = "compression",
        batching = "batching",
        auth = "auth",
        channels = "channels",
        drain = "drain",
        telemetry = "telemetry";
    AtStart:
        path = "path",
        tls = "tls",
        broker = "broker",
        api = "api";
    Deployment:
        replicas = "replicas",
        autoscaling = "autoscaling",
        deployment = "deployment",
        service = "service",
        route = "route",
        monitoring = "monitoring",
        network_policy = "networkPolicy";
}

/// What a gateway reads once, when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// `path`
    pub path: String,
    /// `tls`
    pub tls: Option<Tls>,
    /// `broker`
    pub broker: Broker,
    /// `api`
    pub api: Api,
    /// `auth.jwt.keysSecretName`
    pub keys_secret_name: Option<String>,
    /// `auth.jwt.jwks.caSecretName`
    pub ca_secret_name: Option<String>,
}

impl Startup {
    /// The paths of what is not as it was at the start: what needs a restart.
    pub fn changed_since(&self, start: &Self) -> Vec<&'static str> {
        let Self { path, tls, broker, api, keys_secret_name, ca_secret_name } = self;
        let same = [
            ("spec.path", *path == start.path),
            ("spec.tls", *tls == start.tls),
            ("spec.broker", *broker == start.broker),
            ("spec.api", *api == start.api),
            ("spec.auth.jwt.keysSecretName", *keys_secret_name == start.keys_secret_name),
            ("spec.auth.jwt.jwks.caSecretName", *ca_secret_name == start.ca_secret_name),
        ];
        same.into_iter().filter(|(_, is_same)| !is_same).map(|(path, _)| path).collect()
    }
}

impl RealtimeGatewaySpec {
    /// What a gateway reads once, when it starts with this spec.
    pub fn startup(&self) -> Startup {
        let jwt = self.auth.jwt.as_ref();
        let jwks = jwt.and_then(|jwt| jwt.jwks.as_ref());
        Startup {
            path: self.path.clone(),
            tls: self.tls.clone(),
            broker: self.broker.clone(),
            api: self.api.clone(),
            keys_secret_name: jwt.and_then(|jwt| jwt.keys_secret_name.clone()),
            ca_secret_name: jwks.and_then(|jwks| jwks.ca_secret_name.clone()),
        }
    }

    /// The Secrets that the gateway reads, each by the path of the field that names it.
    pub fn secrets(&self) -> Vec<(&'static str, &str)> {
        let jwt = self.auth.jwt.as_ref();
        let jwks = jwt.and_then(|jwt| jwt.jwks.as_ref());
        let nats = self.broker.nats.as_ref();
        let names = [
            ("spec.auth.jwt.keysSecretName", jwt.and_then(|jwt| jwt.keys_secret_name.as_deref())),
            (
                "spec.auth.jwt.jwks.caSecretName",
                jwks.and_then(|jwks| jwks.ca_secret_name.as_deref()),
            ),
            ("spec.tls.secretName", self.tls.as_ref().map(|tls| tls.secret_name.as_str())),
            (
                "spec.broker.nats.credentialsSecretName",
                nats.and_then(|nats| nats.credentials_secret_name.as_deref()),
            ),
            ("spec.api.keySecretName", self.api.key_secret_name.as_deref()),
        ];
        names.into_iter().filter_map(|(path, name)| Some((path, name?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_needs_a_restart() {
        let start = RealtimeGatewaySpec::default();
        let mut later = start.clone();
        later.max_connections = 5;
        assert_eq!(later.startup().changed_since(&start.startup()), [""; 0]);

        later.path = "/other".to_owned();
        later.api.key_secret_name = Some("chat-api".to_owned());

        assert_eq!(later.startup().changed_since(&start.startup()), ["spec.path", "spec.api"]);
        assert_eq!(later.secrets(), [("spec.api.keySecretName", "chat-api")]);
    }
}
