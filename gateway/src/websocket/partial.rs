//! What the end of a read has cut off: a header, a frame, a message.

use super::{
    frame::Kind,
    header::{Header, is_data},
    input::Input,
    limits::Violation,
    mask::unmask,
    message::Message,
};

/// What a client has begun and not ended. It is there only while there is some.
#[derive(Default)]
pub(super) struct Partial {
    /// The bytes of a header that is not whole.
    header: Vec<u8>,
    /// The frame whose payload is being read.
    pub(super) frame: Option<Frame>,
    /// The message whose next frame has not begun.
    pub(super) message: Option<Message>,
}

impl Partial {
    pub(super) fn has_header(&self) -> bool {
        !self.header.is_empty()
    }

    /// Adds to the header; `None` if it still is not whole, the input being used up.
    pub(super) fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        // Rare, and over after fourteen bytes: so each byte may be a try of its own.
        while let [byte] = *input.take(1) {
            self.header.push(byte);
            if let Some((header, _)) = Header::parse(&self.header)? {
                self.header = Vec::new();
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.header.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// Whether a data message has begun.
    pub(super) fn is_incomplete(&self) -> bool {
        self.message.is_some()
            || self.header.first().is_some_and(|first| is_data(*first))
            || self.frame.as_ref().is_some_and(|frame| matches!(frame.body, Body::Data(_)))
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn heap_bytes(&self) -> usize {
        let body = match self.frame.as_ref().map(|frame| &frame.body) {
            Some(Body::Control(_, payload)) => payload.capacity(),
            Some(Body::Data(message)) => message.heap_bytes(),
            None => 0,
        };
        let message = self.message.as_ref().map_or(0, Message::heap_bytes);
        size_of::<Self>() + self.header.capacity() + body + message
    }
}

/// A frame whose header is whole.
pub(super) struct Frame {
    pub(super) body: Body,
    pub(super) is_final: bool,
    payload_bytes: u64,
    /// How much of the payload is still to come.
    missing: u64,
    /// Turned to the next byte.
    mask: [u8; 4],
}

/// Where a frame's payload goes.
pub(super) enum Body {
    Control(Kind, Vec<u8>),
    Data(Message),
}

impl Frame {
    pub(super) fn new(header: &Header, body: Body) -> Self {
        let &Header { is_final, mask, payload_bytes, .. } = header;
        Self { body, is_final, payload_bytes, missing: payload_bytes, mask }
    }

    /// Takes what there is of the payload, without its mask.
    pub(super) fn take<'b>(&mut self, input: &mut Input<'b>) -> &'b [u8] {
        let piece = input.take(self.missing);
        unmask(piece, &mut self.mask);
        self.missing -= piece.len() as u64;
        piece
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Whether this piece is the payload, all of it.
    pub(super) fn is_all(&self, piece: &[u8]) -> bool {
        self.is_whole() && piece.len() as u64 == self.payload_bytes
    }
}
