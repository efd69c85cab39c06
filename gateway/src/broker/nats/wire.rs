//! A publication as it goes between pods: a line about it, and the data as clients get it.
//!
//! ```text
//! {"v":1,"user":"alice","exclude":"00a1…"}
//! {"text":"hello"}
//! ```
//!
//! A rollout runs two versions at once. So a reader ignores fields that it does not know, and
//! understands its own version and the next one; a version that changes what is here must still be
//! read by the one before it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    broker::publication::{Key, Publish},
    protocol::topic::Topic,
};

/// The version of all that goes between pods, as it is written.
pub(super) const VERSION: u32 = 1;

/// The longest line about a publication: a user and a connection, escaped.
const LINE_BYTES_MAX: usize = 4096;

/// What stands about a publication in its first line.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    v: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    exclude: Option<std::borrow::Cow<'a, str>>,
    /// The data is about who came and who went, not for clients.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    roster: bool,
}

/// What a message carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A publication for everybody who listens.
    Publication(Publish),
    /// Who came to a channel and who went, in the words of [`super::roster`].
    Roster(Bytes),
}

/// Why what came is not understood. A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It is not of the form that gateways write.
    #[error("not a publication of a gateway")]
    Malformed,
    /// It is of a version that is neither this one nor its neighbour.
    #[error("of another version")]
    Version,
    /// Its data is longer than `maxMessageSize`.
    #[error("longer than maxMessageSize")]
    Oversized,
    /// It came from a stream or a subject that is not this gateway's.
    #[error("not from this gateway")]
    Foreign,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::Version, Self::Oversized, Self::Foreign];

    /// The label of the metric.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Oversized => "oversized",
            Self::Foreign => "foreign",
        }
    }
}

/// The payload of a message with this publication.
pub fn encode(publish: &Publish) -> Bytes {
    let line = Line {
        v: VERSION,
        user: publish.user.as_deref().map(Into::into),
        exclude: publish.exclude.as_deref().map(Into::into),
        roster: false,
    };
    lines(&line, &publish.data)
}

/// The payload of a message about who came to a channel and who went.
pub fn encode_roster(event: &[u8]) -> Bytes {
    lines(&Line { v: VERSION, user: None, exclude: None, roster: true }, event)
}

fn lines(line: &Line<'_>, data: &[u8]) -> Bytes {
    let mut payload = Vec::with_capacity(64 + data.len());
    // Writing to a Vec never fails, and strings are always JSON.
    let _ = serde_json::to_writer(&mut payload, line);
    payload.push(b'\n');
    payload.extend_from_slice(data);
    payload.into()
}

/// What a message carries.
///
/// # Errors
///
/// [`Dropped`]: whoever may write to the subject can write anything, so everything is checked that
/// goes on to clients.
pub fn decode(topic: &Topic, payload: &Bytes, data_bytes_max: usize) -> Result<Payload, Dropped> {
    let head = payload.get(..payload.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    let end = memchr::memchr(b'\n', head).ok_or(Dropped::Malformed)?;
    let line = payload.get(..end).unwrap_or_default();
    let line: Line<'_> = serde_json::from_slice(line).map_err(|_| Dropped::Malformed)?;
    check_version(line.v)?;
    let data = payload.slice(end + 1..);
    if data.len() > data_bytes_max {
        return Err(Dropped::Oversized);
    }
    // It is written into a frame's envelope as it is, and envelopes are told apart by line feeds.
    if memchr::memchr(b'\n', &data).is_some() {
        return Err(Dropped::Malformed);
    }
    let _: &RawValue = serde_json::from_slice(&data).map_err(|_| Dropped::Malformed)?;
    if line.roster {
        return Ok(Payload::Roster(data));
    }
    Ok(Payload::Publication(Publish {
        topic: topic.clone(),
        data,
        user: line.user.map(|it| Arc::from(&*it)),
        key: None,
        exclude: line.exclude.map(|it| Arc::from(&*it)),
    }))
}

/// Whether something of this version is understood.
pub(super) const fn check_version(v: u32) -> Result<(), Dropped> {
    if v == VERSION || v == VERSION + 1 { Ok(()) } else { Err(Dropped::Version) }
}

/// What makes a retry of a publication harmless, in the words of the stream: `Nats-Msg-Id`. The
/// stream knows ids for all its topics together, so the topic is in it.
pub fn message_id(topic: &Topic, key: &Key) -> String {
    let mut hash = Sha256::new();
    // The length keeps the topic apart from the key behind it.
    hash.update(topic.key().len().to_be_bytes());
    hash.update(topic.key());
    hash.update(key.as_str());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{broker::KeyScope, protocol::channel::ChannelName};

    fn room() -> Topic {
        Topic::channel(ChannelName::parse("room").unwrap())
    }

    fn publication(payload: &Bytes, data_bytes_max: usize) -> Result<Publish, Dropped> {
        match decode(&room(), payload, data_bytes_max)? {
            Payload::Publication(publish) => Ok(publish),
            Payload::Roster(_) => panic!("a publication was expected"),
        }
    }

    #[test]
    fn what_is_told_of_a_roster_is_no_publication() {
        let payload = encode_roster(b"{}");
        assert!(
            matches!(decode(&room(), &payload, 100), Ok(Payload::Roster(data)) if data == "{}")
        );
    }

    fn check(payload: &str, expected: Result<&str, Dropped>) {
        let decoded = publication(&Bytes::copy_from_slice(payload.as_bytes()), 16);
        let data = decoded.map(|it| String::from_utf8(it.data.to_vec()).unwrap());
        assert_eq!(data, expected.map(str::to_owned), "{payload:?}");
    }

    #[test]
    fn only_what_gateways_write_is_passed_on() {
        check("{\"v\":1}\n{\"a\":1}", Ok("{\"a\":1}"));
        check("{\"v\":2,\"new\":[1]}\n1", Ok("1"));
        check("{\"v\":3}\n1", Err(Dropped::Version));
        check("{\"v\":0}\n1", Err(Dropped::Version));
        check("{\"v\":1}\n12345678901234567", Err(Dropped::Oversized));
        for malformed in
            ["", "1", "{\"v\":1}", "{\"v\":1}\n", "{\"v\":1}\n{", "{}\n1", "{\"v\":1}\n[1,\n2]"]
        {
            check(malformed, Err(Dropped::Malformed));
        }
    }

    proptest! {
        #[test]
        fn a_publication_survives_the_way(user: Option<String>, exclude: Option<String>, text in ".{0,40}") {
            let data = Bytes::from(serde_json::to_string(&text).unwrap());
            let publish = Publish {
                topic: room(),
                data: data.clone(),
                user: user.as_deref().map(Arc::from),
                key: None,
                exclude: exclude.as_deref().map(Arc::from),
            };
            let decoded = publication(&encode(&publish), 1_000).unwrap();
            prop_assert_eq!(decoded.data, data);
            prop_assert_eq!(decoded.user, publish.user);
            prop_assert_eq!(decoded.exclude, publish.exclude);
        }

        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = decode(&room(), &payload.into(), 100);
        }
    }

    #[test]
    fn a_key_counts_for_its_topic_and_its_owner() {
        let ids = [
            message_id(&room(), &Key::new(KeyScope::Api, "k")),
            message_id(&Topic::all(), &Key::new(KeyScope::Api, "k")),
            message_id(&room(), &Key::new(KeyScope::User("k"), "k")),
        ];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
    }
}
