//! What a client has sent and nobody has looked at yet.

use std::mem;

/// A piece of the caller's read buffer, used up from the front.
#[derive(Default)]
pub struct Input<'b> {
    rest: &'b mut [u8],
}

impl<'b> Input<'b> {
    /// The bytes of one read; they are unmasked where they lie.
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was used.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been used.
    pub fn as_slice(&self) -> &[u8] {
        self.rest
    }

    /// Uses up to `bytes_max` bytes.
    pub(super) fn take(&mut self, bytes_max: u64) -> &'b mut [u8] {
        let all = self.rest.len();
        let bytes = usize::try_from(bytes_max).map_or(all, |max| max.min(all));
        let (taken, rest) = mem::take(&mut self.rest).split_at_mut(bytes);
        self.rest = rest;
        taken
    }
}
