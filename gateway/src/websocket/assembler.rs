//! Frames to messages, for one connection.
//!
//! The worker reads every socket into one buffer and hands the bytes here. A message that lies
//! there whole in one frame is unmasked in place and handed on without a copy; only what is
//! incomplete is kept, so an idle connection keeps nothing. Lengths that a client declares are
//! compared, never allocated.

#![expect(clippy::mut_mut, reason = "input is a slice that shrinks from its front")]

use std::io::Cursor;

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

use super::{
    deflate::{Inflater, Inflation},
    frame::unmask,
};

/// The longest header of a masked frame.
const HEADER_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What a connection may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a message, after inflating.
    pub message_bytes_max: u64,
    /// Frames of a message, empty ones too.
    pub fragments_max: u32,
    /// Whether compressed messages were agreed on.
    pub deflate: bool,
}

/// What a client did that ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Against RFC 6455 or RFC 7692; the words are for the log.
    Protocol(&'static str),
    /// Text that is not UTF-8.
    InvalidText,
    /// A message larger than it may be.
    TooBig,
    /// A message of more fragments than it may have.
    TooManyFragments,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong that has the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or none that was asked for.
    Pong(&'a [u8]),
    /// The client closes; its code, where it gave one. Nothing after it is read.
    Close(Option<u16>),
}

/// Reads the frames of one connection.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Box<Partial>>,
}

/// What is incomplete: a header, a frame or a message.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a header that is not whole.
    head: smallvec::SmallVec<[u8; HEADER_MAX]>,
    /// The frame whose payload is not whole.
    frame: Option<Frame>,
    /// The payload of a control frame that is not whole.
    control: Vec<u8>,
    /// The message that is not whole, and its payload so far.
    message: Option<Message>,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    read: u64,
    length: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    is_text: bool,
    is_compressed: bool,
    fragments: u32,
    /// Bytes of the payload that are known to be UTF-8.
    checked: usize,
}

/// What there is to hand out.
enum Ready {
    Message(Message),
    Control(Control),
}

impl Assembler {
    /// Whether a message has begun and is not whole.
    pub fn is_incomplete(&self) -> bool {
        self.partial
            .as_ref()
            .is_some_and(|it| it.message.is_some() || it.frame.is_some() || !it.head.is_empty())
    }

    /// Reads up to the next event; `None` once all input is used up.
    ///
    /// # Errors
    ///
    /// A [`Violation`], after which nothing may be read any more.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Option<Event<'a>>, Violation> {
        if self.partial.is_none() {
            // The hot path: whole messages in the caller's buffer.
            let Some((header, length, at)) = parse(input)? else {
                if !input.is_empty() {
                    let partial = self.partial.insert(Box::default());
                    partial.head.extend_from_slice(input);
                    *input = &mut [];
                }
                return Ok(None);
            };
            let (frame, message) = begin(&header, length, None, limits)?;
            let whole = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
            if let Some(end) = whole
                && end <= input.len()
                && frame.is_final
                && let Some((used, rest)) = std::mem::take(input).split_at_mut_checked(end)
            {
                *input = rest;
                let payload = used.get_mut(at..).unwrap_or_default();
                unmask(payload, frame.mask, 0);
                return match (frame.opcode, message) {
                    (OpCode::Control(kind), _) => control(kind, payload).map(Some),
                    (OpCode::Data(_), Some(message)) => {
                        whole_message(message, payload, limits, inflater).map(Some)
                    }
                    (OpCode::Data(_), None) => Err(Violation::Protocol("continuation of nothing")),
                };
            }
            take(input, at);
            self.partial = Some(Box::new(Partial {
                frame: Some(frame),
                message: message.filter(|_| matches!(frame.opcode, OpCode::Data(_))),
                ..Partial::default()
            }));
        }
        let Some(ready) = self.resume(input, limits)? else { return Ok(None) };
        self.hand_out(&ready, limits, inflater)
    }

    /// Goes on with what is incomplete until something is whole or the input is used up.
    fn resume(
        &mut self,
        input: &mut &mut [u8],
        limits: &Limits,
    ) -> Result<Option<Ready>, Violation> {
        let Some(partial) = self.partial.as_mut() else { return Ok(None) };
        loop {
            if partial.frame.is_none() {
                if !partial.head_read(input, limits)? {
                    return Ok(None);
                }
                continue;
            }
            if let Some(ready) = partial.payload_read(input)? {
                return Ok(Some(ready));
            }
            if partial.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// Hands out what is whole, and keeps no memory that is not needed.
    fn hand_out<'a>(
        &'a mut self,
        ready: &Ready,
        limits: &Limits,
        inflater: &'a mut Inflater,
    ) -> Result<Option<Event<'a>>, Violation> {
        let Some(partial) = self.partial.as_mut() else { return Ok(None) };
        match ready {
            Ready::Control(kind) => control(*kind, &partial.control).map(Some),
            Ready::Message(message) => {
                whole_message(*message, &partial.payload, limits, inflater).map(Some)
            }
        }
    }

    /// Frees what the last event was handed out from; the caller calls this after each event.
    pub fn release(&mut self) {
        let Some(partial) = self.partial.as_mut() else { return };
        if partial.frame.is_none() {
            partial.control = Vec::new();
            if partial.message.is_none() {
                partial.payload = Vec::new();
                if partial.head.is_empty() {
                    self.partial = None;
                }
            }
        }
    }
}

