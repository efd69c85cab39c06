//! `/status`: what the operator reads, one object about one pod (docs/status.md).

use serde::Serialize;

/// The state of a pod. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `metadata.name` of the gateway.
    pub name: String,
    /// `metadata.namespace` of the gateway.
    pub namespace: String,
    /// The version of the program.
    pub version: String,
    /// How far the process is.
    pub state: State,
    /// Why it is not ready; empty when it is.
    pub not_ready: Vec<Reason>,
    /// Connections now.
    pub connections: u64,
    /// Connections that it can take: `spec.maxConnections`, or what its files allow if that is less.
    pub capacity: u64,
    /// Upgrades refused as `full` within the last 30 seconds.
    #[serde(rename = "refusedFull30s")]
    pub refused_full_30s: u64,
    /// What is configured.
    pub config: Config,
    /// Named Secrets that are not as they should be.
    pub secrets: Secrets,
    /// The way out.
    pub drain: Drain,
    /// The other pods.
    pub broker: Broker,
    /// What the public port shows; `None` without TLS.
    pub certificate: Option<Certificate>,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something that it needs is not there yet.
    Starting,
    /// Connections are taken.
    Serving,
    /// It was told to go: first the grace, in which connections are still taken, then the closes.
    Draining,
}

/// Why something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For programs; one of a closed set.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The hash of the manifest in use; `None` until everything it names has been there.
    pub hash: Option<String>,
    /// When it was applied.
    pub applied_at: Option<u64>,
    /// What lies in the folder and was refused; `None` while that is what is in use.
    pub error: Option<Refused>,
    /// Fields that were changed and count only after a restart.
    pub restart_required: Vec<String>,
}

/// A configuration that is not in use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refused {
    /// The hash of the refused manifest; `None` if it cannot be read.
    pub hash: Option<String>,
    /// Everything that is wrong, at most 100 findings.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where, such as `spec.pongWait`; empty for the manifest as a whole.
    pub path: String,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What stands there; empty where nothing does.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

/// Secrets, as `<name>/<file>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Secrets {
    /// Never seen; a gateway that was never ready waits for them.
    pub missing: Vec<String>,
    /// Seen once and gone; what was in them stays in use.
    pub vanished: Vec<String>,
}

/// The way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// How far it is.
    pub state: DrainState,
    /// Connections still to close.
    pub remaining: u64,
    /// When what is left is cut off; `None` while nothing drains.
    pub deadline: Option<u64>,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainState {
    /// Nobody asked for it.
    None,
    /// Connections are still taken, until load balancers know.
    Grace,
    /// Connections are closed, spread over `spec.drain.period`.
    Closing,
    /// Nothing is left.
    Done,
}

/// What stands between pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broker {
    /// `Memory` or `NATS`, as in the manifest.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it can be reached; always with Memory.
    pub connected: bool,
    /// Why it cannot be used though it can be reached.
    pub problem: Option<String>,
}

/// A certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// When it expires.
    pub not_after: i64,
}
