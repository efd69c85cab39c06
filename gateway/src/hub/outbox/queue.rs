//! What waits, and in which order it goes out: what has begun, then a pong, then a ping, then messages.
//!
//! A message has its place on the wire only once the socket is about to take it, so that a pong does
//! not stand behind everything that waits, and envelopes still share a frame with those that come.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::{Item, Joining};
use crate::websocket::frame::{self, Coding, Kind};

/// Slices handed to one system call at most.
const SLICES_MAX: usize = 64;

/// What stands between envelopes that share a frame.
const LINE_FEED: Bytes = Bytes::from_static(b"\n");

/// What waits for one socket; there is none while nothing does.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Item>,
    /// The answer to the last ping: one is enough (RFC 6455, section 5.5.3).
    pub pong: Option<Bytes>,
    pub is_ping_due: bool,
    /// What has its place on the wire; nothing may come before it.
    laid_out: VecDeque<Piece>,
    /// Whether the frame at the front has begun to go out.
    has_begun: bool,
    pub messages: usize,
    pub bytes: usize,
}

/// A part of a frame, or a whole one.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Where a frame ends: how many messages it holds.
    ends: Option<usize>,
}

impl Queue {
    /// Adds a message.
    pub fn push(&mut self, item: Item) {
        self.messages += 1;
        self.bytes += item.bytes();
        self.waiting.push_back(item);
    }

    /// Adds the rest of frames that have begun to go out, with the messages in it.
    pub fn push_rest(&mut self, rest: Bytes, messages: usize) {
        self.messages += messages;
        self.bytes += rest.len();
        self.has_begun = true;
        self.laid_out.push_front(Piece { bytes: rest, ends: Some(messages) });
    }

    /// A last frame, behind what is left of one that has begun: it could not be read elsewhere.
    pub fn ending(before: Option<Self>, frame: Bytes) -> Self {
        let mut last = Self { bytes: frame.len(), ..Self::default() };
        if let Some(before) = before.filter(|it| it.has_begun) {
            last.has_begun = true;
            for piece in before.laid_out {
                let is_end = piece.ends.is_some();
                last.bytes += piece.bytes.len();
                last.messages += piece.ends.unwrap_or_default();
                last.laid_out.push_back(piece);
                if is_end {
                    break;
                }
            }
        }
        last.laid_out.push_back(Piece { bytes: frame, ends: Some(0) });
        last
    }

    /// What is next on the wire, as far as one system call takes it.
    pub fn slices(&self) -> SmallVec<[IoSlice<'_>; SLICES_MAX]> {
        let pieces = self.laid_out.iter().take(SLICES_MAX);
        pieces.map(|piece| IoSlice::new(&piece.bytes)).collect()
    }

    /// Whether nothing waits any more.
    pub fn is_done(&self) -> bool {
        self.laid_out.is_empty()
            && self.waiting.is_empty()
            && self.pong.is_none()
            && !self.is_ping_due
    }

    /// Gives what waits its place on the wire, as far as one system call takes it.
    pub fn lay_out(&mut self, joining: Joining) {
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
    pub fn written(&mut self, mut bytes: usize) -> usize {
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
