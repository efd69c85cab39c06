//! What the rosters of many topics want to be looked at later.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{Matter, News, Stir};
use crate::protocol::topic::Topic;

/// What is to be looked at, and when.
#[derive(Debug, Default)]
pub struct Matters(BinaryHeap<Reverse<(Duration, Topic, Matter)>>);

impl Matters {
    /// What of a stir in a topic is to be told now; what is to be looked at later is kept.
    pub fn follow(&mut self, topic: &Topic, stir: Stir) -> Option<News> {
        match stir {
            Stir::Quiet => None,
            Stir::Later(at, matter) => {
                self.0.push(Reverse((at, topic.clone(), matter)));
                None
            }
            Stir::Tell(news) => Some(news),
        }
    }

    /// When the first one is due.
    pub fn due(&self) -> Option<Duration> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    /// The first one that is due by now.
    pub fn pop(&mut self, now: Duration) -> Option<(Topic, Matter)> {
        self.due().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse((_, topic, matter))| (topic, matter))
    }
}
