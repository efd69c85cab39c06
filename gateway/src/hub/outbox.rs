//! What waits for one client's socket.
//!
//! The hub serves every client from one loop, so it must never wait for one of them. A message that
//! does not fit overflows the outbox, and the session that owns it ends as a slow consumer. While
//! nothing waits, nothing is owned; what waits shares the publication's memory with everybody.

mod queue;

use std::io::{self, IoSlice};

use bytes::Bytes;

use self::queue::Queue;
use crate::protocol::encoded::Encoded;

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
        self.queue.get_or_insert_default().push(item);
    }

    /// Adds the rest of frames of which the socket took a part: nothing may come before it.
    pub fn push_rest(&mut self, rest: Bytes, messages: usize) {
        self.queue.get_or_insert_default().push_rest(rest, messages);
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
        let before = self.queue.take().map(|queue| *queue);
        self.queue = Some(Box::new(Queue::ending(before, frame)));
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
            let written = match write(&queue.slices()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(flushed),
                Err(error) => return Err(error),
            };
            flushed.messages += queue.written(written);
            if queue.is_done() {
                self.queue = None;
            }
        }
        Ok(flushed)
    }
}

#[cfg(test)]
mod tests;
