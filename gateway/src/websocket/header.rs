//! The header of a frame from a client.
//!
//! What can be judged without knowing the message around it is judged here, in full, before a byte
//! of the payload is looked at or any room is made for it.

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, OpCode},
};

use super::{
    frame::{CONTROL_BYTES_MAX, Kind},
    limits::Violation,
};

/// A header that keeps the rules for all frames of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) opcode: OpCode,
    pub(super) is_final: bool,
    /// The first reserved bit, on a data frame.
    pub(super) is_compressed: bool,
    pub(super) mask: [u8; 4],
    /// Declared by the client, so anything below 2^63.
    pub(super) payload_bytes: u64,
}

impl Header {
    /// Reads a header from the front of `bytes`, and says how long it was; `None` if more bytes are
    /// needed: there are at most 14.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let mut cursor = Cursor::new(bytes);
        // Reading a slice fails in one way only.
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|_| Violation::Protocol("opcode is reserved"))?;
        let Some((header, payload_bytes)) = parsed else {
            return Ok(None);
        };
        let len = header.len(payload_bytes);
        if cursor.position() != len as u64 {
            return Err(Violation::Protocol("payload length takes more bytes than it needs"));
        }
        Self::judge(&header, payload_bytes).map(|header| Some((header, len)))
    }

    fn judge(header: &FrameHeader, payload_bytes: u64) -> Result<Self, Violation> {
        let &FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        let Some(mask) = mask else {
            return Err(Violation::Protocol("frame is not masked"));
        };
        if rsv2 || rsv3 {
            return Err(Violation::Protocol("reserved bit is set"));
        }
        if payload_bytes >> 63 != 0 {
            return Err(Violation::Protocol("payload length has its highest bit set"));
        }
        if matches!(opcode, OpCode::Control(_)) {
            if rsv1 {
                return Err(Violation::Protocol("reserved bit is set"));
            }
            if !is_final {
                return Err(Violation::Protocol("control frame is fragmented"));
            }
            if payload_bytes > CONTROL_BYTES_MAX as u64 {
                return Err(Violation::Protocol("control frame is longer than 125 bytes"));
            }
        }
        Ok(Self { opcode, is_final, is_compressed: rsv1, mask, payload_bytes })
    }

    /// Which control frame it is of; `None` for a data frame.
    pub(super) fn control(&self) -> Option<Kind> {
        match self.opcode {
            OpCode::Control(Control::Close) => Some(Kind::Close),
            OpCode::Control(Control::Ping) => Some(Kind::Ping),
            OpCode::Control(Control::Pong) => Some(Kind::Pong),
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(_) => None,
        }
    }
}

/// Whether a header that begins with this byte is a data frame's.
pub(super) fn is_data(first: u8) -> bool {
    matches!(OpCode::from(first & 0x0f), OpCode::Data(_))
}
