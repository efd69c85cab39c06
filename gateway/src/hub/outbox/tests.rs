use proptest::prelude::*;

use super::*;
use crate::websocket::frame;

const BOUNDS: Bounds = Bounds { messages_max: 4, bytes_max: 40 };
const ALONE: Joining = Joining(1);
const JOINED: Joining = Joining(100);

fn envelope(text: &str) -> Item {
    Item::Envelope(Encoded::text(8, |out| out.extend_from_slice(text.as_bytes())))
}

fn framed(text: &str) -> Vec<u8> {
    frame::message(true, text.as_bytes()).to_vec()
}

/// What a socket with so much room takes.
fn take(outbox: &mut Outbox, joining: Joining, mut room: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    outbox
        .flush(joining, |slices| {
            let all: Vec<u8> = slices.iter().flat_map(|it| it.to_vec()).collect();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let written = all.len().min(room);
            taken.extend_from_slice(&all[..written]);
            room -= written;
            Ok(written)
        })
        .unwrap();
    taken
}

#[test]
fn messages_go_out_in_order_over_partial_writes() {
    let mut outbox = Outbox::default();
    outbox.push(envelope("abc"), BOUNDS).unwrap();
    outbox.push(envelope("defg"), BOUNDS).unwrap();

    let mut out = take(&mut outbox, ALONE, 4);
    assert_eq!(outbox.bytes(), 7);
    out.extend(take(&mut outbox, ALONE, 99));

    assert_eq!(out, [framed("abc"), framed("defg")].concat());
    assert!(outbox.is_empty());
}

#[test]
fn what_waits_shares_a_frame_and_a_compressed_one_stands_alone() {
    let mut outbox = Outbox::default();
    for text in ["a", "b", "c"] {
        outbox.push(envelope(text), BOUNDS).unwrap();
    }
    outbox.push(Item::Frame("<deflated>".into()), BOUNDS).unwrap();

    let out = take(&mut outbox, JOINED, 99);

    assert_eq!(out, [framed("a\nb\nc"), b"<deflated>".to_vec()].concat());
}

#[test]
fn a_message_past_a_bound_overflows() {
    let mut outbox = Outbox::default();
    outbox.push(envelope(&"x".repeat(36)), BOUNDS).unwrap();

    assert_eq!(outbox.push(envelope("1"), BOUNDS), Err(Overflow));
    assert_eq!((outbox.messages(), outbox.bytes()), (1, 38));
}

#[test]
fn a_frame_that_has_begun_is_finished_before_the_last_one() {
    for (joining, begun) in [(ALONE, framed("abc")), (JOINED, framed("abc\ndef"))] {
        let mut outbox = Outbox::default();
        outbox.push(envelope("abc"), BOUNDS).unwrap();
        outbox.push(envelope("def"), BOUNDS).unwrap();
        let mut out = take(&mut outbox, joining, 4);

        outbox.push_last("X".into());
        out.extend(take(&mut outbox, joining, 99));

        assert_eq!(out, [begun, b"X".to_vec()].concat());
        assert!(outbox.is_empty());
    }
}

#[test]
fn nothing_that_has_not_begun_survives_the_last_frame() {
    let mut outbox = Outbox::default();
    outbox.push(envelope("abc"), BOUNDS).unwrap();
    outbox.push_pong("P".into());

    outbox.push_last("X".into());

    assert_eq!(take(&mut outbox, ALONE, 99), b"X");
}

#[test]
fn one_pong_waits_and_goes_before_what_has_not_begun() {
    let mut outbox = Outbox::default();
    outbox.push_rest("rest".into(), 1);
    outbox.push(envelope("abc"), BOUNDS).unwrap();
    outbox.push_pong("P1".into());
    outbox.push_pong("P2".into());

    assert_eq!(take(&mut outbox, ALONE, 99), [b"restP2".to_vec(), framed("abc")].concat());
}

proptest! {
    #[test]
    fn never_holds_more_than_its_bounds_and_loses_nothing(
        sizes in prop::collection::vec(0_usize..12, 0..60),
        room in 0_usize..30,
        joined: bool,
    ) {
        let joining = if joined { JOINED } else { ALONE };
        let mut outbox = Outbox::default();
        let (mut pushed, mut out) = (String::new(), Vec::new());
        for (at, size) in sizes.into_iter().enumerate() {
            let text = format!("{at}{}", "x".repeat(size));
            if outbox.push(envelope(&text), BOUNDS).is_ok() {
                pushed.push_str(&text);
            }
            prop_assert!(outbox.bytes() <= 40 + 3 && outbox.messages() <= 4);
            out.extend(take(&mut outbox, joining, room));
        }
        out.extend(take(&mut outbox, joining, usize::MAX));
        prop_assert!(outbox.is_empty());

        let mut texts = String::new();
        let mut rest = out.as_slice();
        while let [0x81, length, after @ ..] = rest {
            let (text, more) = after.split_at(usize::from(*length));
            texts.push_str(&String::from_utf8(text.to_vec()).unwrap().replace('\n', ""));
            rest = more;
        }
        prop_assert_eq!(texts, pushed);
    }
}
