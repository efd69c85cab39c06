//! Names of channels, and the topics the hub keeps for them.

use std::{fmt, sync::Arc};

/// The longest name of a channel, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A name that is not a channel's: not 1 to 255 bytes, a control character, `*`, an empty part
/// between dots, or an `@` at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a channel name")]
pub struct InvalidName;

/// What subscriptions, publications and history belong to: a channel, the messages to one user, or
/// the broadcasts.
///
/// Names are compared as bytes. Those that begin with `@` are the gateway's, so the key of a user
/// cannot meet a channel's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

const ALL: &str = "@all";
const USER: &str = "@user";
const USER_PREFIX: &str = "@user/";

impl Topic {
    /// The topic of a channel that a client or the server API named.
    pub fn channel(name: &str) -> Result<Self, InvalidName> {
        let is_valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.starts_with('@')
            && !name.chars().any(|c| c.is_control() || c == '*')
            && name.split('.').all(|part| !part.is_empty());
        if is_valid { Ok(Self(name.into())) } else { Err(InvalidName) }
    }

    /// The broadcasts.
    pub fn all() -> Self {
        Self(ALL.into())
    }

    /// The messages to one user.
    pub fn user(user: &str) -> Self {
        Self(format!("{USER_PREFIX}{user}").into())
    }

    /// What a client calls it where it names it among `@all` and `@user`.
    pub fn named_by(name: &str, user: Option<&str>) -> Result<Self, InvalidName> {
        match (name, user) {
            (ALL, _) => Ok(Self::all()),
            (USER, Some(user)) => Ok(Self::user(user)),
            _ => Self::channel(name),
        }
    }

    /// The name that clients and rules see: the channel, `@all` or `@user`.
    pub fn name(&self) -> &str {
        if self.0.starts_with(USER_PREFIX) { USER } else { &self.0 }
    }

    /// The name that is like no other topic's.
    pub fn key(&self) -> &str {
        &self.0
    }

    /// Whether this is the gateway's own, which every connection has from the start.
    pub fn is_own(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Whether this is the broadcasts' topic.
    pub fn is_all(&self) -> bool {
        &*self.0 == ALL
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_the_protocol() {
        let check = |name: &str, is_valid| {
            assert_eq!(Topic::channel(name).is_ok(), is_valid, "{name:?}");
        };
        check("room.42", true);
        check("räume und > $SYS/_INBOX", true);
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
        check("", false);
        check(".", false);
        check("a..b", false);
        check("a.", false);
        check("a.*", false);
        check("a\nb", false);
        check("a\u{7f}", false);
        check("@all", false);
    }

    #[test]
    fn a_users_topic_is_no_channel_and_hides_the_user() {
        let topic = Topic::user("al.ice");

        assert_eq!(topic.name(), "@user");
        assert_ne!(topic, Topic::user("bob"));
        assert_eq!(Topic::channel(topic.key()), Err(InvalidName));
    }
}
