//! A client's frames: whatever the pieces, the assembler reads what the model reads, in bounded memory.
#![no_main]

use headgate_fuzz::{
    model::{self, Rules, Said, Wrong},
    pieces, settings,
};
use headgate_gateway::websocket::{
    assembler::{Assembler, Event, Input, Limits, Violation},
    deflate::Inflater,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([flags, size], bytes)) = settings(data) else { return };
    let is_small = flags & 2 != 0;
    let limits = Limits {
        message_bytes_max: if is_small { 300 } else { 16 << 10 },
        fragments_max: if is_small { 4 } else { 64 },
        deflate: flags & 1 != 0,
    };

    let whole = read(bytes, 0, &limits);

    let Limits { message_bytes_max, fragments_max, deflate } = limits;
    let rules = Rules { message_bytes_max, fragments_max, deflate };
    let expected = model::read(bytes, &rules);
    assert!(model::is_said(&whole, &expected, &rules), "{whole:?}, model {expected:?}");
    assert_eq!(read(bytes, 1, &limits), whole, "byte by byte");
    assert_eq!(read(bytes, size, &limits), whole, "in pieces of {size}");
});

fn read(bytes: &[u8], size: u8, limits: &Limits) -> Vec<Said> {
    let wire_max = (limits.message_bytes_max + limits.message_bytes_max / 8 + 64) as usize;
    let inflated_max = (limits.message_bytes_max as usize + 1).max(64 << 10);
    let mut assembler = Assembler::default();
    let mut inflater = Inflater::default();
    let mut said = Vec::new();
    let mut fed = 0;
    for piece in pieces(bytes, size) {
        let mut piece = piece.to_vec();
        fed += piece.len();
        let mut input = Input::new(&mut piece);
        loop {
            match assembler.next(&mut input, limits, &mut inflater) {
                Ok(None) => break,
                Ok(Some(event)) => said.push(plain(event)),
                Err(violation) => said.push(Said::Wrong(wrong(violation))),
            }
            assert!(said.len() <= fed / 2, "more events than frames");
        }
        assert!(input.is_empty(), "something is left over");
        assert!(assembler.heap_bytes() <= 512 + (2 * fed).min(wire_max), "assembler's heap");
        assert!(inflater.heap_bytes() <= inflated_max, "inflater's heap");
    }
    said
}

fn plain(event: Event<'_>) -> Said {
    match event {
        Event::Text(text) => Said::Text(text.to_owned()),
        Event::Binary(bytes) => Said::Binary(bytes.to_vec()),
        Event::Ping(bytes) => Said::Ping(bytes.to_vec()),
        Event::Pong(bytes) => Said::Pong(bytes.to_vec()),
        Event::Close(close) => Said::Close(close.map(|(code, words)| (code, words.to_owned()))),
    }
}

fn wrong(violation: Violation) -> Wrong {
    match violation {
        Violation::Protocol(_) => Wrong::Protocol,
        Violation::InvalidText => Wrong::NotText,
        Violation::TooBig => Wrong::TooBig,
        Violation::TooManyFragments => Wrong::TooManyFragments,
    }
}
