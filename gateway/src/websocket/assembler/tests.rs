//! Tables of what clients may and may not send; random frames are in [`random`].

use super::*;

mod random;

mod inflate;
mod model;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const LIMITS: Limits = Limits { message_bytes_max: 300, fragments_max: 4, deflate: false };
const DEFLATE: Limits = Limits { deflate: true, ..LIMITS };

/// An event, or what ended the connection.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(Violation),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(close) => Self::Close(close.map(|(code, words)| (code, words.into()))),
        }
    }
}

fn seen_text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

fn protocol(words: &'static str) -> Seen {
    Seen::Violation(Violation::Protocol(words))
}

/// A frame as a client sends it; `first` holds FIN, the reserved bits and the opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = declared(first, payload.len() as u64);
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The first bytes of a frame, up to its mask.
fn declared(first: u8, payload_bytes: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(bytes @ ..126), _) => header.push(0x80 | bytes),
        (_, Ok(bytes)) => {
            header.push(0xfe);
            header.extend(bytes.to_be_bytes());
        }
        _ => {
            header.push(0xff);
            header.extend(payload_bytes.to_be_bytes());
        }
    }
    header
}

/// What comes out of bytes that come in pieces of these sizes, over and over.
fn read(bytes: &[u8], limits: &Limits, sizes: &[usize]) -> Vec<Seen> {
    let mut assembler = Assembler::default();
    let mut inflater = Inflater::default();
    let mut seen = Vec::new();
    let mut bytes = bytes.to_vec();
    let mut rest = Input::new(&mut bytes);
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().unwrap();
        let mut piece = Input::new(rest.take(*size as u64));
        loop {
            match assembler.next(&mut piece, limits, &mut inflater) {
                Ok(Some(event)) => seen.push(event.into()),
                Ok(None) => break,
                Err(violation) => seen.push(Seen::Violation(violation)),
            }
        }
        assert!(piece.is_empty());
    }
    seen
}

#[track_caller]
fn check_with(limits: &Limits, frames: &[Vec<u8>], expected: &[Seen]) {
    let bytes = frames.concat();

    assert_eq!(read(&bytes, limits, &[usize::MAX]), expected, "in one piece");
    assert_eq!(read(&bytes, limits, &[1]), expected, "byte by byte");
}

#[track_caller]
fn check(frames: &[Vec<u8>], expected: &[Seen]) {
    check_with(&LIMITS, frames, expected);
}

#[test]
fn messages_and_control_frames_are_read() {
    check(&[frame(FIN | TEXT, b"Hello")], &[seen_text("Hello")]);
    check(&[frame(FIN | TEXT, b"")], &[seen_text("")]);
    check(&[frame(FIN | BINARY, &[7; 300])], &[Seen::Binary(vec![7; 300])]);
    check(
        &[frame(FIN | PING, b"a"), frame(FIN | PONG, &[0; 125]), frame(FIN | TEXT, b"b")],
        &[Seen::Ping(b"a".to_vec()), Seen::Pong(vec![0; 125]), seen_text("b")],
    );
}

#[test]
fn fragments_make_one_message_and_control_frames_go_between() {
    check(
        &[
            frame(TEXT, b"He"),
            frame(FIN | PING, b"?"),
            frame(CONTINUE, b""),
            frame(FIN | CONTINUE, b"llo"),
            frame(FIN | TEXT, b"next"),
        ],
        &[Seen::Ping(b"?".to_vec()), seen_text("Hello"), seen_text("next")],
    );
    check(&[frame(TEXT, b""), frame(FIN | CONTINUE, b"")], &[seen_text("")]);
}

#[test]
fn nothing_is_read_after_a_close() {
    let after = frame(FIN | TEXT, b"more");
    let close = |payload: &[u8]| frame(FIN | CLOSE, payload);

    check(&[close(b""), after.clone()], &[Seen::Close(None)]);
    check(&[close(b"\x03\xe8bye"), after.clone()], &[Seen::Close(Some((1000, "bye".to_owned())))]);
    check(&[close(b"\x03"), after], &[protocol("close frame holds half a status code")]);
}

