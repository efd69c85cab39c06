//! An envelope and its frame header in one buffer.
//!
//! What goes to many is laid out once: a socket takes the frame as it is, and a batch takes the
//! payload and makes one header for several. The header is that of an unmasked, final text frame
//! (RFC 6455, section 5.2).

use bytes::Bytes;

/// The longest header of a frame without a mask.
const HEADER_BYTES_MAX: usize = 10;
const FINAL_TEXT: u8 = 0x81;

/// A text frame from the gateway, ready to be written. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    frame: Bytes,
    payload_at: u8,
}

impl Encoded {
    /// Lays out the text that `write` appends. `capacity` is how long it will be about.
    pub fn text(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_BYTES_MAX + capacity);
        buffer.extend_from_slice(&[0; HEADER_BYTES_MAX]);
        write(&mut buffer);

        // The header ends where the payload begins, so that nothing is moved once its length is
        // known; the room before it is cut off.
        let payload_bytes = buffer.len().saturating_sub(HEADER_BYTES_MAX);
        let (header, header_bytes) = header(payload_bytes);
        let unused = HEADER_BYTES_MAX - header_bytes;
        for (to, from) in buffer.iter_mut().skip(unused).zip(header.iter().take(header_bytes)) {
            *to = *from;
        }
        let frame = Bytes::from(buffer).slice(unused..);
        #[allow(clippy::cast_possible_truncation, reason = "2, 4 or 10")]
        let payload_at = header_bytes as u8;
        Self { frame, payload_at }
    }

    /// Header and payload, as a socket takes them.
    pub const fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The envelope's text, to be joined with others.
    pub fn payload(&self) -> Bytes {
        self.frame.slice(usize::from(self.payload_at)..)
    }

    /// The envelope's text, where a look is enough.
    pub fn as_bytes(&self) -> &[u8] {
        self.frame.get(usize::from(self.payload_at)..).unwrap_or_default()
    }
}

/// The header of a final, unmasked text frame, and how many of its bytes count.
fn header(payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let [.., high, low] = payload_bytes.to_be_bytes();
    match payload_bytes {
        0..=125 => ([FINAL_TEXT, low, 0, 0, 0, 0, 0, 0, 0, 0], 2),
        126..=0xffff => ([FINAL_TEXT, 126, high, low, 0, 0, 0, 0, 0, 0], 4),
        _ => {
            let mut header = [FINAL_TEXT, 127, 0, 0, 0, 0, 0, 0, 0, 0];
            let length = (payload_bytes as u64).to_be_bytes();
            header.iter_mut().skip(2).zip(length).for_each(|(to, from)| *to = from);
            (header, 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::{
        FrameHeader,
        coding::{Data, OpCode},
    };

    use super::*;

    #[test]
    fn each_length_has_the_header_that_tungstenite_reads() {
        for bytes in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 0x2_0003] {
            let text = vec![b'x'; bytes];

            let encoded = Encoded::text(0, |out| out.extend_from_slice(&text));

            let mut cursor = Cursor::new(encoded.frame());
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!(length, bytes as u64);
            assert_eq!(
                (header.is_final, header.opcode, header.mask.is_none()),
                (true, OpCode::Data(Data::Text), true)
            );
            assert_eq!(cursor.position(), u64::from(encoded.payload_at), "{bytes}");
            assert_eq!((&encoded.payload()[..], encoded.as_bytes()), (&text[..], &text[..]));
        }
    }
}
