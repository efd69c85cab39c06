//! One client: its socket, what waits for it, and where it stands in each channel.

use std::{collections::VecDeque, io::{self, IoSlice}, net::IpAddr, sync::Arc, task::Waker};

use bytes::Bytes;

use super::transport::Transport;
use crate::{
    admission::load::Place,
    auth::identity::Identity,
    broker::publication::{ConnectionKey, Publication},
    hub::{outbox::{Bounds, Outbox}, subscribers::TopicId},
    protocol::{close::CloseReason, position::Position},
    session::{heartbeat::Heartbeat, pace::Pace},
    websocket::{assembler::Assembler, frame, handshake::Dialect},
};

/// The last two seconds of a connection: its close frame is read by the peer, or never.
pub const CLOSE_MS: u64 = 2_000;

/// Everything about one connection.
#[derive(Debug)]
pub struct Connection {
    pub key: ConnectionKey,
    pub transport: Transport,
    pub outbox: Outbox,
    pub assembler: Assembler,
    pub dialect: Dialect,
    /// The client's window, where messages may be compressed.
    pub window_bits: Option<u8>,
    pub identity: Identity,
    pub is_authenticated: bool,
    pub heartbeat: Heartbeat,
    pub pace: Pace,
    pub subscriptions: Vec<Subscription>,
    /// Answers that are to come before `welcome` is sent; nothing is read until then.
    pub opening: Option<usize>,
    pub closing: Option<Closing>,
    /// Reads nothing before this time: the client sent more bytes than it may.
    pub paused_until_ms: u64,
    /// When the first byte that waits began to wait.
    pub blocked_since_ms: Option<u64>,
    /// What waits may wait until then, for more to come.
    pub delayed_until_ms: Option<u64>,
    /// When the wheel looks here.
    pub armed_ms: u64,
    pub waker: Option<Waker>,
    pub address: IpAddr,
    pub opened_ms: u64,
    /// Echoes every message: the route of the conformance suite.
    pub is_echo: bool,
    pub places: Vec<Place>,
}

/// A connection that ends.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    pub reason: CloseReason,
    pub until_ms: u64,
    /// The sending direction has ended.
    pub is_finished: bool,
}

/// One subscription of a connection.
#[derive(Debug)]
pub struct Subscription {
    pub topic: TopicId,
    pub place: u32,
    /// The last offset that went out.
    pub after: u64,
    pub state: State,
}

/// How far a subscription is.
#[derive(Debug)]
pub enum State {
    /// Gets what is published.
    Live,
    /// Waits for the topic's home, or for the replay to end.
    Held(Box<Held>),
}

/// What is published meanwhile, and what is replayed first.
#[derive(Debug, Default)]
pub struct Held {
    /// The request's `id`; `None` outside where nobody asked.
    pub reply: Option<Option<Box<str>>>,
    /// Whether the home has answered.
    pub is_attached: bool,
    pub replay: VecDeque<Arc<Publication>>,
    pub held: VecDeque<Arc<Publication>>,
    /// Publications up to here were too many to hold.
    pub lost: Option<Position>,
    pub has_lost: bool,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written, or of no use any more.
    Done,
    /// Waits for the socket.
    Queued,
    /// Did not fit.
    Overflow,
    /// The transport is gone.
    Lost,
}

impl Connection {
    /// Writes a frame, or lets what the socket does not take wait.
    pub fn send(&mut self, frame: &Bytes, bounds: Option<Bounds>) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        self.put(frame, bounds)
    }

    fn put(&mut self, frame: &Bytes, bounds: Option<Bounds>) -> Sent {
        if self.outbox.is_empty() && !self.transport.wants_write() {
            return match self.transport.write(&[IoSlice::new(frame)]) {
                Ok(written) if written == frame.len() && !self.transport.wants_write() => Sent::Done,
                Ok(written) => {
                    self.outbox.push_rest(frame.slice(written.min(frame.len())..));
                    Sent::Queued
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.queue(frame, bounds),
                Err(_) => Sent::Lost,
            };
        }
        self.queue(frame, bounds)
    }

    fn queue(&mut self, frame: &Bytes, bounds: Option<Bounds>) -> Sent {
        match bounds {
            None => self.outbox.push_unbounded(frame.clone()),
            Some(bounds) => {
                if self.outbox.push(frame.clone(), bounds).is_err() {
                    return Sent::Overflow;
                }
            }
        }
        Sent::Queued
    }

    /// Lets a frame wait for more to come.
    pub fn delay(&mut self, frame: &Bytes, bounds: Bounds) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        self.queue(frame, Some(bounds))
    }

    /// Writes what waits; whether all is written.
    pub fn flush(&mut self) -> io::Result<bool> {
        let transport = &mut self.transport;
        let result = transport
            .flush()
            .and_then(|()| self.outbox.flush(|slices| transport.write(slices)));
        match result {
            Ok(()) => {
                let is_done = !self.transport.wants_write();
                if is_done {
                    self.blocked_since_ms = None;
                }
                Ok(is_done)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether something waits to be written now.
    pub fn has_unsent(&self) -> bool {
        self.transport.wants_write() || !self.outbox.is_empty() && self.delayed_until_ms.is_none()
    }

    /// Begins the end: what waits is forgotten, the close frame goes out behind what has begun.
    pub fn close(&mut self, now_ms: u64, reason: CloseReason, frame: &Bytes) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        self.outbox.forget_waiting();
        self.delayed_until_ms = None;
        self.closing = Some(Closing { reason, until_ms: now_ms + CLOSE_MS, is_finished: false });
        self.put(frame, None)
    }

    /// The close frame for a reason.
    pub fn close_frame(reason: CloseReason) -> Bytes {
        frame::close(reason.code(), reason.words())
    }

    /// The index of a subscription.
    pub fn subscription(&self, topic: TopicId) -> Option<usize> {
        self.subscriptions.iter().position(|it| it.topic == topic)
    }

    /// The frame of a publication for this client.
    pub fn frame_of<'a>(
        &self,
        publication: &'a Publication,
        deflate: impl FnOnce(&[u8]) -> Option<Bytes>,
    ) -> &'a Bytes {
        let dialected = match self.dialect {
            Dialect::V1 => publication.v1(),
            Dialect::Plain => publication.plain(),
        };
        let encoded = &dialected.encoded;
        // A message no longer than the client's window has no distance in it that is longer.
        let fits = |bits: u8| bits >= 15 || encoded.payload().len() <= 1 << bits;
        if self.window_bits.is_some_and(fits) {
            let deflated = dialected.deflated.get_or_init(|| deflate(encoded.payload()));
            return deflated.as_ref().unwrap_or(encoded.frame());
        }
        encoded.frame()
    }
}
