//! Deflates publications (RFC 7692, section 7.2.1), without context takeover.
//!
//! Without it the bytes do not depend on what a client got before: a publication is deflated once,
//! for all. One deflater serves a worker.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};

/// How a flushed stream ends; the receiver adds it again.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The room that is kept from one message to the next.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A worker's deflater.
pub struct Deflater {
    stream: Compress,
    level: u32,
    deflated: Vec<u8>,
}

impl Deflater {
    /// Level 0 (stored) to 9 (smallest); more is taken for 9.
    pub fn new(level: u32) -> Self {
        let level = level.min(9);
        let stream = Compress::new(Compression::new(level), false);
        Self { stream, level, deflated: Vec::new() }
    }

    /// The payload deflated; `None` where that makes it no shorter, so that plain is better.
    pub fn deflate(&mut self, payload: &[u8], level: u32) -> Option<&[u8]> {
        if self.level != level.min(9) {
            *self = Self::new(level);
        }
        self.stream.reset();
        self.deflated.clear();
        self.deflated.shrink_to(KEPT_BYTES_MAX);
        // A result that needs more room than this is one that nobody wants.
        self.deflated.reserve(payload.len() + TAIL.len());
        let status =
            self.stream.compress_vec(payload, &mut self.deflated, FlushCompress::Sync).ok()?;
        let is_whole = status == Status::Ok
            && self.stream.total_in() == payload.len() as u64
            && self.deflated.len() < self.deflated.capacity();
        let deflated = self.deflated.strip_suffix(&TAIL)?;
        (is_whole && deflated.len() < payload.len()).then_some(deflated)
    }
}

/// Says nothing of the message.
impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("level", &self.level).finish_non_exhaustive()
    }
}
