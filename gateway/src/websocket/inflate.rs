//! Inflates the messages of clients (RFC 7692, section 7.2.2), without context takeover.
//!
//! The bound is on what comes out, since a kilobyte can inflate to a megabyte. One inflater serves
//! all connections of a worker: no message leaves anything behind for the next.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

/// What the sender has left off.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty final block. It is understood as one only where a block may begin: so a message that was
/// cut short is noticed.
const END: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// The most final blocks in one message. One is rare, and each costs a window's copy.
const FINAL_BLOCKS_MAX: u32 = 256;

/// How far back deflate can look.
const WINDOW_BYTES: usize = 32 * 1024;

/// The room that is kept from one message to the next.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The room that a message begins with, unless its bound is less.
const FIRST_BYTES: usize = 1024;

/// Why a message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// There is more in it than the bound allows.
    #[error("inflated message is larger than the limit")]
    TooBig,
    /// It is not deflated, or not whole.
    #[error("deflated message is corrupt")]
    Corrupt,
}

/// A worker's inflater.
pub struct Inflater {
    stream: Decompress,
    message: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false), message: Vec::new() }
    }
}

impl Inflater {
    /// What `deflated` says, if that is at most `bytes_max` bytes.
    ///
    /// Never holds more than one byte above the bound, and 64 KiB once it is [released](Self::release).
    pub fn inflate(&mut self, deflated: &[u8], bytes_max: u64) -> Result<&[u8], InflateError> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.message.clear();
        self.stream.reset(false);
        let mut rest = deflated;
        let mut final_blocks = 0;
        while self.run(&mut rest, bytes_max)? == Progress::Ended {
            if rest.is_empty() {
                return Ok(&self.message);
            }
            final_blocks += 1;
            if final_blocks > FINAL_BLOCKS_MAX {
                return Err(InflateError::Corrupt);
            }
            self.go_on_after_final_block()?;
        }
        let (mut tail, mut end) = (TAIL.as_slice(), END.as_slice());
        if self.run(&mut tail, bytes_max)? == Progress::Ended {
            return Err(InflateError::Corrupt);
        }
        let bytes = self.message.len();
        let is_ended = self.run(&mut end, bytes_max) == Ok(Progress::Ended) && end.is_empty();
        // A stored block that was cut short takes what we add for its own.
        if is_ended && self.message.len() == bytes {
            Ok(&self.message)
        } else {
            Err(InflateError::Corrupt)
        }
    }

    /// Gives back what a large message took; the caller is done with the last one.
    pub fn release(&mut self) {
        if self.message.capacity() > KEPT_BYTES_MAX {
            self.message = Vec::new();
        }
    }

    /// How many bytes of the heap the last message holds.
    #[cfg(any(test, fuzzing))]
    pub fn heap_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Inflates until the input is used up or a final block has ended.
    fn run(&mut self, input: &mut &[u8], bytes_max: usize) -> Result<Progress, InflateError> {
        loop {
            self.make_room(input.len(), bytes_max);
            let consumed = self.stream.total_in();
            let status = self
                .stream
                .decompress_vec(input, &mut self.message, FlushDecompress::None)
                .map_err(|_| InflateError::Corrupt)?;
            let consumed = usize::try_from(self.stream.total_in() - consumed);
            *input = consumed.ok().and_then(|n| input.get(n..)).ok_or(InflateError::Corrupt)?;
            if self.message.len() > bytes_max {
                return Err(InflateError::TooBig);
            }
            if status == Status::StreamEnd {
                return Ok(Progress::Ended);
            }
            // Room left over means that there was nothing more to write.
            if self.message.len() < self.message.capacity() {
                return if input.is_empty() {
                    Ok(Progress::WantsMore)
                } else {
                    Err(InflateError::Corrupt)
                };
            }
        }
    }

    /// Leaves room for one byte at least: the one above the bound is how passing it is noticed.
    fn make_room(&mut self, input_bytes: usize, bytes_max: usize) {
        let (len, capacity) = (self.message.len(), self.message.capacity());
        if len == capacity {
            let wanted = capacity.max(input_bytes).max(FIRST_BYTES).saturating_mul(2);
            let room = wanted.min(bytes_max.saturating_add(1)).max(len + 1);
            self.message.reserve_exact(room - len);
        }
    }

    /// After a final block the next one follows at a byte's edge, and may look back as before
    /// (RFC 7692, section 7.2.1).
    fn go_on_after_final_block(&mut self) -> Result<(), InflateError> {
        self.stream.reset(false);
        let window = self.message.len().saturating_sub(WINDOW_BYTES);
        let window = self.message.get(window..).unwrap_or_default();
        self.stream.set_dictionary(window).map(drop).map_err(|_| InflateError::Corrupt)
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    Ended,
    WantsMore,
}

/// Says nothing of the message.
impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
