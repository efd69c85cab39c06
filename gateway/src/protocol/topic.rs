//! What can be subscribed to: a channel, everybody, or one user.
//!
//! The key tells topics apart inside the gateway; the name is what clients and the manifest's rules
//! see. Channel names never begin with `@`, so no client can name its way into another's topic.

use std::{borrow::Borrow, sync::Arc};

use super::channel::{ChannelInvalid, ChannelName};

const ALL: &str = "@all";
const USER: &str = "@user";
const USER_PREFIX: &str = "@user/";

/// A place that publications go to. Cheap to clone; hashed and compared by its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic of a channel.
    pub fn channel(name: ChannelName<'_>) -> Self {
        Self(name.as_str().into())
    }

    /// The topic of broadcasts, which every connection has.
    pub fn all() -> Self {
        Self(ALL.into())
    }

    /// The topic of messages to one user, which every connection of that user has.
    pub fn user(user: &str) -> Self {
        Self(format!("{USER_PREFIX}{user}").into())
    }

    /// What a client calls `text`: a channel, `@all`, or `@user`, which is the client's own.
    ///
    /// # Errors
    ///
    /// [`ChannelInvalid`] for every other text that begins with `@`, for `@user` of a client that
    /// has no user, and for what is no channel name.
    pub fn named(text: &str, user: Option<&str>) -> Result<Self, ChannelInvalid> {
        match (text, user) {
            (ALL, _) => Ok(Self::all()),
            (USER, Some(user)) => Ok(Self::user(user)),
            _ => ChannelName::parse(text).map(Self::channel),
        }
    }

    /// What clients and the manifest's rules see: `room.1`, `@all`, `@user`.
    pub fn name(&self) -> &str {
        if self.0.starts_with(USER_PREFIX) { USER } else { &self.0 }
    }

    /// What tells this topic from every other: `room.1`, `@all`, `@user/alice`.
    pub fn key(&self) -> &str {
        &self.0
    }

    /// Whether this is `@all` or a user's topic: the plain dialect leaves their names out.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('@')
    }
}

/// Lets a map of topics be searched by key, without making a topic first.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topic: &Topic, name: &str, key: &str, is_reserved: bool) {
        assert_eq!((topic.name(), topic.key(), topic.is_reserved()), (name, key, is_reserved));
    }

    #[test]
    fn names_are_for_clients_and_keys_for_us() {
        check(&Topic::named("room.1", None).unwrap(), "room.1", "room.1", false);
        check(&Topic::named("@all", None).unwrap(), "@all", "@all", true);
        check(&Topic::named("@user", Some("alice")).unwrap(), "@user", "@user/alice", true);
    }

    #[test]
    fn no_name_reaches_the_topic_of_another_user() {
        for text in ["@user/alice", "@user/", "@other", "@"] {
            assert_eq!(Topic::named(text, Some("bob")), Err(ChannelInvalid::Reserved), "{text}");
        }
        assert_eq!(Topic::named("@user", None), Err(ChannelInvalid::Reserved));
    }

    #[test]
    fn odd_users_have_topics_of_their_own() {
        assert_ne!(Topic::user(""), Topic::all());
        assert_ne!(Topic::user("/a"), Topic::user("a"));
        check(&Topic::user("a/b.*"), "@user", "@user/a/b.*", true);
    }
}
