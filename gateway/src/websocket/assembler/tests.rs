//! Tables of what clients may and may not send, and tungstenite's `WebSocket` as the second opinion.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::{
    Error, Message as TheirMessage, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use super::*;

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

/// What a client can send in one go, most of it well-formed.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-zäß€😀]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
        (0_usize..310).prop_map(|bytes| vec![b'x'; bytes]),
        Just(b"\xe2\x82".to_vec()),
        Just(b"\xac".to_vec()),
    ];
    let first = prop_oneof![
        8 => prop::sample::select(vec![
            FIN | TEXT, FIN | BINARY, FIN | PING, FIN | PONG,
            TEXT, TEXT, BINARY, CONTINUE, CONTINUE, CONTINUE, FIN | CONTINUE, FIN | CONTINUE,
        ]),
        1 => any::<u8>().prop_filter("close frames are made below", |it| it & 0xf != CLOSE),
    ];
    prop_oneof![
        20 => (first, payload).prop_map(|(first, payload)| frame(first, &payload)),
        1 => (1000_u16..1004, "[a-zß]{0,9}").prop_map(|(code, words)| {
            frame(FIN | CLOSE, &[&code.to_be_bytes(), words.as_bytes()].concat())
        }),
    ]
}

fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any_frame(), 0..12).prop_map(|frames| frames.concat())
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![prop::collection::vec(1_usize..8, 1..8), prop::collection::vec(1_usize..400, 1..8),]
}

/// What tungstenite makes of the same bytes.
fn read_by_tungstenite(bytes: &[u8]) -> Vec<Seen> {
    let config = WebSocketConfig::default().max_message_size(Some(300)).max_frame_size(Some(300));
    let stream = Client(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(TheirMessage::Text(text)) => Seen::Text(text.as_str().to_owned()),
            Ok(TheirMessage::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(TheirMessage::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(TheirMessage::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(TheirMessage::Close(close)) => {
                let close = close.map(|it| (it.code.into(), it.reason.as_str().to_owned()));
                seen.push(Seen::Close(close));
                return seen;
            }
            Ok(TheirMessage::Frame(_)) => unreachable!("raw frames are never read"),
            Err(Error::Utf8(_)) => Seen::Violation(Violation::InvalidText),
            Err(Error::Capacity(_)) => Seen::Violation(Violation::TooBig),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return seen,
            Err(Error::Protocol(_)) => protocol(""),
            Err(error) => panic!("{error}"),
        });
        if let Some(Seen::Violation(_)) = seen.last() {
            return seen;
        }
    }
}

/// A client that has sent everything, and never reads.
struct Client(Cursor<Vec<u8>>);

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same without our words for violations, and without which of two comes first where a frame
/// has both: tungstenite compares a frame's length before it looks at its kind.
fn without_words(seen: Vec<Seen>) -> Vec<Seen> {
    let plain = |it| match it {
        Seen::Violation(Violation::Protocol(_) | Violation::TooBig) => protocol(""),
        it => it,
    };
    seen.into_iter().map(plain).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn reads_what_tungstenite_reads(bytes in any_frames(), sizes in any_sizes()) {
        let limits = Limits { fragments_max: u32::MAX, ..LIMITS };

        let ours = read(&bytes, &limits, &sizes);

        prop_assert_eq!(without_words(ours), without_words(read_by_tungstenite(&bytes)));
    }

    #[test]
    fn pieces_change_nothing(
        mut bytes in any_frames(),
        cut in 0_usize..2_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        sizes in any_sizes(),
        deflate: bool,
    ) {
        let limits = Limits { deflate, ..LIMITS };
        bytes.truncate(cut);
        for (index, flip) in flips {
            if !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] ^= flip;
            }
        }

        prop_assert_eq!(read(&bytes, &limits, &sizes), read(&bytes, &limits, &[usize::MAX]));
    }

    #[test]
    fn memory_follows_what_came_and_stops_at_the_limit(
        first in prop::sample::select(vec![TEXT, BINARY, FIN | BINARY, FIN | TEXT]),
        sent in 0_usize..20_000,
        sizes in any_sizes(),
    ) {
        let limits = Limits { message_bytes_max: 10_000, ..LIMITS };
        let mut bytes = [declared(first, 10_000), vec![0; 4], vec![0; sent]].concat();
        let mut assembler = Assembler::default();
        let mut inflater = Inflater::default();
        let mut rest = Input::new(&mut bytes);
        let mut fed = 0;
        for size in sizes.iter().cycle().take(1_000) {
            let mut piece = Input::new(rest.take(*size as u64));
            fed += piece.as_slice().len();
            while let Ok(Some(_)) = assembler.next(&mut piece, &limits, &mut inflater) {}

            prop_assert!(assembler.heap_bytes() <= 512 + (2 * fed).min(10_000));
        }
    }
}
