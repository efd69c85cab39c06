//! One client: its socket, what waits for it, and where it stands in each channel.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
    task::Waker,
};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{key::ConnectionKey, message::Ending, transport::Transport};
use crate::{
    admission::load::Place,
    auth::identity::Identity,
    broker::{ClientPosition, Position, Publication},
    hub::{
        outbox::{Bounds, Item, Joining, Outbox},
        subscribers::TopicId,
    },
    protocol::{Dialect, close::CloseReason, encoded::Encoded},
    session::{heartbeat::Heartbeat, pace::Pace},
    telemetry::trace::Span,
    websocket::{assembler::Assembler, frame},
};

/// The last two seconds of a connection: its close frame is read by the peer, or never.
pub const CLOSE_MS: u64 = 2_000;

/// Everything about one connection.
///
/// What a delivery touches stands first, in one cache line: at ten thousand receivers each line more
/// is a tenth of what a delivery costs beside the kernel's part.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Connection {
    pub transport: Transport,
    pub outbox: Outbox,
    pub closing: Option<Box<Closing>>,
    pub dialect: Dialect,
    /// The client's window, where messages may be compressed.
    pub window_bits: Option<u8>,
    /// The last message, either way: pings and pongs are none.
    pub active: Tenths,

    pub stage: Stage,
    pub key: ConnectionKey,
    pub subscriptions: Vec<Subscription>,
    pub assembler: Assembler,
    pub waker: Option<Waker>,
    pub heartbeat: Heartbeat,
    pub pace: Pace,
    /// Reads nothing before this time: the client sent more bytes than it may.
    pub paused_until_ms: u64,
    /// Since when the write that is under way has been.
    pub blocked_since_ms: Option<u64>,
    /// What waits may wait until then, for more to come.
    pub delayed_until_ms: Option<u64>,
    /// When the wheel looks here; 0: it does not.
    pub armed_ms: u64,
    pub opened_ms: u64,
    /// What came and was not read: behind the request, or more than the client's turn.
    pub unread: Option<Bytes>,
    pub identity: Identity,
    /// Envelopes that came in one frame with the first token.
    pub unasked: Option<Box<str>>,
    /// Given back when the connection is dropped.
    pub places: SmallVec<[Place; 2]>,
    pub span: Option<Box<Span>>,
}

/// The last of what a delivery touches is within the first cache line.
const _: () = assert!(std::mem::offset_of!(Connection, active) < 64);

/// A time of the process in tenths of a second: half as wide as milliseconds, for 13 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenths(u32);

impl Tenths {
    /// The tenth that this millisecond is in, or the next one: who is idle is never told early.
    pub fn new(ms: u64) -> Self {
        Self(u32::try_from(ms.div_ceil(100)).unwrap_or(u32::MAX))
    }

    /// In milliseconds.
    pub fn ms(self) -> u64 {
        u64::from(self.0) * 100
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a token in a first message.
    Unauthenticated,
    /// Waits for so many topics' homes before it says `welcome`; nothing is read until then.
    Opening(usize),
    /// Does what the client asks for.
    Open,
    /// Echoes every message: the route of the conformance suite.
    Echo,
}

/// A connection that ends.
#[derive(Clone, Debug)]
pub struct Closing {
    pub reason: CloseReason,
    /// When what is not finished is cut off; 0: now.
    pub until_ms: u64,
    /// Whether the sending direction has ended.
    pub is_finished: bool,
}

/// One subscription of a connection.
#[derive(Debug)]
pub struct Subscription {
    pub topic: TopicId,
    pub place: u32,
    /// The last publication that went out, or where it began, in a channel with history.
    pub at: Option<Position>,
    pub state: State,
    /// The server API subscribed it: neither rule nor token is asked.
    pub is_granted: bool,
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
#[derive(Debug)]
pub struct Held {
    /// Tells the home's answer to this subscription from one to an earlier one.
    pub ticket: u32,
    /// Who wants to be told, by the `id` of the request.
    pub replies: SmallVec<[Option<Box<str>>; 1]>,
    /// Where the client stood, to be asked again if the question was lost.
    pub recover: Option<ClientPosition>,
    pub is_attached: bool,
    /// Whether the home has more to replay.
    pub more: More,
    /// The session does not open before it is.
    pub opens: bool,
    pub replay: VecDeque<Arc<Publication>>,
    pub waiting: VecDeque<Arc<Publication>>,
    pub waiting_bytes: usize,
    /// Publications without a place in a history were too many to hold.
    pub is_lossy: bool,
}

/// Whether a topic's home has more to replay than is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// What comes now is all.
    No,
    /// To be asked for once what is here is replayed.
    Yes,
    /// It was asked for.
    Asked,
}

/// What became of a message.
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

impl Subscription {
    /// Whether a publication is one that this subscription has not had.
    pub fn is_news(&self, publication: &Publication) -> bool {
        match (self.at, publication.position) {
            (Some(had), Some(new)) => new.epoch != had.epoch || new.offset > had.offset,
            _ => true,
        }
    }
}

impl Connection {
    /// Writes an envelope, or lets what the socket does not take wait.
    pub fn send(&mut self, encoded: &Encoded, bounds: Bounds) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        if self.is_clear()
            && let Some(sent) = self.try_write(encoded.frame(), 1)
        {
            return sent;
        }
        self.queue(Item::Envelope(encoded.clone()), bounds)
    }

