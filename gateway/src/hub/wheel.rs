//! One timer for all deadlines of a worker's connections.
//!
//! Ten thousand idle connections have a ping, a pong and perhaps an expiry to wait for; as timers
//! of a runtime those would be thirty thousand entries that are moved at every message. Here a
//! connection has a place on the wheel, and what is due is looked up only when its place comes
//! round. Activity moves nothing: whoever wakes too early is put back.

/// The width of one slot, in milliseconds: how late a deadline may fire.
pub const TICK_MS: u64 = 50;

/// Slots of the wheel; with [`TICK_MS`] it turns once in 51.2 s. A later deadline waits a turn.
const SLOTS: usize = 1024;

/// Keys for which an empty slot keeps room.
const SLOT_KEPT: usize = 8;

/// Places of keys, by the tick at which each is to be looked at.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<K>>,
    tick: u64,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel that stands at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), tick: now_ms / TICK_MS }
    }

    /// Has `key` come up at `at_ms`, or earlier where that is more than a turn away.
    ///
    /// Returns the time at which it will come up, so that the caller can tell whether a place it
    /// already has is early enough; and, when a key comes up before the time that was returned last,
    /// that it has an earlier place and this one is of no use any more.
    pub fn arm(&mut self, key: K, at_ms: u64) -> u64 {
        let turn = SLOTS as u64;
        let wanted = at_ms.div_ceil(TICK_MS).clamp(self.tick + 1, self.tick + turn - 1);
        if let Some(slot) = self.slots.get_mut(Self::slot(wanted)) {
            slot.push(key);
        }
        wanted * TICK_MS
    }

    /// Moves the wheel to `now_ms` and appends every key that came up to `due`.
    pub fn advance(&mut self, now_ms: u64, due: &mut Vec<K>) {
        let target = now_ms / TICK_MS;
        // After a long pause every slot is visited once, not once per tick that was missed.
        let steps = target.saturating_sub(self.tick).min(SLOTS as u64);
        for step in 1..=steps {
            if let Some(slot) = self.slots.get_mut(Self::slot(self.tick + step)) {
                due.append(slot);
                // A slot that was full once would hold its room for as long as the process lives.
                slot.shrink_to(SLOT_KEPT);
            }
        }
        self.tick = target.max(self.tick);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below SLOTS")]
    const fn slot(tick: u64) -> usize {
        (tick % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_comes_up_at_its_time_and_once() {
        let mut wheel = Wheel::new(1_000);
        wheel.arm('a', 1_120);

        let mut due = Vec::new();
        wheel.advance(1_100, &mut due);
        assert!(due.is_empty());
        wheel.advance(1_150, &mut due);
        wheel.advance(90_000, &mut due);

        assert_eq!(due, ['a']);
    }

    #[test]
    fn a_place_that_was_given_up_is_told_from_the_last_one() {
        let mut wheel = Wheel::new(0);
        wheel.arm('a', 5_000);
        let armed = wheel.arm('a', 1_000);

        let mut due = Vec::new();
        wheel.advance(1_000, &mut due);
        assert!(due == ['a'] && 1_000 >= armed);
        let armed = wheel.arm('a', 9_000);
        wheel.advance(5_000, &mut due);

        assert!(due == ['a', 'a'] && 5_000 < armed);
    }

    proptest! {
        #[test]
        fn never_late_by_more_than_a_tick(at in 0_u64..200_000, steps in prop::collection::vec(1_u64..5_000, 1..200)) {
            let mut wheel = Wheel::new(0);
            let mut armed = wheel.arm((), at);
            let mut now = 0;
            for step in steps {
                now += step;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                prop_assert!(due.len() <= 1);
                if due.is_empty() {
                    prop_assert!(now < armed + TICK_MS);
                } else if now < at {
                    armed = wheel.arm((), at);
                } else {
                    break;
                }
            }
        }
    }
}
