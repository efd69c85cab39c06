//! What clients may do in which channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AuthMode;
use crate::value::{ChannelPattern, Duration};

/// What clients may do in the channels that `match` names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRule {
    /// The channels. Stars don't match the gateway's own, such as `@user`: name those.
    pub r#match: ChannelPattern,
    /// Who may subscribe.
    #[serde(default)]
    pub subscribe: Access,
    /// Who may publish.
    #[serde(default)]
    pub publish: Access,
    /// Whether the channel knows who is in it.
    #[serde(default)]
    pub presence: Presence,
    /// What is kept of the publications, within `broker.historyBytes`. Left out, nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

impl ChannelRule {
    /// The rule that counts where a manifest has none: `**`, for anyone where there are no tokens, else by the token.
    pub(super) fn for_everything(mode: AuthMode) -> Self {
        let access = match mode {
            AuthMode::Disabled => Access::Anyone,
            AuthMode::Optional | AuthMode::Required => Access::Granted,
        };
        Self {
            r#match: ChannelPattern::everything(),
            subscribe: access,
            publish: access,
            presence: Presence::Disabled,
            history: None,
        }
    }
}

/// Who may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// Every client.
    Anyone,
    /// Every client whose token names a user.
    Authenticated,
    /// Clients whose token grants it for the channel.
    #[default]
    Granted,
    /// No client, whatever its token says; only the server API.
    Nobody,
}

/// Whether a channel knows who is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Presence {
    /// No.
    #[default]
    Disabled,
    /// Clients may ask.
    Enabled,
    /// Clients may ask, and `join` and `leave` are sent to the channel.
    Announced,
}

/// What is kept of a channel's publications, within `broker.historyBytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct History {
    /// The newest so many.
    #[schemars(range(min = 1, max = 100_000))]
    pub messages: u32,
    /// As long as they are no older than this.
    #[schemars(extend("x-headgate-range" = ["100ms", "720h"]))]
    pub max_age: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self { messages: 100, max_age: Duration::from_secs(300) }
    }
}
