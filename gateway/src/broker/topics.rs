//! A map of the topics whose home a worker is.

use std::collections::HashMap;

use ahash::RandomState;

use crate::protocol::topic::Topic;

/// Something for each topic.
pub type Topics<T> = HashMap<Topic, T, RandomState>;

/// Forgets a topic. A flood of names must not hold its room for as long as the process lives.
pub fn forget_topic<T>(topics: &mut Topics<T>, topic: &Topic) {
    topics.remove(topic);
    let left = topics.len();
    if topics.capacity() > 4 * left + 4096 {
        topics.shrink_to(2 * left);
    }
}
