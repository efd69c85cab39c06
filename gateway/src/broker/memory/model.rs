//! Partitions against a naive model: random publishing, time, reconnects and lack of room.
//!
//! The model keeps everything that was ever published. Clients keep what they were given, and hold
//! it against the promises of the protocol: offsets rise, nothing comes twice, and what is missing
//! is announced.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    broker::{Key, KeyScope},
    protocol::{Dialect, channel::ChannelName},
};

const CLIENTS: usize = 3;
const TOPICS: [&str; 2] = ["a", "b"];
const RULES: [HistoryRule; 2] = [
    HistoryRule { messages: 4, max_age: Duration::from_secs(30) },
    HistoryRule { messages: 100, max_age: Duration::from_secs(5) },
];

#[derive(Clone, Debug)]
enum Step {
    Publish { topic: usize, bytes: usize, key: Option<u8> },
    Wait { seconds: u64 },
    Tick,
    Connect { client: usize, topic: usize },
    Cut { client: usize, topic: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = 0..TOPICS.len();
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (topic.clone(), 1_usize..40, prop::option::weighted(0.3, 0_u8..3))
            .prop_map(|(topic, bytes, key)| Step::Publish { topic, bytes, key }),
        2 => (0_u64..8).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Tick),
        3 => (client.clone(), topic.clone())
            .prop_map(|(client, topic)| Step::Connect { client, topic }),
        2 => (client, topic).prop_map(|(client, topic)| Step::Cut { client, topic }),
    ]
}

/// One client's view of one topic.
#[derive(Debug, Default)]
struct View {
    is_live: bool,
    at: Option<Position>,
}

/// A publication as the model remembers it, forever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    data: String,
    at: Duration,
}

struct World {
    partition: Partition,
    now: Duration,
    views: [[View; TOPICS.len()]; CLIENTS],
    said: [BTreeMap<Epoch, BTreeMap<u64, Said>>; TOPICS.len()],
    keys: BTreeMap<(usize, u8), (Duration, Position)>,
    /// Whether there is room for everything.
    is_roomy: bool,
}

impl World {
    fn new(history_bytes: usize) -> Self {
        Self {
            partition: Partition::new(5, HistoryBytes::new(history_bytes, 1)),
            now: Duration::ZERO,
            views: Default::default(),
            said: Default::default(),
            keys: BTreeMap::new(),
            is_roomy: history_bytes > 1 << 20,
        }
    }

    fn take(&mut self, number: usize, step: &Step) {
        match *step {
            Step::Publish { topic, bytes, key } => {
                self.publish(topic, format!("{number}-{}", "x".repeat(bytes)), key);
            }
            Step::Wait { seconds } => self.now += Duration::from_secs(seconds),
            Step::Tick => assert!(self.partition.tick(self.now).is_empty()),
            Step::Connect { client, topic } => self.connect(client, topic),
            Step::Cut { client, topic } => {
                self.views[client][topic].is_live = false;
                self.partition.detach(self.now, &name(topic), client);
            }
        }
    }

    fn publish(&mut self, topic: usize, data: String, key: Option<u8>) {
        let publish = Publish {
            topic: name(topic),
            data: Bytes::from(format!("\"{data}\"")),
            user: None,
            key: key.map(|key| Key::new(KeyScope::Api, &key.to_string())),
            exclude: None,
        };
        let used = key.and_then(|key| self.keys.get(&(topic, key)));
        let fresh = used.filter(|(at, _)| *at + Duration::from_mins(2) > self.now);
        match self.partition.publish(self.now, publish, Some(RULES[topic])) {
            Outcome::Duplicate(position) => {
                assert_eq!(fresh.map(|(_, at)| *at), Some(position), "no such key was used");
            }
            Outcome::Published { publication, to } => {
                assert!(fresh.is_none() || !self.is_roomy, "a retry was published");
                let position = publication.position.unwrap();
                if let Some(key) = key {
                    self.keys.insert((topic, key), (self.now, position));
                }
                let said = self.said[topic].entry(position.epoch).or_default();
                let last = said.last_key_value().map_or(0, |(offset, _)| *offset);
                assert_eq!(position.offset, last + 1, "an offset does not rise within its epoch");
                said.insert(position.offset, Said { data, at: self.now });
                for client in 0..CLIENTS {
                    let view = &mut self.views[client][topic];
                    assert_eq!(view.is_live, to.contains(client));
                    if view.is_live {
                        view.follow(position);
                    }
                }
            }
        }
    }