impl Partial {
    /// Reads a header; whether it is whole.
    fn head_read(&mut self, input: &mut &mut [u8], limits: &Limits) -> Result<bool, Violation> {
        // One byte at a time: a header is short, and this is not the hot path.
        loop {
            if let Some((header, length, at)) = parse(&self.head)? {
                debug_assert_eq!(at, self.head.len());
                self.head.clear();
                let (frame, message) = begin(&header, length, self.message.as_ref(), limits)?;
                if let Some(mut message) = message {
                    if message.fragments > 1 {
                        message.checked = self.message.map_or(0, |it| it.checked);
                    }
                    let total = (self.payload.len() as u64).saturating_add(length);
                    if total > limits.message_bytes_max {
                        return Err(Violation::TooBig);
                    }
                    self.message = Some(message);
                }
                self.frame = Some(frame);
                return Ok(true);
            }
            let Some(byte) = input.first().copied() else { return Ok(false) };
            self.head.push(byte);
            take(input, 1);
        }
    }

    /// Reads payload; what is whole now, if anything. The frame is over when `frame` is `None`.
    fn payload_read(&mut self, input: &mut &mut [u8]) -> Result<Option<Ready>, Violation> {
        let Some(frame) = self.frame.as_mut() else { return Ok(None) };
        let missing = usize::try_from(frame.length - frame.read).unwrap_or(usize::MAX);
        let here = missing.min(input.len());
        if let Some(bytes) = input.get_mut(..here) {
            unmask(bytes, frame.mask, usize::try_from(frame.read % 4).unwrap_or_default());
            match frame.opcode {
                OpCode::Control(_) => self.control.extend_from_slice(bytes),
                OpCode::Data(_) => self.payload.extend_from_slice(bytes),
            }
        }
        frame.read += here as u64;
        let frame = *frame;
        take(input, here);
        let is_over = frame.read == frame.length;
        if is_over {
            self.frame = None;
        }
        if let OpCode::Control(kind) = frame.opcode {
            return Ok(is_over.then_some(Ready::Control(kind)));
        }
        let is_whole = is_over && frame.is_final;
        if let Some(message) = &mut self.message
            && message.is_text
            && !message.is_compressed
        {
            message.checked = check_text(&self.payload, message.checked, is_whole)?;
        }
        if is_whole { Ok(self.message.take().map(Ready::Message)) } else { Ok(None) }
    }
}

/// Takes bytes from the front of the input.
fn take(input: &mut &mut [u8], count: usize) {
    let all = std::mem::take(input);
    *input = all.split_at_mut_checked(count).map_or(&mut [], |(_, rest)| rest);
}

