use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const BYTES_MAX: u64 = 100_000;

#[track_caller]
fn check(deflated: &[u8], expected: Result<&[u8], InflateError>) {
    assert_eq!(Inflater::default().inflate(deflated, BYTES_MAX), expected);
}

/// One message in several runs of a compressor, each ended by `flush`.
fn deflate(parts: &[&[u8]], flush: FlushCompress) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(1 << 20);
    let mut stream = Compress::new(Compression::new(6), false);
    for part in parts {
        stream.compress_vec(part, &mut deflated, flush).unwrap();
        if flush == FlushCompress::Finish {
            stream.reset();
        }
    }
    deflated
}

#[test]
fn the_rfcs_examples_are_inflated() {
    check(b"\xf2\x48\xcd\xc9\xc9\x07\x00", Ok(b"Hello"));
    check(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", Ok(b"Hello"));
    check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", Ok(b"Hello"));
    check(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", Ok(b"Hello"));
    check(b"\x00", Ok(b""));
}

#[test]
fn a_final_block_may_be_the_last_byte_or_go_on() {
    check(b"\xf3\x48\xcd\xc9\xc9\x07\x00", Ok(b"Hello"));
    check(&deflate(&[b"Hello", b" and ", b"again"], FlushCompress::Finish), Ok(b"Hello and again"));
    // The second block copies five bytes from five back, across the final block.
    check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x03\x13\x00\x00", Ok(b"HelloHello"));
}

#[test]
fn what_is_not_deflated_or_not_whole_is_corrupt() {
    let corrupt = Err(InflateError::Corrupt);
    check(b"\xff\xff", corrupt);
    check(b"\xf2\x48\xcd\xc9", corrupt);
    check(b"\x00\xff\xff\x00\x00abc", corrupt);
    check(b"\x00\x05\x00\xfa\xffHel", corrupt);
    // Stored blocks that lack as many bytes as we add, or lack more than the bound.
    check(b"\x01\x09\x00\xf6\xff", corrupt);
    check(b"\x01\x04\x00\xfb\xff", corrupt);
    assert_eq!(Inflater::default().inflate(b"\x00\xff", 5), Err(InflateError::Corrupt));
    check(b"\x03\x13\x00\x00", corrupt);
    check(b"", corrupt);
}

#[test]
fn many_final_blocks_are_refused() {
    let parts = vec![b"".as_slice(); FINAL_BLOCKS_MAX as usize + 2];

    check(&deflate(&parts, FlushCompress::Finish), Err(InflateError::Corrupt));
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let bomb = deflate(&[&vec![0; 5_000_000]], FlushCompress::Sync);
    let mut inflater = Inflater::default();

    assert_eq!(inflater.inflate(&bomb, BYTES_MAX), Err(InflateError::TooBig));
    assert!(inflater.heap_bytes() <= 100_001);

    inflater.release();

    assert!(inflater.heap_bytes() <= KEPT_BYTES_MAX);
}

#[test]
fn a_message_at_the_bound_passes() {
    let message = vec![7; 5_000];
    let deflated = deflate(&[&message], FlushCompress::Sync);
    let deflated = deflated.strip_suffix(b"\x00\x00\xff\xff").unwrap();
    let mut inflater = Inflater::default();

    assert_eq!(inflater.inflate(deflated, 5_000), Ok(message.as_slice()));
    assert_eq!(inflater.inflate(deflated, 4_999), Err(InflateError::TooBig));
    assert_eq!(inflater.inflate(deflated, 0), Err(InflateError::TooBig));
    assert_eq!(inflater.inflate(deflated, u64::MAX), Ok(message.as_slice()));
}

proptest! {
    #[test]
    fn any_bytes_end_within_the_bound(
        messages in prop::collection::vec(any::<Vec<u8>>(), 1..4),
        bytes_max in 0_u64..2_000,
    ) {
        let mut inflater = Inflater::default();
        for message in messages {
            if let Ok(inflated) = inflater.inflate(&message, bytes_max) {
                prop_assert!(inflated.len() as u64 <= bytes_max);
            }
            prop_assert!(inflater.heap_bytes() as u64 <= bytes_max + 1);
        }
    }

    #[test]
    fn blocks_in_any_number_make_one_message(
        parts in prop::collection::vec("[a-c]{0,50}", 1..9),
        is_final: bool,
    ) {
        let pieces: Vec<_> = parts.iter().map(String::as_bytes).collect();
        let flush = if is_final { FlushCompress::Finish } else { FlushCompress::Sync };
        let mut deflated = deflate(&pieces, flush);
        if !is_final {
            deflated.truncate(deflated.len().saturating_sub(4));
        }
        // zlib flushes nothing where there is nothing.
        prop_assume!(!deflated.is_empty());

        let whole = parts.concat();
        let mut inflater = Inflater::default();
        prop_assert_eq!(inflater.inflate(&deflated, BYTES_MAX), Ok(whole.as_bytes()));
    }
}