    /// Writes a frame of its own; without bounds for what the caller bounds itself.
    pub fn send_frame(&mut self, frame: &Bytes, bounds: Option<Bounds>) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        if self.is_clear()
            && let Some(sent) = self.try_write(frame, 1)
        {
            return sent;
        }
        let item = Item::Frame(frame.clone());
        if let Some(bounds) = bounds {
            return self.queue(item, bounds);
        }
        self.outbox.push_unbounded(item);
        Sent::Queued
    }

    /// Writes several messages that are one piece of memory; `None` where the socket takes nothing
    /// now, and each has to wait for itself.
    pub fn send_run(&mut self, frames: &Bytes, messages: usize) -> Option<Sent> {
        if self.closing.is_some() {
            return Some(Sent::Done);
        }
        if self.is_clear() { self.try_write(frames, messages) } else { None }
    }

    /// Lets a message wait.
    pub fn queue(&mut self, item: Item, bounds: Bounds) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        match self.outbox.push(item, bounds) {
            Ok(()) => Sent::Queued,
            Err(_) => Sent::Overflow,
        }
    }

    /// Answers a ping; if something waits, only the last one is answered.
    pub fn send_pong(&mut self, payload: &[u8]) -> Sent {
        let pong = frame::pong(payload);
        if self.closing.is_some() {
            return Sent::Done;
        }
        if self.is_clear()
            && let Some(sent) = self.try_write(&pong, 0)
        {
            return sent;
        }
        self.outbox.push_pong(pong);
        Sent::Queued
    }

    /// Asks for a sign of life.
    pub fn send_ping(&mut self) -> Sent {
        if self.closing.is_some() {
            return Sent::Done;
        }
        if self.is_clear()
            && let Some(sent) = self.try_write(&frame::ping(), 0)
        {
            return sent;
        }
        self.outbox.push_ping();
        Sent::Queued
    }

    /// Writes to a socket for which nothing waits; `None` where it takes nothing.
    fn try_write(&mut self, frame: &Bytes, messages: usize) -> Option<Sent> {
        match self.transport.write(&[IoSlice::new(frame)]) {
            Ok(written) if written == frame.len() => {
                Some(if self.transport.wants_write() { Sent::Queued } else { Sent::Done })
            }
            Ok(written) => {
                self.outbox.push_rest(frame.slice(written.min(frame.len())..), messages);
                Some(Sent::Queued)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(Sent::Lost),
        }
    }

    /// Writes what waits; whether all is written.
    pub fn flush(&mut self, joining: Joining, now_ms: u64) -> io::Result<bool> {
        let transport = &mut self.transport;
        match transport.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let flushed = self.outbox.flush(joining, |slices| transport.write(slices))?;
        let is_done = self.outbox.is_empty() && !self.transport.wants_write();
        if is_done {
            self.blocked_since_ms = None;
        } else if flushed.messages > 0 || self.blocked_since_ms.is_none() {
            // Another write is under way now.
            self.blocked_since_ms = Some(now_ms);
        }
        Ok(is_done)
    }

    /// Whether nothing waits, for whatever reason: what comes now may go to the socket at once.
    fn is_clear(&self) -> bool {
        self.outbox.is_empty() && !self.transport.wants_write()
    }

    /// Whether something waits to be written now.
    pub fn has_unsent(&self) -> bool {
        self.transport.wants_write() || !self.outbox.is_empty() && self.delayed_until_ms.is_none()
    }

    /// Begins the end: what waits is forgotten, the close frame goes out behind what has begun.
    pub fn close(&mut self, now_ms: u64, reason: CloseReason, frame: Bytes) {
        self.delayed_until_ms = None;
        let until_ms = now_ms + CLOSE_MS;
        self.closing = Some(Box::new(Closing { reason, until_ms, is_finished: false }));
        self.outbox.push_last(frame);
    }

    /// The index of a subscription.
    pub fn subscription(&self, topic: TopicId) -> Option<usize> {
        self.subscriptions.iter().position(|it| it.topic == topic)
    }

    /// Whether the client has shown who it is, or need not.
    pub fn is_authenticated(&self) -> bool {
        self.stage != Stage::Unauthenticated
    }

    /// Whether what it sends is read now.
    pub fn reads(&self, now_ms: u64) -> bool {
        self.paused_until_ms <= now_ms && !matches!(self.stage, Stage::Opening(_))
    }

    /// Whether it is the conformance suite's.
    pub fn is_echo(&self) -> bool {
        self.stage == Stage::Echo
    }
}

impl Ending {
    /// The end that has the reason's own words.
    pub const fn of(reason: CloseReason) -> Self {
        Self { reason, words: None }
    }

    /// The close frame.
    pub fn frame(&self) -> Bytes {
        let words = self.words.as_deref().unwrap_or_else(|| self.reason.words());
        frame::close(self.reason.code(), words)
    }
}