#[test]
fn frames_that_the_rfc_forbids_are_violations() {
    let reserved_bit = "reserved bit is set";
    let cases = [
        (b"\x81\x05Hello".to_vec(), "frame is not masked"),
        (frame(FIN | 0x20 | TEXT, b""), reserved_bit),
        (frame(FIN | 0x10 | TEXT, b""), reserved_bit),
        (frame(FIN | RSV1 | TEXT, b""), reserved_bit),
        (frame(FIN | RSV1 | PING, b""), reserved_bit),
        (frame(FIN | 3, b""), "opcode is reserved"),
        (frame(FIN | 7, b""), "opcode is reserved"),
        (frame(FIN | 0xb, b""), "opcode is reserved"),
        (frame(FIN | 0xf, b""), "opcode is reserved"),
        (frame(PING, b""), "control frame is fragmented"),
        (frame(CLOSE, b""), "control frame is fragmented"),
        (frame(FIN | PING, &[0; 126]), "control frame is longer than 125 bytes"),
        (frame(FIN | CLOSE, &[0; 126]), "control frame is longer than 125 bytes"),
        (frame(CONTINUE, b""), "continuation of no message"),
        (frame(FIN | CONTINUE, b""), "continuation of no message"),
        (b"\x81\xfe\x00\x7d\0\0\0\0".to_vec(), "payload length takes more bytes than it needs"),
        (
            b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec(),
            "payload length takes more bytes than it needs",
        ),
    ];
    for (bytes, words) in cases {
        check(&[bytes, frame(FIN | TEXT, b"after")], &[protocol(words)]);
    }
    check(
        &[frame(TEXT, b"a"), frame(FIN | TEXT, b"b")],
        &[protocol("message begins inside another")],
    );
    check(
        &[frame(BINARY, b"a"), frame(CONTINUE, b"b"), frame(BINARY, b"c")],
        &[protocol("message begins inside another")],
    );
}

#[test]
fn declared_lengths_are_compared_before_anything_is_kept() {
    let too_big = Seen::Violation(Violation::TooBig);
    let highest_bit = protocol("payload length has its highest bit set");
    let cases = [
        (301, &too_big),
        (1 << 31, &too_big),
        (1 << 32, &too_big),
        ((1 << 63) - 1, &too_big),
        (1 << 63, &highest_bit),
        (u64::MAX, &highest_bit),
    ];
    for (payload_bytes, expected) in cases {
        let header = [declared(FIN | BINARY, payload_bytes), vec![0; 4]].concat();
        check(&[header], std::slice::from_ref(expected));
    }

    let fragments = [frame(BINARY, &[0; 200]), declared(FIN | CONTINUE, 101), vec![0; 4]];
    check(&fragments, &[too_big]);
}

#[test]
fn fragments_are_counted_though_they_are_empty() {
    let empty = frame(CONTINUE, b"");
    let last = frame(FIN | CONTINUE, b"");
    let first = frame(TEXT, b"");

    check(&[first.clone(), empty.clone(), empty.clone(), last], &[seen_text("")]);
    check(
        &[first, empty.clone(), empty.clone(), empty.clone(), empty],
        &[Seen::Violation(Violation::TooManyFragments)],
    );
}

#[test]
fn text_is_utf8_over_fragments() {
    let koruna = "κόσμε";
    let (front, back) = koruna.as_bytes().split_at(3);
    check(&[frame(TEXT, front), frame(FIN | CONTINUE, back)], &[seen_text(koruna)]);

    let invalid = Seen::Violation(Violation::InvalidText);
    for text in [
        b"\xc0\xaf".as_slice(), // overlong
        b"\xed\xa0\x80",        // a surrogate
        b"\xf4\x90\x80\x80",    // above U+10FFFF
        b"\xff",
        b"a\xe2\x82", // cut short
    ] {
        check(&[frame(FIN | TEXT, text)], std::slice::from_ref(&invalid));
        check(&[frame(TEXT, text), frame(FIN | CONTINUE, b"")], std::slice::from_ref(&invalid));
        check(&[frame(FIN | BINARY, text)], &[Seen::Binary(text.to_vec())]);
    }
}

