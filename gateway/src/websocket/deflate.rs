//! Deflates publications (RFC 7692, section 7.2.1), without context takeover.
//!
//! Without it the bytes do not depend on what a client got before: a publication is deflated once,
//! for all. One deflater serves a worker.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};

pub use super::{
    extension::{Agreement, Malformed, negotiate, window_holds},
    inflate::{InflateError, Inflater},
};

/// How a flushed stream ends; the receiver adds it again.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A worker's deflater.
pub struct Deflater {
    stream: Compress,
    level: u32,
}

impl Deflater {
    /// Level 0 (stored) to 9 (smallest); more is taken for 9.
    pub fn new(level: u32) -> Self {
        let level = level.min(9);
        let stream = Compress::new(Compression::new(level), false);
        Self { stream, level }
    }

    /// The payload deflated; `None` where that makes it no shorter, so that plain is better.
    pub fn deflate(&mut self, payload: &[u8], level: u32) -> Option<Vec<u8>> {
        if self.level != level.min(9) {
            *self = Self::new(level);
        }
        self.stream.reset();
        let mut deflated = Vec::with_capacity(room(payload.len()));
        let status = self.stream.compress_vec(payload, &mut deflated, FlushCompress::Sync).ok()?;
        // Room left over means that the flush is over.
        let is_whole = status == Status::Ok
            && self.stream.total_in() == payload.len() as u64
            && deflated.len() < deflated.capacity();
        if !is_whole {
            // What a stream could not write it keeps through a reset (zlib-rs 0.6), and panics once
            // there is too much of it.
            self.stream = Compress::new(Compression::new(self.level), false);
            return None;
        }
        let bytes = deflated.strip_suffix(&TAIL)?.len();
        deflated.truncate(bytes);
        (bytes < payload.len()).then_some(deflated)
    }
}

/// What the worst payload takes: nine bits a byte at level 1, and the heads of its blocks.
const fn room(payload_bytes: usize) -> usize {
    payload_bytes + payload_bytes / 8 + 256
}

/// Says nothing of the message.
impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("level", &self.level).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    const LEVEL: u32 = 6;

    #[test]
    fn what_gets_no_shorter_stays_plain() {
        let mut deflater = Deflater::new(LEVEL);

        assert_eq!(deflater.deflate(b"", LEVEL), None);
        assert_eq!(deflater.deflate(b"Hello", LEVEL), None);
        assert!(deflater.deflate(&[b'x'; 100], LEVEL).is_some());
        assert_eq!(deflater.deflate(&[b'x'; 100], 0), None);
        assert!(deflater.deflate(&[b'x'; 100], u32::MAX).is_some());
    }

    #[test]
    fn a_smaller_window_holds_what_is_no_longer() {
        for bits in 9..=15 {
            let half = 1 << (bits - 1);
            let mut noise: Vec<u8> =
                (0..half).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            noise.extend_from_within(..);
            let mut deflater = Deflater::new(9);
            let mut deflated = deflater.deflate(&noise, 9).unwrap();
            deflated.extend(TAIL);
            let mut inflated = Vec::with_capacity(noise.len() + 1);

            let mut small = Decompress::new_with_window_bits(false, bits);
            // Piece by piece, so that nothing but the window is there to look back at.
            for piece in deflated.chunks(64) {
                let mut out = Vec::with_capacity(noise.len() + 1);
                small.decompress_vec(piece, &mut out, FlushDecompress::Sync).unwrap();
                inflated.extend(out);
            }

            assert!(inflated == noise, "{bits} bits");
        }
    }

    #[test]
    fn noise_of_any_length_at_any_level_leaves_the_deflater_as_good_as_new() {
        let mut rng = fastrand::Rng::with_seed(1);
        for level in 0..=9 {
            let mut deflater = Deflater::new(level);
            for bytes in (0..60).map(|i| i * i * 40) {
                let noise: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();

                assert_eq!(deflater.deflate(&noise, level), None, "{bytes} bytes at {level}");
                assert!(level == 0 || deflater.deflate(&[b'x'; 100], level).is_some());
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_deflated_is_inflated(
            payloads in prop::collection::vec("[a-e]{0,300}|\\PC{0,40}", 1..6),
            level in 0_u32..=9,
        ) {
            let mut deflater = Deflater::new(LEVEL);
            let mut inflater = Inflater::default();
            for payload in payloads {
                let Some(deflated) = deflater.deflate(payload.as_bytes(), level) else { continue };

                prop_assert!(deflated.len() < payload.len());
                prop_assert_eq!(
                    inflater.inflate(&deflated, payload.len() as u64),
                    Ok(payload.as_bytes())
                );
            }
        }

        #[test]
        fn bytes_depend_on_nothing_before(first in "[a-c]{0,99}", payload in "[a-c]{50,99}") {
            let mut used = Deflater::new(LEVEL);
            used.deflate(first.as_bytes(), LEVEL);
            let mut fresh = Deflater::new(LEVEL);

            prop_assert_eq!(
                used.deflate(payload.as_bytes(), LEVEL),
                fresh.deflate(payload.as_bytes(), LEVEL)
            );
        }
    }
}
