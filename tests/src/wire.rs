//! The few bytes of RFC 6455 that a load generator needs.

/// The opcode of a text frame.
pub const TEXT: u8 = 1;
/// The opcode of a close frame.
pub const CLOSE: u8 = 8;
/// The opcode of a ping.
pub const PING: u8 = 9;
/// The opcode of a pong.
pub const PONG: u8 = 10;

/// Says that the length follows in 16 bits.
const MEDIUM: u8 = 0x7e;
/// Says that the length follows in 64 bits.
const LONG: u8 = 0x7f;

/// One whole frame at the beginning of some bytes.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Without the FIN bit: nobody here sends fragments.
    pub opcode: u8,
    /// Where the peer masked it: all zeros otherwise.
    pub mask: [u8; 4],
    /// As it came, masked or not.
    pub payload: &'a [u8],
}

/// Takes the first frame off `bytes`, if it is there whole.
pub fn take_frame<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let [first, second, rest @ ..] = *bytes else { return None };
    let (length, rest) = match second & 0x7f {
        MEDIUM => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        LONG => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    let (mask, rest) = if second & 0x80 == 0 {
        ([0; 4], rest)
    } else {
        let (mask, rest) = rest.split_first_chunk()?;
        (*mask, rest)
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Frame { opcode: first & 0x0f, mask, payload })
}

/// A frame from a client. Its mask is zero, which is a mask like any other to whoever reads it, so
/// that the payload can be written as it is.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload, Some([0; 4]))
}

/// A frame from a server.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(opcode, payload, None)
}

fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    // The shortest form that fits is the only one allowed (RFC 6455, section 5.2).
    if let Ok(short @ ..MEDIUM) = u8::try_from(payload.len()) {
        frame.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(payload.len()) {
        frame.push(mask_bit | MEDIUM);
        frame.extend(medium.to_be_bytes());
    } else {
        frame.push(mask_bit | LONG);
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    frame.extend(mask.iter().flatten());
    frame.extend(payload);
    frame
}

/// The whole frames in a stream, however it is cut; keeps memory only for what is not whole.
#[derive(Debug, Default)]
pub struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    /// Takes the next bytes; hands on each frame that is whole now.
    pub fn feed(&mut self, mut bytes: &[u8], mut whole: impl FnMut(Frame<'_>)) {
        if self.rest.is_empty() {
            while let Some(frame) = take_frame(&mut bytes) {
                whole(frame);
            }
            self.rest.extend_from_slice(bytes);
            return;
        }
        self.rest.extend_from_slice(bytes);
        let mut unread = self.rest.as_slice();
        while let Some(frame) = take_frame(&mut unread) {
            whole(frame);
        }
        self.rest = unread.to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_stream_is_cut() {
        let payloads = [0, 1, 125, 126, 300, 70_000].map(|length| vec![b'x'; length]);
        for make in [client_frame, server_frame] {
            let stream: Vec<u8> = payloads.iter().flat_map(|it| make(TEXT, it)).collect();
            for cut in [1, 2, 3, 7, 125, 4_096, stream.len()] {
                let mut frames = Frames::default();
                let mut seen = Vec::new();
                for part in stream.chunks(cut) {
                    frames.feed(part, |it| seen.push((it.opcode, it.payload.to_vec())));
                }
                let want = payloads.clone().map(|it| (TEXT, it));
                assert!(seen == want, "cut into {cut}");
            }
        }
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        let header = |length| server_frame(TEXT, &vec![0; length]).len() - length;

        assert_eq!([125, 126, 255, 256, 65_535, 65_536].map(header), [2, 4, 4, 4, 4, 10]);
    }

    #[test]
    fn a_mask_is_handed_on() {
        let mut bytes: &[u8] = &[0x81, 0x81, 1, 2, 3, 4, b'x'];
        assert_eq!(take_frame(&mut bytes).unwrap().mask, [1, 2, 3, 4]);
    }
}