#[test]
fn what_can_never_be_text_fails_before_its_frame_ends() {
    let mut bytes = frame(FIN | TEXT, b"\xce\xba\xf4\x90\x80\x80 and more");
    bytes.truncate(6 + 4);

    check(&[bytes], &[Seen::Violation(Violation::InvalidText)]);
}

#[test]
fn compressed_messages_are_inflated() {
    // RFC 7692, sections 7.2.3.1 (one and two frames) and 7.2.3.4 (a final block).
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let (front, back) = hello.split_at(3);
    check_with(&DEFLATE, &[frame(FIN | RSV1 | TEXT, hello)], &[seen_text("Hello")]);
    check_with(
        &DEFLATE,
        &[frame(RSV1 | TEXT, front), frame(FIN | PING, b""), frame(FIN | CONTINUE, back)],
        &[Seen::Ping(Vec::new()), seen_text("Hello")],
    );
    check_with(
        &DEFLATE,
        &[frame(FIN | RSV1 | TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")],
        &[seen_text("Hello")],
    );
    check_with(&DEFLATE, &[frame(FIN | TEXT, b"plain")], &[seen_text("plain")]);

    check_with(
        &DEFLATE,
        &[frame(RSV1 | TEXT, front), frame(FIN | RSV1 | CONTINUE, back)],
        &[protocol("reserved bit is set")],
    );
    check_with(
        &DEFLATE,
        &[frame(FIN | RSV1 | TEXT, b"\xff\xff")],
        &[protocol("compressed message is corrupt")],
    );
    // One stored block that holds a byte which is no text.
    check_with(
        &DEFLATE,
        &[frame(FIN | RSV1 | TEXT, b"\x00\x01\x00\xfe\xff\xff\x00")],
        &[Seen::Violation(Violation::InvalidText)],
    );
}

#[test]
fn a_stored_message_at_the_limit_may_be_longer_on_the_wire() {
    let stored = [b"\x00\x2c\x01\xd3\xfe".as_slice(), &[b'x'; 300], b"\x00"].concat();

    let expected = seen_text(&"x".repeat(300));
    check_with(&DEFLATE, &[frame(FIN | RSV1 | TEXT, &stored)], &[expected]);

    let too_big = Seen::Violation(Violation::TooBig);
    check_with(&DEFLATE, &[declared(FIN | RSV1 | TEXT, 500), vec![0; 4]], &[too_big]);
}

#[test]
fn an_idle_connection_owns_no_heap() {
    let mut assembler = Assembler::default();
    let mut inflater = Inflater::default();
    let mut bytes = [frame(FIN | TEXT, b"whole"), frame(BINARY, b"begun")].concat();
    let mut input = Input::new(&mut bytes);

    assert!(size_of::<Assembler>() <= 64);
    assert_eq!(assembler.heap_bytes(), 0);
    while assembler.next(&mut input, &LIMITS, &mut inflater).unwrap().is_some() {}
    assert!(assembler.is_incomplete());
    assert!(assembler.heap_bytes() > 0);

    let mut bytes = frame(FIN | CONTINUE, b" and ended");
    let mut input = Input::new(&mut bytes);
    while assembler.next(&mut input, &LIMITS, &mut inflater).unwrap().is_some() {}
    assert!(!assembler.is_incomplete());
    assert_eq!(assembler.heap_bytes(), 0);
}

#[test]
fn only_a_begun_data_message_is_incomplete() {
    let is_incomplete_after = |bytes: &[u8]| {
        let mut assembler = Assembler::default();
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        let mut inflater = Inflater::default();
        while assembler.next(&mut input, &LIMITS, &mut inflater).unwrap().is_some() {}
        assembler.is_incomplete()
    };

    assert!(is_incomplete_after(&[FIN | TEXT]));
    assert!(is_incomplete_after(&declared(FIN | TEXT, 1)));
    assert!(is_incomplete_after(&frame(TEXT, b"")));
    assert!(is_incomplete_after(&[frame(TEXT, b""), vec![FIN | PING]].concat()));
    assert!(!is_incomplete_after(&[FIN | PING]));
    assert!(!is_incomplete_after(&frame(FIN | PING, b"whole")[..8]));
    assert!(!is_incomplete_after(&frame(FIN | TEXT, b"whole")));
}
