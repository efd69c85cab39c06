//! One publication, laid out once for all who get it.

use std::{
    mem,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;

use crate::protocol::{
    Dialect,
    encoded::Encoded,
    position::Position,
    reply::{self, Message},
    topic::Topic,
};

/// What somebody wants published.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Where to.
    pub topic: Topic,
    /// JSON without insignificant white space.
    pub data: Bytes,
    /// Who publishes, where it is a client with a user; subscribers see it.
    pub user: Option<Arc<str>>,
    /// Makes a retry harmless in a topic with history; elsewhere it has no effect.
    pub key: Option<Key>,
    /// The connection that does not get it, by what the server API calls it.
    pub exclude: Option<Arc<str>>,
}

/// An idempotency key with whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

/// Whose key it is: nobody can silence a publication by having used the other's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyScope<'a> {
    /// A client with a user, on whichever connection.
    User(&'a str),
    /// A client without one; its keys end with its connection.
    Connection(&'a str),
    /// The server API.
    Api,
}

impl Key {
    /// The key `text` of `scope`.
    pub fn new(scope: KeyScope<'_>, text: &str) -> Self {
        // The length of the name keeps it apart from the text behind it.
        let scoped = match scope {
            KeyScope::User(user) => format!("u{}:{user}{text}", user.len()),
            KeyScope::Connection(connection) => format!("c{}:{connection}{text}", connection.len()),
            KeyScope::Api => format!("a:{text}"),
        };
        Self(scoped.into())
    }

    /// The text with its owner before it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// About what it costs to remember it, in bytes.
    pub(super) fn bytes(&self) -> usize {
        /// Its places in the stream's map and in the partition's queue.
        const SURROUNDINGS: usize = 192;
        SURROUNDINGS + self.0.len()
    }
}

/// Something published, as it goes to every subscriber and into the history. Shared, never changed.
#[derive(Debug)]
pub struct Publication {
    /// Where to.
    pub topic: Topic,
    /// Its place in the order, where the topic has history.
    pub position: Option<Position>,
    /// The connection that does not get it live.
    pub exclude: Option<Arc<str>>,
    /// When its home took it, since the start of the process.
    pub published_at: Duration,
    /// What is written to sockets.
    pub frames: Frames,
}

impl Publication {
    /// Lays it out; `now` is when its order was known.
    pub fn new(publish: Publish, position: Option<Position>, now: Duration) -> Self {
        let frames = Frames::new(&publish, position.map(|position| position.offset));
        let Publish { topic, exclude, .. } = publish;
        Self { topic, position, exclude, published_at: now, frames }
    }

    /// The payload of the `message` envelope, as it stands in a `history`.
    pub fn payload(&self, dialect: Dialect) -> &[u8] {
        reply::message_payload(self.frames.encoded(dialect).as_bytes())
    }

    /// About what it costs to keep it, in bytes: the frames, and a share of what surrounds them.
    pub(super) fn bytes(&self) -> usize {
        /// The publication itself, its place in two queues, and a topic that only it keeps alive.
        const SURROUNDINGS: usize = 256;
        let plain = self.frames.plain.as_ref().map_or(0, |plain| plain.frame().len());
        mem::size_of::<Self>() + SURROUNDINGS + self.frames.v1.frame().len() + plain
    }
}

/// The frames of a publication, one for each way it is written.
#[derive(Debug)]
pub struct Frames {
    v1: Encoded,
    /// Only where the plain dialect differs.
    plain: Option<Encoded>,
    deflated: [OnceLock<Option<Bytes>>; 2],
}

impl Frames {
    fn new(publish: &Publish, offset: Option<u64>) -> Self {
        let Publish { topic, data, user, .. } = publish;
        let encode = |channel: Option<&str>| {
            let message = Message { channel, data, offset, user: user.as_deref() };
            // The fixed tokens of a message are under 96 bytes.
            let names = channel.map_or(0, str::len) + user.as_ref().map_or(0, |user| user.len());
            Encoded::text(96 + names + data.len(), |out| reply::message(out, &message))
        };
        let plain = topic.is_reserved().then(|| encode(None));
        Self { v1: encode(Some(topic.name())), plain, deflated: Default::default() }
    }

    /// The uncompressed frame for a dialect.
    pub fn encoded(&self, dialect: Dialect) -> &Encoded {
        match (dialect, &self.plain) {
            (Dialect::Plain, Some(plain)) => plain,
            _ => &self.v1,
        }
    }

    /// The compressed frame for a dialect, `None` where `deflate` found it not worth it.
    ///
    /// `deflate` gets the envelope's text and is called at most once for each text, by the worker
    /// that needs it first; another one that needs it meanwhile waits for that.
    pub fn deflated(
        &self,
        dialect: Dialect,
        deflate: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> Option<&Bytes> {
        let encoded = self.encoded(dialect);
        let [v1, plain] = &self.deflated;
        let slot = match (dialect, &self.plain) {
            (Dialect::Plain, Some(_)) => plain,
            _ => v1,
        };
        slot.get_or_init(|| deflate(encoded.as_bytes())).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{channel::ChannelName, position::Epoch};

    fn publication(topic: Topic, user: Option<&str>, position: Option<Position>) -> Publication {
        let publish = Publish {
            topic,
            data: Bytes::from_static(br#"{"a":1}"#),
            user: user.map(Arc::from),
            key: None,
            exclude: None,
        };
        Publication::new(publish, position, Duration::ZERO)
    }

    fn text(publication: &Publication, dialect: Dialect) -> &str {
        str::from_utf8(publication.frames.encoded(dialect).as_bytes()).unwrap()
    }

    #[test]
    fn a_channels_message_is_the_same_in_both_dialects() {
        let topic = Topic::channel(ChannelName::parse("room").unwrap());
        let position = Position { epoch: Epoch(1), offset: 7 };

        let publication = publication(topic, Some("al"), Some(position));

        let payload = r#"{"channel":"room","data":{"a":1},"offset":7,"user":"al"}"#;
        for dialect in [Dialect::V1, Dialect::Plain] {
            let expected = format!(r#"{{"type":"message","payload":{payload}}}"#);
            assert_eq!(text(&publication, dialect), expected);
            assert_eq!(publication.payload(dialect), payload.as_bytes());
        }
    }

    #[test]
    fn plain_leaves_out_the_channel_of_a_broadcast_and_of_a_message_to_the_user() {
        for topic in [Topic::all(), Topic::user("al")] {
            let name = topic.name().to_owned();

            let publication = publication(topic, None, None);

            assert_eq!(
                text(&publication, Dialect::V1),
                format!(
                    r#"{{"type":"message","payload":{{"channel":"{name}","data":{{"a":1}}}}}}"#
                )
            );
            assert_eq!(
                text(&publication, Dialect::Plain),
                r#"{"type":"message","payload":{"data":{"a":1}}}"#
            );
        }
    }

    #[test]
    fn a_text_is_deflated_once() {
        let all = publication(Topic::all(), None, None);
        let mut calls = 0;
        for dialect in [Dialect::V1, Dialect::Plain, Dialect::V1, Dialect::Plain] {
            let deflated = all.frames.deflated(dialect, |text| {
                calls += 1;
                Some(Bytes::copy_from_slice(text))
            });
            assert_eq!(deflated.unwrap(), &all.frames.encoded(dialect).payload());
        }

        assert_eq!(calls, 2);
    }

    #[test]
    fn keys_of_different_owners_differ() {
        let keys = [
            Key::new(KeyScope::User("a"), "bc"),
            Key::new(KeyScope::User("ab"), "c"),
            Key::new(KeyScope::User(""), "abc"),
            Key::new(KeyScope::Connection("a"), "bc"),
            Key::new(KeyScope::Api, "bc"),
            Key::new(KeyScope::Api, "1:abc"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(key), "{key:?}");
        }
    }
}
