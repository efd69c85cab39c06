//! One message of a topic, encoded once for all who get it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::protocol::{encoded::Encoded, position::Position, reply, topic::Topic};

/// A connection's name inside its pod: worker, slot and a number that no other one has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub u64);

impl ConnectionKey {
    /// The name for a slot of a worker; `nonce` keeps it apart from who had the slot before.
    pub fn new(worker: usize, slot: usize, nonce: u32) -> Self {
        Self((worker as u64 & 0xff) << 56 | (slot as u64 & 0xff_ffff) << 32 | u64::from(nonce))
    }

    /// The worker that holds the connection.
    pub fn worker(self) -> usize {
        usize::try_from(self.0 >> 56).unwrap_or_default()
    }

    /// Its slot on that worker.
    pub fn slot(self) -> usize {
        usize::try_from(self.0 >> 32 & 0xff_ffff).unwrap_or_default()
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let key = u64::from_str_radix(text, 16).ok().map(Self)?;
        (key.to_string() == text).then_some(key)
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What clients with one dialect get; compressed when the first of them wants it so.
#[derive(Debug)]
pub struct Dialected {
    /// The plain frame.
    pub encoded: Encoded,
    /// The compressed frame, or that it is not worth it.
    pub deflated: OnceLock<Option<Bytes>>,
}

impl Dialected {
    fn new(encoded: Encoded) -> Self {
        Self { encoded, deflated: OnceLock::new() }
    }
}

/// A message of a topic.
#[derive(Debug)]
pub struct Publication {
    /// What it was published to.
    pub topic: Topic,
    /// Where it stands, in a topic with history.
    pub position: Option<Position>,
    /// Who published it, where that was a client with a user.
    pub user: Option<Arc<str>>,
    /// The JSON, sharing the frame's memory.
    pub data: Bytes,
    /// When it was published, in milliseconds since the process began.
    pub at_ms: u64,
    v1: Dialected,
    /// `None`: the same as `v1`.
    plain: Option<Box<Dialected>>,
}

impl Publication {
    /// Encodes a message for both dialects.
    pub fn new(
        topic: Topic,
        position: Option<Position>,
        user: Option<Arc<str>>,
        data: &[u8],
        at_ms: u64,
    ) -> Self {
        let offset = position.map(|at| at.offset);
        let size = data.len() + topic.name().len() + 64;
        let mut range = 0..0;
        let v1 = Encoded::build(size, |out| {
            let start = out.len();
            range = reply::message(out, Some(topic.name()), data, offset, user.as_deref());
            range = range.start - start..range.end - start;
        });
        let plain = topic.is_own().then(|| {
            let encoded = Encoded::build(size, |out| {
                reply::message(out, None, data, offset, user.as_deref());
            });
            Box::new(Dialected::new(encoded))
        });
        Self { data: v1.slice(range), topic, position, user, at_ms, v1: Dialected::new(v1), plain }
    }

    /// The frames for clients of the `headgate.v1` dialect.
    pub fn v1(&self) -> &Dialected {
        &self.v1
    }

    /// The frames for clients of the plain dialect.
    pub fn plain(&self) -> &Dialected {
        self.plain.as_deref().unwrap_or(&self.v1)
    }

    /// What it costs to keep, in bytes.
    pub fn cost(&self) -> usize {
        let plain = self.plain.as_ref().map_or(0, |it| it.encoded.frame().len());
        self.v1.encoded.frame().len() + plain + 256
    }

    /// The publication as an item of a `history` answer.
    pub fn past(&self) -> reply::Past<'_> {
        let offset = self.position.map_or(0, |at| at.offset);
        reply::Past { data: &self.data, offset, user: self.user.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_name_is_read_back() {
        let key = ConnectionKey::new(3, 70_000, 9);
        assert_eq!((key.worker(), key.slot()), (3, 70_000));
        assert_eq!(ConnectionKey::parse(&key.to_string()), Some(key));
        assert_eq!(ConnectionKey::parse("zz"), None);
    }

    #[test]
    fn plain_clients_get_broadcasts_without_a_channel() {
        let publication = Publication::new(Topic::all(), None, None, b"{\"a\":1}", 0);

        assert_eq!(
            publication.plain().encoded.payload(),
            br#"{"type":"message","payload":{"data":{"a":1}}}"#
        );
        assert_eq!(
            publication.v1().encoded.payload(),
            br#"{"type":"message","payload":{"channel":"@all","data":{"a":1}}}"#
        );
        assert_eq!(publication.data, "{\"a\":1}");
    }
}
