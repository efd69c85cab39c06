//! What waits for one client's socket.
//!
//! The hub writes to sockets directly and never waits for one. Only what a socket did not take
//! comes here, so an outbox is empty nearly always and owns no heap then. It is bounded in messages
//! and in bytes; a frame that does not fit overflows it, the backlog goes at once, and the
//! connection ends as a slow consumer.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// The bounds of an outbox; both count what waits, not what is on its way in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Frames at most.
    pub messages_max: usize,
    /// Bytes of frames at most.
    pub bytes_max: usize,
}

/// The client reads more slowly than its channels publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outbox overflowed")]
pub struct Overflow;

/// Frames waiting for one socket, oldest first.
///
/// A frame is whole WebSocket frames in shared bytes: a publication is stored once however many
/// outboxes hold it.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Whether the first frame has been written in part.
    started: bool,
}

/// Slices handed to one system call at most.
const SLICES_MAX: usize = 64;

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// How many frames wait.
    pub fn messages(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.frames.len())
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// [`Overflow`] where it does not fit; the outbox is as it was.
    pub fn push(&mut self, frame: Bytes, bounds: Bounds) -> Result<(), Overflow> {
        if self.messages() >= bounds.messages_max
            || self.bytes().saturating_add(frame.len()) > bounds.bytes_max
        {
            return Err(Overflow);
        }
        self.push_unbounded(frame);
        Ok(())
    }

    /// Adds a frame whatever waits: for close frames and what the caller bounds itself.
    pub fn push_unbounded(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        let queue = self.queue.get_or_insert_default();
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
    }

    /// Adds the rest of a frame of which the socket took a part: nothing may come before it.
    pub fn push_rest(&mut self, rest: Bytes) {
        let was_empty = self.is_empty();
        self.push_unbounded(rest);
        if let (true, Some(queue)) = (was_empty, &mut self.queue) {
            queue.started = true;
        }
    }

    /// Forgets all that has not begun to go out; a frame that was written in part must be finished,
    /// or the close frame behind it could not be read.
    pub fn forget_waiting(&mut self) {
        let Some(mut queue) = self.queue.take() else { return };
        if queue.started
            && let Some(rest) = queue.frames.pop_front()
        {
            self.push_rest(rest);
        }
    }

    /// Forgets everything and gives its memory back.
    pub fn clear(&mut self) {
        self.queue = None;
    }

    /// Hands what waits to `write` until all is written or it takes no more.
    ///
    /// `write` gets at most 64 slices and returns how many bytes it took, as `writev` does.
    ///
    /// # Errors
    ///
    /// What `write` returns, `WouldBlock` among it; what it took before is gone from the outbox.
    pub fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> std::io::Result<()> {
        while let Some(queue) = &mut self.queue {
            let written = {
                let mut slices = smallvec::SmallVec::<[IoSlice<'_>; SLICES_MAX]>::new();
                slices.extend(queue.frames.iter().take(SLICES_MAX).map(|it| IoSlice::new(it)));
                write(&slices)?
            };
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            queue.advance(written);
            if queue.frames.is_empty() {
                self.queue = None;
            }
        }
        Ok(())
    }
}

impl Queue {
    fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        self.started = false;
        while let Some(first) = self.frames.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.started |= written > 0;
                return;
            }
            written -= first.len();
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { messages_max: 4, bytes_max: 10 };

    fn take(outbox: &mut Outbox, mut room: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        let result = outbox.flush(|slices| {
            let all: Vec<u8> = slices.iter().flat_map(|it| it.to_vec()).collect();
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let written = all.len().min(room);
            taken.extend_from_slice(&all[..written]);
            room -= written;
            Ok(written)
        });
        if let Err(error) = result {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        taken
    }

    #[test]
    fn frames_go_out_in_order_over_partial_writes() {
        let mut outbox = Outbox::default();
        outbox.push("abc".into(), BOUNDS).unwrap();
        outbox.push("defg".into(), BOUNDS).unwrap();

        assert_eq!(take(&mut outbox, 4), b"abcd");
        assert_eq!(outbox.bytes(), 3);
        assert_eq!(take(&mut outbox, 9), b"efg");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_frame_past_a_bound_overflows() {
        let mut outbox = Outbox::default();
        outbox.push("12345678".into(), BOUNDS).unwrap();

        assert_eq!(outbox.push("901".into(), BOUNDS), Err(Overflow));
        assert_eq!(outbox.bytes(), 8);
    }

    #[test]
    fn a_frame_that_has_begun_is_finished_before_a_close() {
        let mut outbox = Outbox::default();
        outbox.push("abc".into(), BOUNDS).unwrap();
        outbox.push("def".into(), BOUNDS).unwrap();
        assert_eq!(take(&mut outbox, 1), b"a");

        outbox.forget_waiting();
        outbox.push_unbounded("X".into());

        assert_eq!(take(&mut outbox, 9), b"bcX");
    }

    #[test]
    fn nothing_that_has_not_begun_survives_a_close() {
        let mut outbox = Outbox::default();
        outbox.push("abc".into(), BOUNDS).unwrap();

        outbox.forget_waiting();

        assert!(outbox.is_empty());
    }

    proptest! {
        #[test]
        fn never_holds_more_than_its_bounds(sizes in prop::collection::vec(0_usize..6, 0..40), room in 0_usize..9) {
            let mut outbox = Outbox::default();
            for size in sizes {
                let _ = outbox.push(vec![0; size].into(), BOUNDS);
                prop_assert!(outbox.bytes() <= 10 && outbox.messages() <= 4);
                take(&mut outbox, room);
                let waiting = outbox.queue.as_ref().map_or(0, |it| it.frames.iter().map(Bytes::len).sum());
                prop_assert_eq!(outbox.bytes(), waiting);
            }
        }
    }
}
