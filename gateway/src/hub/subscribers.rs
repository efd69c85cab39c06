//! Topic to subscribers, for the connections of one worker.
//!
//! Subscribing and unsubscribing cost the same however many others there are: both sides remember
//! where the other one keeps them, and whoever is last takes the place of whoever leaves.

use ahash::AHashMap;
use slab::Slab;

use crate::protocol::topic::Topic;

/// The place of a topic on this worker.
pub type TopicId = usize;

/// The place of a connection on this worker.
pub type ConnectionSlot = usize;

/// One subscriber as its topic keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection.
    pub slot: ConnectionSlot,
    /// The index of the subscription among those of the connection.
    pub index: u32,
}

/// A subscriber that took the place of one that left, and the place it has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Who moved.
    pub subscriber: Subscriber,
    /// Where it is now.
    pub place: u32,
}

#[derive(Debug)]
struct Entry {
    topic: Topic,
    subscribers: Vec<Subscriber>,
}

/// Every topic that somebody on this worker listens to.
#[derive(Debug, Default)]
pub struct Subscribers {
    ids: AHashMap<Topic, TopicId>,
    topics: Slab<Entry>,
}

impl Subscribers {
    /// The place of a topic, if anybody listens.
    pub fn find(&self, topic: &Topic) -> Option<TopicId> {
        self.ids.get(topic).copied()
    }

    /// The topic at a place.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id).map(|entry| &entry.topic)
    }

    /// Who listens to the topic at a place.
    pub fn of(&self, id: TopicId) -> &[Subscriber] {
        self.topics.get(id).map_or(&[], |entry| &entry.subscribers)
    }

    /// How many topics have a subscriber here.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Each topic and how many listen.
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, usize)> {
        self.topics.iter().map(|(_, entry)| (&entry.topic, entry.subscribers.len()))
    }

    /// Adds a subscriber; returns the topic's place, the subscriber's place in it, and whether it
    /// is the first.
    #[expect(clippy::cast_possible_truncation, reason = "connections of a process fit in 32 bits")]
    pub fn add(&mut self, topic: &Topic, subscriber: Subscriber) -> (TopicId, u32, bool) {
        let id = match self.ids.get(topic) {
            Some(id) => *id,
            None => {
                let id =
                    self.topics.insert(Entry { topic: topic.clone(), subscribers: Vec::new() });
                self.ids.insert(topic.clone(), id);
                id
            }
        };
        let Some(entry) = self.topics.get_mut(id) else { return (id, 0, false) };
        let place = entry.subscribers.len() as u32;
        entry.subscribers.push(subscriber);
        (id, place, place == 0)
    }

    /// Removes the subscriber at `place`; returns who took the place, and the topic if that was
    /// the last subscriber.
    pub fn remove(&mut self, id: TopicId, place: u32) -> (Option<Moved>, Option<Topic>) {
        let Some(entry) = self.topics.get_mut(id) else { return (None, None) };
        if (place as usize) < entry.subscribers.len() {
            entry.subscribers.swap_remove(place as usize);
        }
        let moved = entry.subscribers.get(place as usize).copied();
        if !entry.subscribers.is_empty() {
            if entry.subscribers.capacity() > 64
                && entry.subscribers.len() < entry.subscribers.capacity() / 4
            {
                entry.subscribers.shrink_to(entry.subscribers.len() * 2);
            }
            return (moved.map(|subscriber| Moved { subscriber, place }), None);
        }
        let gone = self.topics.remove(id).topic;
        self.ids.remove(&gone);
        (None, Some(gone))
    }

    /// Tells the topic that the subscription of the subscriber at `place` has another index now.
    pub fn reindex(&mut self, id: TopicId, place: u32, index: u32) {
        if let Some(it) =
            self.topics.get_mut(id).and_then(|entry| entry.subscribers.get_mut(place as usize))
        {
            it.index = index;
        }
    }
}
