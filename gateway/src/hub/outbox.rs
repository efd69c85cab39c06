//! What waits for one client's socket.
//!
//! The hub serves every client from one loop, so it must never wait for one of them. A message that
//! does not fit overflows the outbox, and the session that owns it ends as a slow consumer. While
//! nothing waits, nothing is owned; what waits shares the publication's memory with everybody.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::{
    protocol::encoded::Encoded,
    websocket::frame::{self, Coding, Kind},
};

/// Slices handed to one system call at most.
const SLICES_MAX: usize = 64;

/// What stands between envelopes that share a frame.
const LINE_FEED: Bytes = Bytes::from_static(b"\n");

/// The bounds of an outbox; both count what waits, not what is on its way in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages at most.
    pub messages_max: usize,
    /// Bytes of frames at most.
    pub bytes_max: usize,
}

/// How many envelopes may share a frame, once they have to wait anyway; 1 joins none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining(pub usize);

/// The client reads more slowly than its channels publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outbox overflowed")]
pub struct Overflow;

/// A message that waits.
#[derive(Clone, Debug)]
pub enum Item {
    /// It may share a frame with others.
    Envelope(Encoded),
    /// It is a frame of its own: a compressed one, or several that belong together.
    Frame(Bytes),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Envelope(encoded) => encoded.frame().len(),
            Self::Frame(frame) => frame.len(),
        }
    }
}

/// What one flush came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Messages that are written in full.
    pub messages: usize,
}

/// Messages for one socket, oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// The answer to the last ping: one is enough (RFC 6455, section 5.5.3).
    pong: Option<Bytes>,
    is_ping_due: bool,
    /// What has its place on the wire; nothing may come before it.
    laid_out: VecDeque<Piece>,
    /// Whether the frame at the front has begun to go out.
    has_begun: bool,
    messages: usize,
    bytes: usize,
}

/// A part of a frame, or a whole one.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Where a frame ends: how many messages it holds.
    ends: Option<usize>,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// How many messages wait.
    pub fn messages(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.messages)
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// [`Overflow`] where it does not fit; the outbox is as it was.
    pub fn push(&mut self, item: Item, bounds: Bounds) -> Result<(), Overflow> {
        if self.messages() >= bounds.messages_max
            || self.bytes().saturating_add(item.bytes()) > bounds.bytes_max
        {
            return Err(Overflow);
        }
        self.push_unbounded(item);
        Ok(())
    }

    /// Adds a message whatever waits, for what the caller bounds itself.
    pub fn push_unbounded(&mut self, item: Item) {
        let queue = self.queue.get_or_insert_default();
        queue.messages += 1;
        queue.bytes += item.bytes();
        queue.waiting.push_back(item);
    }

    /// Adds the rest of frames of which the socket took a part: nothing may come before it.
    pub fn push_rest(&mut self, rest: Bytes, messages: usize) {
        let queue = self.queue.get_or_insert_default();
        queue.messages += messages;
        queue.bytes += rest.len();
        queue.has_begun = true;
        queue.laid_out.push_front(Piece { bytes: rest, ends: Some(messages) });
    }

    /// Adds a pong; a ping that comes before it went out gets the only answer.
    pub fn push_pong(&mut self, pong: Bytes) {
        self.queue.get_or_insert_default().pong = Some(pong);
    }

    /// Adds a ping, once.
    pub fn push_ping(&mut self) {
        self.queue.get_or_insert_default().is_ping_due = true;
    }

    /// Adds the last frame: what has not begun to go out is forgotten, what has begun is finished
    /// first, or the frame behind it could not be read.
    pub fn push_last(&mut self, frame: Bytes) {
        let mut last = Queue { bytes: frame.len(), ..Queue::default() };
        if let Some(queue) = self.queue.take()
            && queue.has_begun
        {
            for piece in queue.laid_out {
                let is_end = piece.ends.is_some();
                last.bytes += piece.bytes.len();
                last.messages += piece.ends.unwrap_or_default();
                last.laid_out.push_back(piece);
                if is_end {
                    break;
                }
            }
            last.has_begun = true;
        }
        last.laid_out.push_back(Piece { bytes: frame, ends: Some(0) });
        self.queue = Some(Box::new(last));
    }

    /// Forgets everything and gives its memory back.
    pub fn clear(&mut self) {
        self.queue = None;
    }

    /// Hands what waits to `write` until all is written or it takes no more.
    ///
    /// `write` gets at most 64 slices and returns how many bytes it took, as `writev` does.
    ///
    /// # Errors
    ///
    /// What `write` returns, but `WouldBlock`, which is the socket's way to say that it is full.
    pub fn flush(
        &mut self,
        joining: Joining,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while let Some(queue) = &mut self.queue {
            queue.lay_out(joining);
            let written = {
                let mut slices = SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
                let pieces = queue.laid_out.iter().take(SLICES_MAX);
                slices.extend(pieces.map(|piece| IoSlice::new(&piece.bytes)));
                match write(&slices) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(flushed),
                    Err(error) => return Err(error),
                }
            };
            flushed.messages += queue.written(written);
            if queue.is_done() {
                self.queue = None;
            }
        }
        Ok(flushed)
    }
}

