//! The few bytes of RFC 6455 that a load generator needs, without buffers of its own.
//!
//! Only frames from a server are read: they have no mask. Payloads are counted, not kept.

/// The request that opens a connection in the plain dialect.
pub fn request(host: &str, path: &str, token: Option<&str>) -> String {
    let token = token.map(|it| format!("Authorization: Bearer {it}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{token}\r\n"
    )
}

/// A frame from a client, with a mask of zeros: the payload stands as it is.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    push_length(&mut frame, payload.len(), 0x80);
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A frame from a server.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    push_length(&mut frame, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn push_length(frame: &mut Vec<u8>, length: usize, mask_bit: u8) {
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        frame.push(short | mask_bit);
    } else if let Ok(medium) = u16::try_from(length) {
        frame.push(0x7e | mask_bit);
        frame.extend(medium.to_be_bytes());
    } else {
        frame.push(0x7f | mask_bit);
        frame.extend((length as u64).to_be_bytes());
    }
}

/// Counts whole frames in a stream of unmasked ones, however it is cut.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; 10],
    head_len: usize,
    payload_left: u64,
}

impl Frames {
    /// Takes the next bytes; tells the opcode of each frame that is whole now.
    pub fn feed(&mut self, mut bytes: &[u8], mut whole: impl FnMut(u8)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let skipped =
                    usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
            } else {
                self.head[self.head_len] = byte;
                self.head_len += 1;
                bytes = rest;
                let Some(length) = self.length() else { continue };
                self.payload_left = length;
            }
            if self.payload_left == 0 {
                whole(self.head[0] & 0x0f);
                self.head_len = 0;
            }
        }
    }

    /// The payload's length, once the header is whole.
    fn length(&self) -> Option<u64> {
        let head = &self.head[..self.head_len];
        match (head.get(1)? & 0x7f, head.len()) {
            (126, 4) => Some(u64::from(u16::from_be_bytes([head[2], head[3]]))),
            (127, 10) => head[2..10]
                .iter()
                .try_fold(0u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte))),
            (126 | 127, _) => None,
            (short, _) => Some(u64::from(short)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_stream_is_cut() {
        let payloads = [0, 1, 125, 126, 300, 70_000].map(|length| vec![b'x'; length]);
        let stream: Vec<u8> = payloads.iter().flat_map(|it| server_frame(1, it)).collect();

        for cut in [1, 2, 3, 7, 125, 4_096, stream.len()] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            stream.chunks(cut).for_each(|part| frames.feed(part, |opcode| seen.push(opcode)));
            assert_eq!(seen, [1; 6], "cut into {cut}");
        }
    }
}
