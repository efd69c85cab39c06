//! An envelope as it goes over the wire: a WebSocket frame and the text in it, in one buffer.

use bytes::Bytes;

/// The first byte of a whole, uncompressed text frame (FIN and opcode 1; RFC 6455, section 5.2).
const TEXT: u8 = 0x81;

/// Space for the longest header of an unmasked frame.
const HEADER_MAX: usize = 10;

/// One frame that is written to any number of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    frame: Bytes,
    payload_at: u8,
}

impl Encoded {
    /// Builds the frame of the text that `write` appends, copying nothing.
    pub fn build(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_MAX + capacity);
        buffer.resize(HEADER_MAX, 0);
        write(&mut buffer);
        let header = header(buffer.len() - HEADER_MAX);
        let at = HEADER_MAX - header.len();
        if let Some(space) = buffer.get_mut(at..HEADER_MAX) {
            space.copy_from_slice(&header);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a header has at most ten bytes")]
        let payload_at = header.len() as u8;
        Self { frame: Bytes::from(buffer).slice(at..), payload_at }
    }

    /// The whole frame.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The text without the frame's header.
    pub fn payload(&self) -> &[u8] {
        self.frame.get(usize::from(self.payload_at)..).unwrap_or_default()
    }

    /// The part of the frame that is `payload()[range]`, sharing its memory.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Bytes {
        let at = usize::from(self.payload_at);
        self.frame.slice(at + range.start..at + range.end)
    }
}

/// The header of a whole text frame of `length` bytes.
pub fn header(length: usize) -> smallvec::SmallVec<[u8; HEADER_MAX]> {
    let mut header = smallvec::SmallVec::new();
    header.push(TEXT);
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        header.push(short);
    } else if let Ok(medium) = u16::try_from(length) {
        header.push(126);
        header.extend_from_slice(&medium.to_be_bytes());
    } else {
        header.push(127);
        header.extend_from_slice(&(length as u64).to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::FrameHeader;

    use super::*;

    #[test]
    fn every_length_has_the_header_that_tungstenite_reads() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let encoded = Encoded::build(length, |out| out.resize(out.len() + length, b'x'));

            let mut cursor = Cursor::new(encoded.frame());
            let (header, read) = FrameHeader::parse(&mut cursor).unwrap().unwrap();

            assert!(header.is_final && header.mask.is_none());
            assert_eq!(read, length as u64);
            assert_eq!(cursor.position() + read, encoded.frame().len() as u64);
            assert_eq!(encoded.payload().len(), length);
        }
    }
}
