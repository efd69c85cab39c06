//! What a token says of a client.

use std::sync::{Arc, LazyLock};

use headgate_crds::value::ChannelPattern;

/// A key that vouched for somebody; the same key has the same name after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub u64);

/// What a token allows.
#[derive(Debug, Default)]
pub struct Grants {
    /// Channels to subscribe to.
    pub subscribe: Vec<ChannelPattern>,
    /// Channels to publish to.
    pub publish: Vec<ChannelPattern>,
    /// Channels whose members may be read without a subscription.
    pub presence: Vec<ChannelPattern>,
    /// Channels whose history may be read without a subscription.
    pub history: Vec<ChannelPattern>,
    /// Channels that are subscribed at connect.
    pub channels: Vec<String>,
}

impl Grants {
    /// Whether one of the patterns means the channel.
    pub fn any(patterns: &[ChannelPattern], channel: &str) -> bool {
        patterns.iter().any(|pattern| pattern.matches(channel))
    }
}

/// Who a client is. The default is anonymous.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `sub`.
    pub user: Option<Arc<str>>,
    /// `exp`, in seconds since 1970.
    pub expires: Option<u64>,
    /// What the token allows.
    pub grants: Arc<Grants>,
    /// `jti`.
    pub jti: Option<Arc<str>>,
    /// What presence shows, as JSON.
    pub info: Option<Arc<str>>,
    /// Who vouched; `None` without a token.
    pub key: Option<KeyId>,
}

impl Default for Identity {
    fn default() -> Self {
        /// Who has no token has no grants, and they all have the same none.
        static NONE: LazyLock<Arc<Grants>> = LazyLock::new(Arc::default);
        Self {
            user: None,
            expires: None,
            grants: Arc::clone(&NONE),
            jti: None,
            info: None,
            key: None,
        }
    }
}
