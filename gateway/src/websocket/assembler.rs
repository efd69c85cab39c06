//! Puts the frames of one client together to messages.
//!
//! The caller reads into one buffer for all connections of its thread and hands over what came. A
//! message that lies in it as one frame is unmasked in place and lent out without a copy; only what
//! the end of the buffer or fragmentation cuts off is kept. So an idle connection owns no heap.
//!
//! What comes out never depends on how the bytes were cut on their way.

use std::fmt;

use super::{
    deflate::{InflateError, Inflater},
    frame::Kind,
    header::Header,
    message::Message,
    partial::{Body, Frame, Partial},
};
pub use super::{
    event::Event,
    input::Input,
    limits::{Limits, Violation},
    mask::unmask,
};

/// The reader of one client's frames.
#[derive(Default)]
pub struct Assembler {
    /// What the bytes so far have begun and not ended.
    partial: Option<Box<Partial>>,
    /// What the last event was lent from, where the caller's buffer did not hold it in one piece.
    lent: Vec<u8>,
    is_closed: bool,
}

/// A message or control frame that is whole: in this piece of the caller's buffer, or in `lent`.
struct Whole<'b> {
    kind: Kind,
    is_compressed: bool,
    here: Option<&'b [u8]>,
}

impl Assembler {
    /// What the client says next; `None` once `input` is used up, what is unfinished being kept.
    ///
    /// Call it until it says `None`, which also frees what the last event was lent from. After a
    /// close or a violation nothing more is read.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Option<Event<'a>>, Violation> {
        self.lent = Vec::new();
        if self.is_closed {
            *input = Input::default();
            return Ok(None);
        }
        let event = match self.read(input, limits) {
            Ok(Some(whole)) => whole.event(&self.lent, limits, inflater),
            Ok(None) => return Ok(None),
            Err(violation) => Err(violation),
        };
        if matches!(event, Err(_) | Ok(Event::Close(_))) {
            self.is_closed = true;
            self.partial = None;
        }
        event.map(Some)
    }

    /// Whether a data message has begun, be it with the first byte of its header, and is not whole.
    ///
    /// The session bounds its age, which runs from when this turned true or, if that is later, from
    /// the last message.
    pub fn is_incomplete(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.is_incomplete())
    }

    /// How many bytes of the heap this connection's reader holds.
    #[cfg(any(test, fuzzing))]
    pub fn heap_bytes(&self) -> usize {
        self.lent.capacity() + self.partial.as_ref().map_or(0, |partial| partial.heap_bytes())
    }

    /// Reads up to the end of a message or control frame, or of the input.
    fn read<'b>(
        &mut self,
        input: &mut Input<'b>,
        limits: &Limits,
    ) -> Result<Option<Whole<'b>>, Violation> {
        loop {
            let begun = self.partial.as_mut().and_then(|partial| partial.frame.take());
            let mut frame = match begun {
                Some(frame) => frame,
                None => match self.header(input)? {
                    Some(header) => self.begin(&header, limits)?,
                    None => return Ok(None),
                },
            };
            let piece = frame.take(input);
            let is_cut = !frame.is_whole();
            let whole = self.go_on(frame, piece, limits)?;
            self.partial.take_if(|partial| partial.is_empty());
            if is_cut || whole.is_some() {
                return Ok(whole);
            }
        }
    }

    /// The next frame's header; `None` if the input ends before it does.
    fn header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, Violation> {
        if let Some(partial) = self.partial.as_mut().filter(|partial| partial.has_header()) {
            return partial.header(input);
        }
        match Header::parse(input.as_slice())? {
            Some((header, bytes)) => {
                input.take(bytes as u64);
                Ok(Some(header))
            }
            None if input.is_empty() => Ok(None),
            None => self.partial.get_or_insert_default().header(input),
        }
    }

    /// Admits the frame that this header begins.
    fn begin(&mut self, header: &Header, limits: &Limits) -> Result<Frame, Violation> {
        let body = if let Some(kind) = header.control() {
            Body::Control(kind, Vec::new())
        } else {
            let so_far = self.partial.as_mut().and_then(|partial| partial.message.take());
            Body::Data(Message::admit(so_far, header, limits)?)
        };
        Ok(Frame::new(header, body))
    }

    /// Adds a piece of the payload to its frame, and the frame to its message.
    fn go_on<'b>(
        &mut self,
        mut frame: Frame,
        piece: &'b [u8],
        limits: &Limits,
    ) -> Result<Option<Whole<'b>>, Violation> {
        let is_here = frame.is_all(piece);
        match &mut frame.body {
            Body::Control(kind, _) if is_here => {
                return Ok(Some(Whole::control(*kind, Some(piece))));
            }
            Body::Data(message) if is_here && frame.is_final && message.has_one_frame() => {
                return Ok(Some(Whole::message(message, Some(piece))));
            }
            Body::Control(_, payload) => payload.extend_from_slice(piece),
            Body::Data(message) => message.append(piece, limits)?,
        }
        if !frame.is_whole() {
            self.partial.get_or_insert_default().frame = Some(frame);
            return Ok(None);
        }
        let whole = match frame.body {
            Body::Control(kind, payload) => {
                self.lent = payload;
                Whole::control(kind, None)
            }
            Body::Data(message) if frame.is_final => {
                let whole = Whole::message(&message, None);
                self.lent = message.into_payload();
                whole
            }
            Body::Data(message) => {
                self.partial.get_or_insert_default().message = Some(message);
                return Ok(None);
            }
        };
        Ok(Some(whole))
    }
}

impl<'b> Whole<'b> {
    fn control(kind: Kind, here: Option<&'b [u8]>) -> Self {
        Self { kind, is_compressed: false, here }
    }

    fn message(message: &Message, here: Option<&'b [u8]>) -> Self {
        Self { kind: message.kind(), is_compressed: message.is_compressed(), here }
    }

    fn event<'a>(
        self,
        lent: &'a [u8],
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Event<'a>, Violation>
    where
        'b: 'a,
    {
        let payload = self.here.unwrap_or(lent);
        if !self.is_compressed {
            return Event::read(self.kind, payload);
        }
        let inflated =
            inflater.inflate(payload, limits.message_bytes_max).map_err(|error| match error {
                InflateError::TooBig => Violation::TooBig,
                InflateError::Corrupt => Violation::Protocol("compressed message is corrupt"),
            })?;
        Event::read(self.kind, inflated)
    }
}

impl fmt::Debug for Assembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partial: _, lent: _, is_closed } = self;
        f.debug_struct("Assembler")
            .field("is_incomplete", &self.is_incomplete())
            .field("is_closed", is_closed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
