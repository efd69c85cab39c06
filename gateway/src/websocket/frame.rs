//! The frames that the gateway writes.
//!
//! Frames from a server carry no mask (RFC 6455, section 5.1), so one encoding of a publication is
//! the same bytes for everybody. All of them are whole messages: the gateway never fragments.

use bytes::{BufMut, Bytes, BytesMut};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The longest reason in a close frame: what the status code leaves of a control frame.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The longest header without a mask.
const HEADER_BYTES_MAX: usize = 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message of text.
    Text,
    /// A message of bytes.
    Binary,
    /// The last frame of a side.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// Whether a payload is deflated, which the header's first reserved bit says (RFC 7692, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// By [`Deflater`](super::deflate::Deflater).
    Deflated,
}

/// A frame's header, for those who write a payload beside it rather than behind it.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The header of a whole message, or of a control frame.
pub fn header(kind: Kind, coding: Coding, payload_bytes: usize) -> Header {
    let header = FrameHeader {
        is_final: true,
        rsv1: coding == Coding::Deflated,
        rsv2: false,
        rsv3: false,
        opcode: kind.opcode(),
        mask: None,
    };
    let payload_bytes = payload_bytes as u64;
    let mut bytes = [0; HEADER_BYTES_MAX];
    let written = header.format(payload_bytes, &mut bytes.as_mut_slice());
    debug_assert!(written.is_ok(), "ten bytes hold every header without a mask");
    Header { bytes, len: header.len(payload_bytes) }
}

/// A whole message of text, or of bytes.
pub fn message(is_text: bool, payload: &[u8]) -> Bytes {
    frame(Kind::message(is_text), Coding::Plain, &[payload])
}

/// A whole message that [`Deflater`](super::deflate::Deflater) has deflated.
pub fn compressed(is_text: bool, payload: &[u8]) -> Bytes {
    frame(Kind::message(is_text), Coding::Deflated, &[payload])
}

/// A ping without payload: the answer says all that there is to know.
pub fn ping() -> Bytes {
    frame(Kind::Ping, Coding::Plain, &[])
}

/// The answer to a ping, or an unasked sign of life; 125 bytes of the payload are sent.
pub fn pong(payload: &[u8]) -> Bytes {
    let payload = payload.get(..CONTROL_BYTES_MAX).unwrap_or(payload);
    frame(Kind::Pong, Coding::Plain, &[payload])
}

/// A close frame: `code` as RFC 6455 section 7.4 has it, and of `words` as many whole characters as
/// fit into 123 bytes.
pub fn close(code: u16, words: &str) -> Bytes {
    let words = words.get(..words.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default();
    frame(Kind::Close, Coding::Plain, &[&code.to_be_bytes(), words.as_bytes()])
}

/// A close frame without a code, which answers one without.
pub fn close_empty() -> Bytes {
    frame(Kind::Close, Coding::Plain, &[])
}

fn frame(kind: Kind, coding: Coding, parts: &[&[u8]]) -> Bytes {
    let payload_bytes = parts.iter().map(|part| part.len()).sum();
    let header = header(kind, coding, payload_bytes);
    let mut frame = BytesMut::with_capacity(header.len + payload_bytes);
    frame.put_slice(header.as_ref());
    for part in parts {
        frame.put_slice(part);
    }
    frame.freeze()
}

impl Kind {
    pub(super) const fn message(is_text: bool) -> Self {
        if is_text { Self::Text } else { Self::Binary }
    }

    const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Data(Data::Text),
            Self::Binary => OpCode::Data(Data::Binary),
            Self::Close => OpCode::Control(Control::Close),
            Self::Ping => OpCode::Control(Control::Ping),
            Self::Pong => OpCode::Control(Control::Pong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frame: &[u8], expected: &[u8]) {
        assert_eq!(frame, expected);
    }

    #[test]
    fn frames_are_the_rfcs_examples() {
        // RFC 6455, section 5.7, and RFC 7692, section 7.2.3.1.
        check(&message(true, b"Hello"), b"\x81\x05Hello");
        check(&ping(), b"\x89\x00");
        check(&pong(b"Hello"), b"\x8a\x05Hello");
        check(header(Kind::Binary, Coding::Plain, 256).as_ref(), b"\x82\x7e\x01\x00");
        check(header(Kind::Binary, Coding::Plain, 65_536).as_ref(), b"\x82\x7f\0\0\0\0\0\x01\0\0");
        check(
            &compressed(true, b"\xf2\x48\xcd\xc9\xc9\x07\0"),
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0",
        );
    }

    #[test]
    fn lengths_use_the_fewest_bytes() {
        check(header(Kind::Text, Coding::Plain, 0).as_ref(), b"\x81\x00");
        check(header(Kind::Text, Coding::Plain, 125).as_ref(), b"\x81\x7d");
        check(header(Kind::Text, Coding::Plain, 126).as_ref(), b"\x81\x7e\x00\x7e");
        check(header(Kind::Text, Coding::Plain, 65_535).as_ref(), b"\x81\x7e\xff\xff");
    }

    #[test]
    fn control_frames_hold_at_most_125_bytes() {
        check(&pong(&[b'x'; 200])[..2], b"\x8a\x7d");
        assert_eq!(pong(&[b'x'; 200]).len(), 127);
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        check(&close(4431, "slow consumer"), b"\x88\x0f\x11\x4fslow consumer");
        check(&close(1000, ""), b"\x88\x02\x03\xe8");
        check(&close_empty(), b"\x88\x00");

        let cut = close(1000, &"ü".repeat(62));

        assert_eq!(str::from_utf8(&cut[4..]), Ok("ü".repeat(61).as_str()));
    }
}
