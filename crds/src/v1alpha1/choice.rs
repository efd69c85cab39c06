//! Choices between two that several settings share. Words rather than booleans: a third may come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether something is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// Let in.
    Allow,
    /// Refused.
    Deny,
}

/// Whether something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Switch {
    /// On.
    Enabled,
    /// Off.
    Disabled,
}

/// Whether the operator installs an object of another project's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Install {
    /// Where its type is installed in the cluster.
    Auto,
    /// Never.
    Disabled,
}