/// Reads a header: it, the payload's length and where the payload begins.
fn parse(input: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, Violation> {
    let mut cursor = Cursor::new(input);
    match FrameHeader::parse(&mut cursor) {
        Ok(None) => Ok(None),
        Ok(Some((header, length))) => {
            let at = usize::try_from(cursor.position()).unwrap_or_default();
            Ok(Some((header, length, at)))
        }
        Err(_) => Err(Violation::Protocol("reserved opcode")),
    }
}

/// Checks a header against the rules and against the message that has begun.
fn begin(
    header: &FrameHeader,
    length: u64,
    begun: Option<&Message>,
    limits: &Limits,
) -> Result<(Frame, Option<Message>), Violation> {
    let Some(mask) = header.mask else { return Err(Violation::Protocol("frame without a mask")) };
    if header.rsv2 || header.rsv3 || (header.rsv1 && !limits.deflate) {
        return Err(Violation::Protocol("reserved bit"));
    }
    if length >> 63 == 1 {
        return Err(Violation::Protocol("length with the highest bit set"));
    }
    let frame = Frame { opcode: header.opcode, is_final: header.is_final, mask, read: 0, length };
    let data = match header.opcode {
        OpCode::Control(_) => {
            if !header.is_final || header.rsv1 || length > CONTROL_BYTES_MAX {
                return Err(Violation::Protocol("control frame in parts, compressed or too long"));
            }
            return Ok((frame, None));
        }
        OpCode::Data(data) => data,
    };
    if length > limits.message_bytes_max {
        return Err(Violation::TooBig);
    }
    let message = match (data, begun) {
        (Data::Continue, None) => return Err(Violation::Protocol("continuation of nothing")),
        (Data::Continue, Some(_)) if header.rsv1 => {
            return Err(Violation::Protocol("reserved bit in a continuation"));
        }
        (Data::Continue, Some(begun)) => Message { fragments: begun.fragments + 1, ..*begun },
        (_, Some(_)) => return Err(Violation::Protocol("new message inside another one")),
        (data, None) => Message {
            is_text: data == Data::Text,
            is_compressed: header.rsv1,
            fragments: 1,
            checked: 0,
        },
    };
    if message.fragments > limits.fragments_max {
        return Err(Violation::TooManyFragments);
    }
    Ok((frame, Some(message)))
}

/// Checks text as it comes; returns how much of it is known to be UTF-8.
fn check_text(payload: &[u8], checked: usize, is_whole: bool) -> Result<usize, Violation> {
    match std::str::from_utf8(payload.get(checked..).unwrap_or_default()) {
        Ok(_) => Ok(payload.len()),
        // A character that is cut off may still become whole.
        Err(error) if error.error_len().is_none() && !is_whole => Ok(checked + error.valid_up_to()),
        Err(_) => Err(Violation::InvalidText),
    }
}

fn whole_message<'a>(
    message: Message,
    payload: &'a [u8],
    limits: &Limits,
    inflater: &'a mut Inflater,
) -> Result<Event<'a>, Violation> {
    let payload = if message.is_compressed {
        let bytes_max = usize::try_from(limits.message_bytes_max).unwrap_or(usize::MAX - 1);
        inflater.inflate(payload, bytes_max).map_err(|error| match error {
            Inflation::Corrupt => Violation::Protocol("corrupt compressed data"),
            Inflation::TooBig => Violation::TooBig,
        })?
    } else {
        payload
    };
    if !message.is_text {
        return Ok(Event::Binary(payload));
    }
    std::str::from_utf8(payload).map(Event::Text).map_err(|_| Violation::InvalidText)
}

fn control(kind: Control, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match kind {
        Control::Ping => Ok(Event::Ping(payload)),
        Control::Pong => Ok(Event::Pong(payload)),
        Control::Close => close(payload),
        Control::Reserved(_) => Err(Violation::Protocol("reserved opcode")),
    }
}

