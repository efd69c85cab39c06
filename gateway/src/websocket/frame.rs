//! Frames that the gateway writes besides text, and the mask of those that it reads.

use bytes::Bytes;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// The longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

fn build(header: &FrameHeader, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(10 + length);
    // A vector takes everything, so this cannot fail.
    let _ = header.format(length as u64, &mut out);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.into()
}

fn control(kind: Control, parts: &[&[u8]]) -> Bytes {
    build(&FrameHeader { opcode: OpCode::Control(kind), ..FrameHeader::default() }, parts)
}

/// A ping without payload.
pub fn ping() -> Bytes {
    control(Control::Ping, &[])
}

/// The answer to a ping (RFC 6455, section 5.5.3).
pub fn pong(payload: &[u8]) -> Bytes {
    control(Control::Pong, &[payload.get(..CONTROL_BYTES_MAX).unwrap_or(payload)])
}

/// A close frame; `words` are cut to what fits, at a character.
pub fn close(code: u16, words: &str) -> Bytes {
    let words = words.get(..words.floor_char_boundary(CONTROL_BYTES_MAX - 2)).unwrap_or_default();
    control(Control::Close, &[&code.to_be_bytes(), words.as_bytes()])
}

/// A close frame without a code, the answer to one without.
pub fn close_empty() -> Bytes {
    control(Control::Close, &[])
}

/// A whole message of text, or of binary data.
pub fn message(is_text: bool, payload: &[u8]) -> Bytes {
    let data = if is_text { Data::Text } else { Data::Binary };
    build(&FrameHeader { opcode: OpCode::Data(data), ..FrameHeader::default() }, &[payload])
}

/// A whole compressed message (RFC 7692, section 6).
pub fn compressed(is_text: bool, payload: &[u8]) -> Bytes {
    let data = if is_text { Data::Text } else { Data::Binary };
    let opcode = OpCode::Data(data);
    build(&FrameHeader { opcode, rsv1: true, ..FrameHeader::default() }, &[payload])
}

/// Takes the mask off `bytes`, which begin `offset` bytes into the payload (RFC 6455, 5.3).
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let mut wide = [0; 8];
    for (to, from) in wide.iter_mut().zip(mask.iter().cycle()) {
        *to = *from;
    }
    let wide = u64::from_ne_bytes(wide);
    let mut chunks = bytes.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(word) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let frame = close(1000, &"ä".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    proptest! {
        #[test]
        fn unmasking_in_parts_is_unmasking_at_once(bytes in prop::collection::vec(any::<u8>(), 0..99), mask: [u8; 4], at in 0_usize..99) {
            let naive: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let mut parts = bytes;
            let at = at.min(parts.len());
            let (first, second) = parts.split_at_mut(at);
            unmask(first, mask, 0);
            unmask(second, mask, at);
            prop_assert_eq!(parts, naive);
        }
    }
}