    fn connect(&mut self, client: usize, topic: usize) {
        let before = self.views[client][topic].at;
        let attached = self.partition.attach(
            self.now,
            &name(topic),
            client,
            before.map(ClientPosition::from),
            Some(RULES[topic]),
            usize::MAX,
        );
        let start = attached.position.unwrap();
        assert_eq!(attached.recovered.is_some(), before.is_some());
        if attached.recovered == Some(true) {
            assert_eq!(Some(start), before);
        } else {
            assert!(attached.missed.is_empty());
            assert_eq!(start.offset, self.top(topic, start.epoch));
        }
        let missed = self.after(topic, start);
        assert_eq!(missed, attached.missed.iter().map(said).collect::<Vec<_>>());
        let kept = self.kept(topic, start.epoch);
        assert!(missed.iter().all(|said| kept.contains(said)), "what was too old is replayed");
        if let Some(before) = before
            && attached.recovered == Some(false)
            && self.is_roomy
            && before.epoch == start.epoch
        {
            let lost = self.after(topic, before).into_iter().any(|said| !kept.contains(&said));
            assert!(lost, "everything was still stored");
        }

        let view = &mut self.views[client][topic];
        view.is_live = true;
        view.at = Some(start);
        for publication in &attached.missed {
            view.follow(publication.position.unwrap());
        }
    }

    /// All that was ever said after a position, in order.
    fn after(&self, topic: usize, position: Position) -> Vec<Said> {
        let said = self.said[topic].get(&position.epoch);
        said.into_iter()
            .flat_map(|said| said.range(position.offset + 1..))
            .map(|(_, s)| s.clone())
            .collect()
    }

    /// What the rule keeps of an epoch, by its letter.
    fn kept(&self, topic: usize, epoch: Epoch) -> Vec<Said> {
        let HistoryRule { messages, max_age } = RULES[topic];
        let said = self.said[topic].get(&epoch);
        let newest = said.into_iter().flat_map(|said| said.values().rev()).take(messages);
        newest.filter(|said| said.at + max_age > self.now).cloned().collect()
    }

    fn top(&self, topic: usize, epoch: Epoch) -> u64 {
        let said = self.said[topic].get(&epoch);
        said.and_then(|said| said.last_key_value()).map_or(0, |(offset, _)| *offset)
    }

    /// What is accounted for is what is stored.
    fn check_account(&self) {
        let (mut bytes, mut count) = (0, 0);
        for stream in self.partition.topics.values().filter_map(|state| state.stream.as_ref()) {
            bytes += stream.stored().map(|publication| publication.bytes()).sum::<usize>();
            bytes += stream.keys().map(Key::bytes).sum::<usize>();
            bytes += if stream.rests_until.is_some() { rest::REST_BYTES } else { 0 };
            count += stream.stored().len();
        }
        assert_eq!(bytes, self.partition.account.shared_used());
        assert_eq!(count, self.partition.account.publications);
    }
}

impl View {
    /// A publication reaches the client: the next one, or the client has a hole it knows nothing of.
    fn follow(&mut self, position: Position) {
        let before = self.at.replace(position).unwrap();
        assert_eq!(position, Position { offset: before.offset + 1, ..before });
    }
}

fn name(topic: usize) -> Topic {
    Topic::channel(ChannelName::parse(TOPICS[topic]).unwrap())
}

fn said(publication: &Arc<Publication>) -> Said {
    let payload: serde_json::Value =
        serde_json::from_slice(publication.payload(Dialect::V1)).unwrap();
    let data = payload["data"].as_str().unwrap().to_owned();
    Said { data, at: publication.published_at }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_client_gets_exactly_the_missing_suffix_or_is_told(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(usize::MAX / 2);
        for (number, step) in steps.iter().enumerate() {
            world.take(number, step);
            world.check_account();
        }
    }

    #[test]
    fn lack_of_room_costs_history_but_no_promise(
        steps in prop::collection::vec(step(), 0..80),
        history_bytes in 0_usize..4000,
    ) {
        let mut world = World::new(history_bytes);
        for (number, step) in steps.iter().enumerate() {
            world.take(number, step);
            world.check_account();
            prop_assert!(world.partition.account.shared_used() <= history_bytes);
        }
    }

    #[test]
    fn what_everybody_left_is_forgotten_in_time(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(usize::MAX / 2);
        for (number, step) in steps.iter().enumerate() {
            world.take(number, step);
        }
        for (client, topic) in (0..CLIENTS).flat_map(|client| [(client, 0), (client, 1)]) {
            world.take(0, &Step::Cut { client, topic });
        }
        while let Some(due) = world.partition.due() {
            prop_assert!(due <= world.now + Duration::from_mins(2));
            world.now = world.now.max(due);
            world.take(0, &Step::Tick);
        }

        prop_assert_eq!(world.partition.topics().len(), 0);
        prop_assert_eq!(world.partition.account.shared_used(), 0);
    }

    #[test]
    fn partitions_share_the_room(
        sizes in prop::collection::vec((0_usize..3, 1_usize..200), 0..200),
        history_bytes in 0_usize..20_000,
    ) {
        let bytes = HistoryBytes::new(history_bytes, 3);
        let mut partitions = [1, 2, 3].map(|seed| Partition::new(seed, bytes.clone()));
        for (at, size) in sizes {
            let data = Bytes::from("1".repeat(size));
            let publish = Publish { topic: name(0), data, user: None, key: None, exclude: None };
            partitions[at].publish(Duration::ZERO, publish, Some(RULES[1]));
            for partition in &mut partitions {
                partition.tick(Duration::ZERO);
            }

            prop_assert!(bytes.used() <= history_bytes);
        }
    }
}
