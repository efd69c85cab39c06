//! What there is to say about the configuration, beside the configuration itself.
//!
//! `/status`, the metrics and the log all read this one value, so they never disagree.

use std::time::SystemTime;

use headgate_crds::manifest::Finding;

use super::secret::SecretFile;

/// The state of the configuration at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The hash of the manifest in use; `None` until everything it names has been there once.
    pub hash: Option<String>,
    /// When the configuration in use was applied.
    pub applied_at: Option<SystemTime>,
    /// How many configurations were applied, the first included.
    pub applied: u64,
    /// How many were refused.
    pub refused: u64,
    /// What in the folders is not in use, and why; `None` while all of it is.
    pub refusal: Option<Refusal>,
    /// Fields of the manifest, as paths, that differ from what was read at start.
    pub restart_required: Vec<&'static str>,
    /// Files of named Secrets that are not there and never were. While there are any at start, the
    /// gateway is not ready.
    pub missing: Vec<SecretFile>,
    /// Files that were there and no longer are. Their Secret is gone, and its contents stay in use;
    /// or their Secret is there without them, and a key in them counts no longer.
    pub vanished: Vec<SecretFile>,
    /// When the certificate in use expires, in seconds since 1970; `None` without TLS.
    pub certificate_not_after: Option<i64>,
}

/// What is in the folders and not in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The hash of the manifest in the folder; `None` if it cannot be read.
    pub hash: Option<String>,
    /// Everything that is wrong with it or with the Secrets it names.
    pub findings: Vec<Finding>,
}
