//! Random frames in random pieces; a plain model, and tungstenite's `WebSocket`, as second opinions.

use std::io::{self, Cursor, Read, Write};

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use tungstenite::{
    Error, Message as TheirMessage, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use super::*;

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

/// Deflated as permessage-deflate has it: in parts that are flushed, or end with a final block each.
fn deflated(payload: &[u8], level: u32, parts: usize, is_final: bool) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(payload.len() * 2 + 1_024);
    let mut stream = Compress::new(Compression::new(level), false);
    let flush = if is_final { FlushCompress::Finish } else { FlushCompress::Sync };
    for part in payload.chunks(payload.len().div_ceil(parts).max(1)) {
        stream.compress_vec(part, &mut deflated, flush).unwrap();
        if is_final {
            stream.reset();
        }
    }
    if !is_final {
        // The end of a flush, which the receiver adds again.
        deflated.truncate(deflated.len().saturating_sub(4));
    }
    if deflated.is_empty() { vec![0] } else { deflated }
}

/// A message in any number of fragments, with control frames between, deflated or not.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-c]{0,80}".prop_map(String::into_bytes),
        "[a-zäß€😀]{0,40}".prop_map(String::into_bytes),
        (290_usize..310).prop_map(|bytes| vec![b'x'; bytes]),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let deflate = prop::option::of((0_u32..=9, 1_usize..16, any::<bool>()));
    let flip = prop::option::weighted(0.1, (any::<prop::sample::Index>(), any::<u8>()));
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let between = prop::sample::select(vec![FIN | PING, FIN | PONG]);
    let kind = prop::sample::select(vec![TEXT, BINARY]);
    (payload, kind, deflate, flip, cuts, prop::option::of(between)).prop_map(
        |(mut payload, kind, deflate, flip, cuts, between)| {
            if let Some((level, parts, is_final)) = deflate {
                payload = deflated(&payload, level, parts, is_final);
            }
            if let Some((index, flip)) = flip.filter(|_| !payload.is_empty()) {
                let index = index.index(payload.len());
                payload[index] ^= flip;
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            cuts.sort_unstable();
            let rsv1 = if deflate.is_some() { RSV1 } else { 0 };
            let mut frames = Vec::new();
            let (mut first, mut from) = (rsv1 | kind, 0);
            for cut in cuts {
                frames.extend(frame(first, &payload[from..cut]));
                frames.extend(between.map(|it| frame(it, b"between")).unwrap_or_default());
                (first, from) = (CONTINUE, cut);
            }
            frames.extend(frame(FIN | first, &payload[from..]));
            frames
        },
    )
}

fn rules(limits: &Limits) -> model::Rules {
    let &Limits { message_bytes_max, fragments_max, deflate } = limits;
    model::Rules { message_bytes_max, fragments_max, deflate }
}

impl From<Seen> for model::Said {
    fn from(seen: Seen) -> Self {
        use model::Wrong;
        match seen {
            Seen::Text(text) => Self::Text(text),
            Seen::Binary(bytes) => Self::Binary(bytes),
            Seen::Ping(bytes) => Self::Ping(bytes),
            Seen::Pong(bytes) => Self::Pong(bytes),
            Seen::Close(close) => Self::Close(close),
            Seen::Violation(violation) => Self::Wrong(match violation {
                Violation::Protocol(_) => Wrong::Protocol,
                Violation::InvalidText => Wrong::NotText,
                Violation::TooBig => Wrong::TooBig,
                Violation::TooManyFragments => Wrong::TooManyFragments,
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn reads_what_the_model_reads(
        messages in prop::collection::vec(prop_oneof![3 => any_message(), 1 => any_frame()], 0..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        sizes in any_sizes(),
        deflate in prop::bool::weighted(0.9),
    ) {
        let limits = Limits { deflate, ..LIMITS };
        let mut bytes = messages.concat();
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }

        let ours: Vec<_> = read(&bytes, &limits, &sizes).into_iter().map(model::Said::from).collect();

        let theirs = model::read(&bytes, &rules(&limits));
        prop_assert!(model::is_said(&ours, &theirs, &rules(&limits)), "{ours:?}, model {theirs:?}");
    }

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
