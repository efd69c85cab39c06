//! The configuration: one manifest and the Secrets it names, read from folders and read again when
//! they change.
//!
//! A configuration is applied whole or not at all. The last good one stays in use, and [`State`] says
//! what is wrong with the new one, where, and which fields wait for a restart. The rules are pure
//! ([`evaluate`] decides about a [`Snapshot`](snapshot::Snapshot)); [`watch`] brings the files.

pub mod open_files;

pub mod document;
mod secret;
mod snapshot;

mod api_keys;
mod keys;
pub mod nats;
pub mod tls;

mod evaluate;
mod state;
mod watch;

use std::{path::PathBuf, sync::Arc};

use headgate_crds::{
    manifest::Finding,
    v1alpha1::{ChannelRule, RealtimeGatewaySpec},
};

pub use self::{
    secret::{Secret, SecretFile},
    state::{Refusal, State},
    watch::{Watched, Watcher, open},
};
use crate::auth::token::Verifier;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The manifest.
    pub manifest: PathBuf,
    /// The folder of the Secrets; a file is `<secrets>/<secretName>/<key>`, as a pod mounts it.
    pub secrets: PathBuf,
}

/// A manifest that has passed every check, with everything that it names.
///
/// Fields that are read at start are here as they were at start.
#[derive(Debug)]
pub struct Config {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// Names the manifest's text: what `/status` and `realtime_gateway_config_info` show.
    pub hash: String,
    /// `spec`, with the defaults of what is left out.
    pub spec: Arc<RealtimeGatewaySpec>,
    /// The rules for channels, with the default one where the manifest has none.
    pub rules: Vec<ChannelRule>,
    /// What vouches for tokens, but for the keys of a key set.
    pub verifier: Verifier,
    /// `ca.crt` for the key set, where a Secret for it is named.
    pub jwks_ca: Option<Secret>,
    /// The keys of the server API; without one it is off.
    pub api_keys: Vec<Secret>,
    /// Who the gateway is for NATS, where a Secret for it is named.
    pub nats: Option<nats::Credentials>,
    /// TLS for new connections, where the manifest has it.
    pub tls: Option<tls::Tls>,
}

/// Why there is no first configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The manifest cannot be read.
    #[error("cannot read the manifest {}", path.display())]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The manifest is refused.
    #[error("the manifest {} is refused", path.display())]
    Refused {
        /// Which one.
        path: PathBuf,
        /// Everything that is wrong with it.
        findings: Vec<Finding>,
    },
}
