//! A name for each life of a topic.

use crate::protocol::position::Epoch;

/// Gives each life of a topic a name of its own.
#[derive(Debug)]
pub struct Epochs(u64);

impl Epochs {
    /// Those that follow from a random `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One that this partition never gave out: a bijection of a counter (`SplitMix64`), so that two
    /// processes that began with different seeds hardly ever meet.
    pub fn next(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch(mixed ^ (mixed >> 31))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_epoch_comes_twice() {
        let (mut here, mut there) = (Epochs::new(1), Epochs::new(2));
        let mut seen = HashSet::new();

        for _ in 0..10_000 {
            assert!(seen.insert(here.next()) && seen.insert(there.next()));
        }
    }
}