impl Queue {
    fn is_done(&self) -> bool {
        self.laid_out.is_empty()
            && self.waiting.is_empty()
            && self.pong.is_none()
            && !self.is_ping_due
    }

    /// Gives what waits its place on the wire, as far as one system call takes it.
    fn lay_out(&mut self, joining: Joining) {
        if self.laid_out.len() >= SLICES_MAX {
            return;
        }
        if let Some(pong) = self.pong.take() {
            self.lay_out_control(pong);
        }
        if std::mem::take(&mut self.is_ping_due) {
            self.lay_out_control(frame::ping());
        }
        while self.laid_out.len() < SLICES_MAX {
            let joinable = self.joinable(joining);
            if joinable > 1 {
                self.lay_out_joined(joinable);
                continue;
            }
            let bytes = match self.waiting.pop_front() {
                Some(Item::Envelope(encoded)) => encoded.frame().clone(),
                Some(Item::Frame(frame)) => frame,
                None => return,
            };
            self.laid_out.push_back(Piece { bytes, ends: Some(1) });
        }
    }

    fn lay_out_control(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.laid_out.push_back(Piece { bytes: frame, ends: Some(0) });
    }

    /// How many of the next messages may share a frame.
    fn joinable(&self, Joining(messages_max): Joining) -> usize {
        let next = self.waiting.iter().take(messages_max);
        next.take_while(|item| matches!(item, Item::Envelope(_))).count()
    }

    /// Lays out the next messages as one frame, their envelopes separated by line feeds.
    fn lay_out_joined(&mut self, messages: usize) {
        let mut payloads = Vec::with_capacity(messages);
        for item in self.waiting.drain(..messages) {
            self.bytes = self.bytes.saturating_sub(item.bytes());
            if let Item::Envelope(encoded) = item {
                payloads.push(encoded.payload());
            }
        }
        let length = payloads.iter().map(Bytes::len).sum::<usize>() + messages - 1;
        let header = frame::header(Kind::Text, Coding::Plain, length);
        let header = Bytes::copy_from_slice(header.as_ref());
        self.bytes += header.len() + length;
        self.laid_out.push_back(Piece { bytes: header, ends: None });
        for (at, payload) in payloads.into_iter().enumerate() {
            if at > 0 {
                self.laid_out.push_back(Piece { bytes: LINE_FEED, ends: None });
            }
            let ends = (at + 1 == messages).then_some(messages);
            self.laid_out.push_back(Piece { bytes: payload, ends });
        }
    }

    /// Takes so many bytes off the front; returns how many messages that ended.
    fn written(&mut self, mut bytes: usize) -> usize {
        self.bytes = self.bytes.saturating_sub(bytes);
        let mut ended = 0;
        while let Some(first) = self.laid_out.front_mut() {
            if bytes < first.bytes.len() {
                first.bytes.advance(bytes);
                self.has_begun |= bytes > 0;
                break;
            }
            bytes -= first.bytes.len();
            self.has_begun = first.ends.is_none();
            ended += first.ends.unwrap_or_default();
            self.laid_out.pop_front();
        }
        self.messages = self.messages.saturating_sub(ended);
        ended
    }
}

#[cfg(test)]
mod tests;
