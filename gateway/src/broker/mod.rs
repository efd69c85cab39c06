//! What a channel has beyond its live subscribers: order, history, idempotency, presence.
//!
//! Pure data structures; time is an argument, in milliseconds since the process began. The Memory
//! broker is one [`memory::Partition`] per worker. A topic has its home in one of them, by its hash,
//! so that nobody shares a partition and nobody takes a lock; workers reach each other's by
//! messages. Where a topic has its home is for [`home_of`] to say and for nobody else.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may stop"))]

mod history;
pub mod memory;
pub mod presence;
pub mod publication;

use std::hash::{BuildHasher, RandomState};

use crate::protocol::topic::Topic;

/// How a gateway's pods share what clients can see.
#[derive(Clone, Debug)]
pub enum Broker {
    /// One pod: partitions over its workers.
    Memory {
        /// Spreads topics over partitions; keyed, so that clients cannot aim at one of them.
        hasher: RandomState,
        /// How many partitions there are, at least one.
        partitions: usize,
    },
}

impl Broker {
    /// The broker of a single pod with so many workers.
    pub fn memory(partitions: usize) -> Self {
        Self::Memory { hasher: RandomState::new(), partitions: partitions.max(1) }
    }

    /// The partition in which a topic has its home.
    pub fn home_of(&self, topic: &Topic) -> usize {
        let Self::Memory { hasher, partitions } = self;
        let hash = hasher.hash_one(topic.key());
        usize::try_from(hash % *partitions as u64).unwrap_or_default()
    }
}
