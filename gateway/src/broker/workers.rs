//! Which workers a publication goes to, and which one is a topic's home.

use std::iter;

use ahash::RandomState;

use crate::protocol::topic::Topic;

/// Some of the process's workers, by number; at most [`WorkerSet::WORKERS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerSet(u128);

impl WorkerSet {
    /// How many workers a process may have.
    pub const WORKERS_MAX: usize = 128;

    /// Adds a worker. One beyond the bound is not added.
    pub fn insert(&mut self, worker: usize) {
        self.0 |= Self::bit(worker);
    }

    /// Takes a worker out.
    pub fn remove(&mut self, worker: usize) {
        self.0 &= !Self::bit(worker);
    }

    /// Whether `worker` is in.
    #[cfg(test)]
    pub fn contains(self, worker: usize) -> bool {
        self.0 & Self::bit(worker) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The workers, lowest number first.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        iter::from_fn(move || {
            let lowest = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(lowest)
        })
    }

    fn bit(worker: usize) -> u128 {
        u32::try_from(worker).ok().and_then(|worker| 1_u128.checked_shl(worker)).unwrap_or(0)
    }
}

impl FromIterator<usize> for WorkerSet {
    fn from_iter<I: IntoIterator<Item = usize>>(workers: I) -> Self {
        let mut set = Self::default();
        workers.into_iter().for_each(|worker| set.insert(worker));
        set
    }
}

/// Where each topic is at home. Clones agree; another process has other homes, so that nobody can
/// choose names that all meet on one worker.
#[derive(Clone, Debug)]
pub struct Homes {
    hasher: RandomState,
    workers: usize,
}

impl Homes {
    /// Homes spread over `workers`, at least one.
    pub fn new(workers: usize) -> Self {
        Self { hasher: RandomState::new(), workers: workers.clamp(1, WorkerSet::WORKERS_MAX) }
    }

    /// The worker that is the home of `topic`.
    pub fn of(&self, topic: &Topic) -> usize {
        let hash = self.hasher.hash_one(topic.key());
        #[allow(clippy::cast_possible_truncation, reason = "the rest is below `workers`")]
        let home = (hash % self.workers as u64) as usize;
        home
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_worker_set_is_a_set(inserts: Vec<u8>, removes: Vec<u8>) {
            let mut set = WorkerSet::default();
            let mut model = BTreeSet::new();
            for worker in inserts.into_iter().map(usize::from) {
                set.insert(worker);
                if worker < WorkerSet::WORKERS_MAX {
                    model.insert(worker);
                }
            }
            for worker in removes.into_iter().map(usize::from) {
                set.remove(worker);
                model.remove(&worker);
            }

            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!((0..300).all(|worker| set.contains(worker) == model.contains(&worker)));
        }
    }

    #[test]
    fn clones_agree_on_homes_and_homes_are_spread() {
        let homes = Homes::new(4);
        let clone = homes.clone();
        let mut topics = [0_usize; 4];
        for at in 0..1000 {
            let topic = Topic::user(&at.to_string());
            assert_eq!(homes.of(&topic), clone.of(&topic));
            topics[homes.of(&topic)] += 1;
        }

        assert!(topics.iter().all(|topics| *topics > 100), "{topics:?}");
    }
}
