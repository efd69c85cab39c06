//! A data message that has begun and is not whole yet.
//!
//! Nothing is reserved because a client said so: room grows with the bytes that came, and stops at
//! the limit. Text is checked as it comes, so that what can never be text ends the connection at once.

use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{
    frame::Kind,
    header::Header,
    limits::{Limits, Violation},
};

#[derive(Default)]
pub(super) struct Message {
    is_text: bool,
    is_compressed: bool,
    fragments: u32,
    /// What the frames have declared so far, the one being read included.
    bytes: u64,
    payload: Vec<u8>,
    /// How much of the payload is known to be text; whether all of it is, its event says.
    valid: usize,
}

impl Message {
    /// Whether a frame may come next, and the message with that frame in it.
    pub(super) fn admit(
        so_far: Option<Self>,
        header: &Header,
        limits: &Limits,
    ) -> Result<Self, Violation> {
        let mut message = match (so_far, header.opcode) {
            (Some(message), OpCode::Data(Data::Continue)) => message,
            (None, OpCode::Data(Data::Continue)) => {
                return Err(Violation::Protocol("continuation of no message"));
            }
            (Some(_), _) => {
                return Err(Violation::Protocol("message begins inside another"));
            }
            (None, opcode) => Self {
                is_text: opcode == OpCode::Data(Data::Text),
                is_compressed: header.is_compressed,
                ..Self::default()
            },
        };
        if header.is_compressed && !(limits.deflate && message.fragments == 0) {
            return Err(Violation::Protocol("reserved bit is set"));
        }
        message.bytes = message.bytes.saturating_add(header.payload_bytes);
        if message.bytes > message.bytes_max(limits) {
            return Err(Violation::TooBig);
        }
        message.fragments = message.fragments.saturating_add(1);
        if message.fragments > limits.fragments_max {
            return Err(Violation::TooManyFragments);
        }
        Ok(message)
    }

    /// Takes a piece of the payload, without its mask.
    pub(super) fn append(&mut self, piece: &[u8], limits: &Limits) -> Result<(), Violation> {
        let needed = self.payload.len() + piece.len();
        if needed > self.payload.capacity() {
            // Twice as much each time, so that pieces cost a copy each; but never past the limit.
            let bytes_max = usize::try_from(self.bytes_max(limits)).unwrap_or(usize::MAX);
            let room = self.payload.capacity().saturating_mul(2).min(bytes_max).max(needed);
            self.payload.reserve_exact(room - self.payload.len());
        }
        self.payload.extend_from_slice(piece);
        self.check_text()
    }

    /// The payload, as it is on the wire but for the mask.
    pub(super) fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::message(self.is_text)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    pub(super) fn has_one_frame(&self) -> bool {
        self.fragments == 1
    }

    /// How many bytes of the heap it holds.
    #[cfg(any(test, fuzzing))]
    pub(super) fn heap_bytes(&self) -> usize {
        self.payload.capacity()
    }

    /// Looks at what is new; a character cut off by the end of a piece is left for later.
    fn check_text(&mut self) -> Result<(), Violation> {
        if !self.is_text || self.is_compressed {
            return Ok(());
        }
        match str::from_utf8(self.payload.get(self.valid..).unwrap_or_default()) {
            Ok(text) => self.valid += text.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidText),
        }
        Ok(())
    }

    /// The bound of the bytes on the wire. Deflating may make a payload longer, by an eighth at the
    /// very worst (zlib's `deflateBound`); what comes out of it is bounded where it is inflated.
    fn bytes_max(&self, limits: &Limits) -> u64 {
        let bytes_max = limits.message_bytes_max;
        if self.is_compressed { bytes_max.saturating_add(bytes_max / 8 + 64) } else { bytes_max }
    }
}