fn close(payload: &[u8]) -> Result<Event<'_>, Violation> {
    match payload {
        [] => Ok(Event::Close(None)),
        [_] => Err(Violation::Protocol("close frame of one byte")),
        [high, low, words @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !CloseCode::from(code).is_allowed() {
                return Err(Violation::Protocol("close code that must not be sent"));
            }
            std::str::from_utf8(words).map_err(|_| Violation::InvalidText)?;
            Ok(Event::Close(Some(code)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::Frame as TungsteniteFrame;

    use super::*;

    const LIMITS: Limits = Limits { message_bytes_max: 1_000, fragments_max: 5, deflate: false };

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![first];
        if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
            out.push(0x80 | length);
        } else {
            out.push(0xfe);
            out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        out.extend_from_slice(&mask);
        let mut payload = payload.to_vec();
        unmask(&mut payload, mask, 0);
        out.extend(payload);
        out
    }

    /// Everything that comes out of `wire`, cut into pieces of `piece` bytes.
    fn read(wire: &[u8], piece: usize, limits: &Limits) -> (Vec<String>, Option<Violation>) {
        let mut assembler = Assembler::default();
        let mut inflater = Inflater::default();
        let mut events = Vec::new();
        for piece in wire.chunks(piece.max(1)) {
            let mut bytes = piece.to_vec();
            let mut input = &mut bytes[..];
            loop {
                let event = match assembler.next(&mut input, limits, &mut inflater) {
                    Ok(None) => break,
                    Ok(Some(event)) => format!("{event:?}"),
                    Err(violation) => return (events, Some(violation)),
                };
                let is_over = event.starts_with("Close");
                events.push(event);
                assembler.release();
                if is_over {
                    return (events, None);
                }
            }
        }
        (events, None)
    }

    fn check(wire: &[u8], events: &[&str], violation: Option<Violation>) {
        for piece in [1, 2, 3, 7, 1_000] {
            let (got, ended) = read(wire, piece, &LIMITS);
            assert_eq!(
                (got.iter().map(String::as_str).collect::<Vec<_>>(), ended),
                (events.to_vec(), violation),
                "{piece}"
            );
        }
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let mut wire = masked(0x81, "häß".as_bytes());
        wire.extend(masked(0x01, &"ä".as_bytes()[..1]));
        wire.extend(masked(0x89, b"p"));
        wire.extend(masked(0x80, &"ä".as_bytes()[1..]));
        wire.extend(masked(0x82, &[0xff]));
        wire.extend(masked(0x88, &[3, 232]));
        check(
            &wire,
            &["Text(\"häß\")", "Ping([112])", "Text(\"ä\")", "Binary([255])", "Close(Some(1000))"],
            None,
        );
    }

    #[test]
    fn an_idle_assembler_owns_nothing() {
        let mut assembler = Assembler::default();
        for piece in masked(0x81, b"hello").chunks(3) {
            let mut bytes = piece.to_vec();
            let mut input = &mut bytes[..];
            while assembler.next(&mut input, &LIMITS, &mut Inflater::default()).unwrap().is_some() {
                assembler.release();
            }
        }
        assert!(assembler.partial.is_none());
        assert!(size_of::<Assembler>() <= 8);
    }

    #[test]
    fn violations_are_named() {
        let protocol = |wire: &[u8]| {
            let (_, violation) = read(wire, 1_000, &LIMITS);
            assert!(matches!(violation, Some(Violation::Protocol(_))), "{wire:?} {violation:?}");
        };
        protocol(&[0x81, 0x01, b'a']);
        protocol(&masked(0xc1, b""));
        protocol(&masked(0xa1, b""));
        protocol(&masked(0x83, b""));
        protocol(&masked(0x8b, b""));
        protocol(&masked(0x09, b""));
        protocol(&masked(0x89, &[0; 126]));
        protocol(&masked(0x80, b""));
        protocol(&[masked(0x01, b"a"), masked(0x81, b"b")].concat());
        protocol(&masked(0x88, &[3]));
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            protocol(&masked(0x88, &code.to_be_bytes()));
        }
        protocol(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        check(&masked(0x81, &[0xc0]), &[], Some(Violation::InvalidText));
        check(&masked(0x88, &[3, 232, 0xff]), &[], Some(Violation::InvalidText));
    }

    #[test]
    fn declared_lengths_are_compared_before_anything_else() {
        for length in [1_001_u64, 1 << 31, 1 << 32, (1 << 63) - 1] {
            let mut wire = vec![0x82, 0xff];
            wire.extend(length.to_be_bytes());
            wire.extend([0; 4]);
            assert_eq!(read(&wire, 100, &LIMITS).1, Some(Violation::TooBig));
        }
        let mut wire = masked(0x02, &[0; 600]);
        wire.extend(masked(0x80, &[0; 600]));
        check(&wire, &[], Some(Violation::TooBig));
    }

    #[test]
    fn empty_fragments_count() {
        let mut wire = masked(0x01, b"");
        for _ in 0..5 {
            wire.extend(masked(0x00, b""));
        }
        check(&wire, &[], Some(Violation::TooManyFragments));
    }

    #[test]
    fn bad_text_is_noticed_before_the_frame_is_whole() {
        let mut wire = masked(0x81, &[b'a', 0xff, b'b', b'b', b'b']);
        wire.truncate(wire.len() - 2);
        assert_eq!(read(&wire, 1, &LIMITS).1, Some(Violation::InvalidText));
    }

    #[test]
    fn compressed_messages_are_inflated_within_the_limit() {
        let limits = Limits { deflate: true, ..LIMITS };
        let mut deflater = super::super::deflate::Deflater::new(6);
        let small = deflater.deflate(&[b'x'; 100], 6).unwrap();
        let big = deflater.deflate(&[b'x'; 2_000], 6).unwrap();

        let (events, violation) = read(&masked(0xc1, &small), 3, &limits);
        assert_eq!((events.len(), violation), (1, None));
        assert_eq!(read(&masked(0xc1, &big), 3, &limits).1, Some(Violation::TooBig));
        assert!(matches!(
            read(&masked(0xc1, &[0xff; 5]), 9, &limits).1,
            Some(Violation::Protocol(_))
        ));
    }

    fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        let first = prop_oneof![
            6 => prop::sample::select(vec![0x81_u8, 0x01, 0x00, 0x80, 0x82, 0x02, 0x89, 0x8a]),
            1 => prop::sample::select(vec![0x88_u8, 0xc1, 0x83, 0x09]),
        ];
        let payload = prop_oneof![
            "[a-zäö€😀]{0,40}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec((first, payload), 0..12)
    }

    proptest! {
        /// Tungstenite reads the same messages from the same bytes.
        #[test]
        fn agrees_with_an_independent_assembler(frames in frames(), piece in 1_usize..40) {
            let wire: Vec<u8> = frames.iter().flat_map(|(first, payload)| masked(*first, payload)).collect();
            let limits = Limits { message_bytes_max: 10_000, fragments_max: 99, ..LIMITS };
            let (mine, violation) = read(&wire, piece, &limits);
            let (at_once, at_once_violation) = read(&wire, wire.len(), &limits);
            prop_assert_eq!((&mine, violation.is_some()), (&at_once, at_once_violation.is_some()));
            let (mut theirs, mut is_error) = tungstenite_reads(wire);
            // Tungstenite answers a bad close code by itself instead of reporting it.
            if violation.is_some() && theirs.last().is_some_and(|it| it == "Close(Some(1002))") {
                theirs.pop();
                is_error = true;
            }
            prop_assert_eq!(mine, theirs);
            prop_assert_eq!(violation.is_some(), is_error);
        }
    }

    fn tungstenite_reads(wire: Vec<u8>) -> (Vec<String>, bool) {
        use tungstenite::{
            Error, Message,
            protocol::{Role, WebSocket},
        };
        struct Wire(Cursor<Vec<u8>>);
        impl std::io::Read for Wire {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let read = self.0.read(out)?;
                if read == 0 { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
            }
        }
        impl std::io::Write for Wire {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let _ = TungsteniteFrame::ping(Vec::new());
        let mut socket = WebSocket::from_raw_socket(Wire(Cursor::new(wire)), Role::Server, None);
        let mut events = Vec::new();
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => events.push(format!("{:?}", Event::Text(text.as_str()))),
                Ok(Message::Binary(data)) => events.push(format!("{:?}", Event::Binary(&data))),
                Ok(Message::Ping(data)) => events.push(format!("{:?}", Event::Ping(&data))),
                Ok(Message::Pong(data)) => events.push(format!("{:?}", Event::Pong(&data))),
                Ok(Message::Close(frame)) => {
                    events.push(format!("{:?}", Event::Close(frame.map(|it| it.code.into()))));
                    return (events, false);
                }
                Ok(Message::Frame(_)) => {}
                Err(Error::Io(_)) => return (events, false),
                Err(_) => return (events, true),
            }
        }
    }
}
