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
pub type ConnectionSlot = u32;

/// One subscriber as its topic keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection.
    pub slot: ConnectionSlot,
    /// The index of the subscription among those of the connection.
    pub index: u32,
    /// Whether it gets what is published as it comes: the walk need not look at the subscription.
    pub is_live: bool,
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
    /// Whether the topic's home is known to send what is published.
    is_attached: bool,
}

/// Every topic that somebody on this worker listens to.
#[derive(Debug, Default)]
pub struct Subscribers {
    ids: AHashMap<Topic, TopicId>,
    topics: Slab<Entry>,
}

impl Subscriber {
    /// The connection's place in a slice.
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
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

    /// Whether what is published reaches this worker already, so that one more subscriber need not
    /// ask for it.
    pub fn is_attached(&self, id: TopicId) -> bool {
        self.topics.get(id).is_some_and(|entry| entry.is_attached)
    }

    /// The topic's home has answered.
    pub fn set_attached(&mut self, id: TopicId) {
        if let Some(entry) = self.topics.get_mut(id) {
            entry.is_attached = true;
        }
    }

    /// What is published to a topic does not come here any more.
    pub fn set_detached(&mut self, id: TopicId) {
        if let Some(entry) = self.topics.get_mut(id) {
            entry.is_attached = false;
        }
    }

    /// Each topic and how many listen.
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, usize)> {
        self.topics.iter().map(|(_, entry)| (&entry.topic, entry.subscribers.len()))
    }

    /// Adds a subscriber; returns the topic's place and the subscriber's place in it.
    #[expect(clippy::cast_possible_truncation, reason = "connections of a process fit in 32 bits")]
    pub fn add(&mut self, topic: &Topic, subscriber: Subscriber) -> (TopicId, u32) {
        let id = if let Some(id) = self.ids.get(topic) {
            *id
        } else {
            let entry = Entry { topic: topic.clone(), subscribers: Vec::new(), is_attached: false };
            let id = self.topics.insert(entry);
            self.ids.insert(topic.clone(), id);
            id
        };
        let Some(entry) = self.topics.get_mut(id) else { return (id, 0) };
        let place = entry.subscribers.len() as u32;
        entry.subscribers.push(subscriber);
        (id, place)
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

    /// Tells the topic that the subscriber at `place` gets what is published as it comes.
    pub fn set_live(&mut self, id: TopicId, place: u32) {
        if let Some(it) =
            self.topics.get_mut(id).and_then(|entry| entry.subscribers.get_mut(place as usize))
        {
            it.is_live = true;
        }
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::channel::ChannelName;

    fn topic(number: usize) -> Topic {
        Topic::channel(ChannelName::parse(&format!("t{number}")).unwrap())
    }

    /// Connections as a worker keeps them: each knows its place in every topic it listens to.
    #[derive(Default)]
    struct Model {
        subscribers: Subscribers,
        places: BTreeMap<(usize, ConnectionSlot), (TopicId, u32)>,
    }

    impl Model {
        fn toggle(&mut self, number: usize, slot: ConnectionSlot) {
            if let Some((id, place)) = self.places.remove(&(number, slot)) {
                let (moved, gone) = self.subscribers.remove(id, place);
                if let Some(Moved { subscriber, place }) = moved {
                    self.places.insert((number, subscriber.slot), (id, place));
                }
                let is_last = !self.places.keys().any(|(topic, _)| *topic == number);
                assert_eq!(gone, is_last.then(|| topic(number)));
            } else {
                let at = self
                    .subscribers
                    .add(&topic(number), Subscriber { slot, index: 0, is_live: false });
                self.places.insert((number, slot), at);
            }
        }
    }

    proptest! {
        #[test]
        fn every_topic_has_exactly_its_subscribers(
            steps in prop::collection::vec((0_usize..4, 0_u32..6), 0..200),
        ) {
            let mut model = Model::default();
            for (number, slot) in steps {
                model.toggle(number, slot);
                for number in 0..4 {
                    let expected: BTreeSet<_> =
                        model.places.keys().filter(|(topic, _)| *topic == number).map(|it| it.1).collect();
                    let found = model.subscribers.find(&topic(number));
                    let listed: Vec<_> = found.map_or(Vec::new(), |id| {
                        model.subscribers.of(id).iter().map(|it| it.slot).collect()
                    });
                    prop_assert_eq!(listed.len(), expected.len());
                    prop_assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
                }
            }
        }
    }
}
