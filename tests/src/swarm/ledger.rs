//! Everything that was published in a run, by whomever, and the numbers of names.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    checker::{Epoch, Outcome, Publication, PublicationId, Topic, TopicId, hash},
    clock::now_ns,
};

/// Shared by all who publish and all who listen.
#[derive(Debug)]
pub struct Ledger {
    topics: Vec<Topic>,
    by_name: HashMap<String, TopicId>,
    /// What follows the number and the time in every publication.
    padding: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    publications: Vec<Publication>,
    epochs: HashMap<String, Epoch>,
    epoch_names: Vec<String>,
    lanes: u32,
    /// Refusals, and whatever else nobody expects.
    oddities: HashMap<String, usize>,
}

impl Ledger {
    /// A ledger for these topics; `@user` of a user is called `@user/<number>`.
    pub fn new(topics: Vec<Topic>, padding: usize) -> Self {
        let name = |(number, topic): (u32, &Topic)| (key(&topic.name, topic.user), TopicId(number));
        let by_name = (0..).zip(&topics).map(name).collect();
        Self { topics, by_name, padding: "x".repeat(padding), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The topic that a user's client means by a channel.
    pub fn topic(&self, channel: &str, user: u32) -> Option<TopicId> {
        let user = (channel == "@user").then_some(user);
        self.by_name.get(&key(channel, user)).copied()
    }

    /// The name of a topic's channel.
    pub fn channel(&self, topic: TopicId) -> &str {
        self.topics.get(topic.0 as usize).map_or("", |it| &it.name)
    }

    /// The number of an epoch.
    pub fn epoch(&self, name: &str) -> Epoch {
        let mut inner = self.inner();
        if let Some(epoch) = inner.epochs.get(name) {
            return *epoch;
        }
        let epoch = Epoch(u32::try_from(inner.epoch_names.len()).unwrap_or(u32::MAX));
        inner.epochs.insert(name.to_owned(), epoch);
        inner.epoch_names.push(name.to_owned());
        epoch
    }

    /// The name of an epoch.
    pub fn epoch_name(&self, epoch: Epoch) -> String {
        self.inner().epoch_names.get(epoch.0 as usize).cloned().unwrap_or_default()
    }

    /// A new lane: a publisher has connected.
    pub fn lane(&self) -> u32 {
        let mut inner = self.inner();
        inner.lanes += 1;
        inner.lanes
    }

    /// Writes down that something is about to be sent; gives its number and its data.
    pub fn begin(&self, topic: TopicId, lane: u32, gateway: u32) -> (PublicationId, String) {
        let mut inner = self.inner();
        let number = u32::try_from(inner.publications.len()).unwrap_or(u32::MAX);
        let sent = now_ns();
        let data = format!(r#"{{"n":{number},"t":{sent},"x":"{}"}}"#, self.padding);
        inner.publications.push(Publication {
            topic,
            lane,
            seq: number,
            hash: hash(data.as_bytes()),
            sent,
            gateway,
            outcome: Outcome::Unknown,
        });
        (PublicationId(number), data)
    }

    /// Writes down what came of it.
    pub fn end(&self, id: PublicationId, outcome: Outcome) {
        if let Some(publication) = self.inner().publications.get_mut(id.0 as usize) {
            publication.outcome = outcome;
        }
    }

    /// The outcome that an error means: some say that nobody knows.
    pub fn failed(&self, id: PublicationId, code: &str) {
        self.odd(format!("publish: {code}"));
        self.end(id, if code == "unavailable" { Outcome::Unknown } else { Outcome::Refused });
    }

    /// Counts something that is worth telling.
    pub fn odd(&self, what: String) {
        *self.inner().oddities.entry(what).or_default() += 1;
    }

    /// What was worth telling, the most frequent first.
    pub fn oddities(&self) -> Vec<(String, usize)> {
        let mut all: Vec<_> = self.inner().oddities.clone().into_iter().collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.1));
        all
    }

    /// Everything that was published.
    pub fn publications(&self) -> Vec<Publication> {
        self.inner().publications.clone()
    }
}

fn key(channel: &str, user: Option<u32>) -> String {
    user.map_or_else(|| channel.to_owned(), |user| format!("{channel}/{user}"))
}

/// The number of a publication and when it was sent, as its data says.
pub fn read(data: &str) -> Option<(PublicationId, u64)> {
    let rest = data.strip_prefix(r#"{"n":"#)?;
    let (number, rest) = rest.split_once(r#","t":"#)?;
    let (sent, _) = rest.split_once(',')?;
    Some((PublicationId(number.parse().ok()?), sent.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_says_who_it_is() {
        let topic = |user| Topic { tenant: 0, name: "@user".to_owned(), user, is_kept: true };
        let ledger = Ledger::new(vec![topic(Some(3)), topic(Some(4))], 10);
        ledger.begin(TopicId(0), 1, 0);

        let (id, data) = ledger.begin(TopicId(1), 1, 0);
        assert_eq!(read(&data).map(|it| it.0), Some(id));
        assert_eq!(read("1"), None);
        assert_eq!(ledger.topic("@user", 4), Some(TopicId(1)));
    }
}
