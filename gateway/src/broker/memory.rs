//! The Memory broker: topics whose home is one worker, in that worker's memory.
//!
//! A topic is remembered while somebody is subscribed, something is stored, a key may come again,
//! or a leave is to be told; and for `maxAge` more, so that a client that is away for a moment finds
//! its position good. One that comes later begins a new epoch, so nobody takes it for the old one.
//! Nothing here waits, and all work but a change of rules is bounded by what is removed.
//!
//! `now` never goes back from one call to the next.

#[cfg(test)]
mod model;
mod presence;
mod rest;
mod rules;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    answer::{Attached, Outcome, TopicView},
    epochs::Epochs,
    ledger::{Account, Entry, HistoryBytes, Ledger},
    publication::{Key, Publication, Publish},
    roster::{Matters, Roster},
    stream::{HistoryError, HistoryPage, HistoryRule, Stream},
    topics::{Topics, forget_topic},
    workers::WorkerSet,
};
use crate::protocol::{
    position::{ClientPosition, Epoch, Position},
    topic::Topic,
};

/// The topics whose home is one worker.
#[derive(Debug)]
pub struct Partition {
    topics: Topics<State>,
    /// Channels that some worker is interested in.
    channels: usize,
    epochs: Epochs,
    account: Account,
    ledger: Ledger,
    /// The keys that were used, oldest first.
    keys: VecDeque<UsedKey>,
    /// Topics with an epoch and nothing else, and when they may be forgotten.
    resting: BinaryHeap<Reverse<(Duration, Topic, Epoch)>>,
    /// What rosters want to be looked at, and when.
    matters: Matters,
}

/// Most topics have neither history nor presence, and cost only who is interested.
#[derive(Debug, Default)]
struct State {
    interest: WorkerSet,
    stream: Option<Box<Stream>>,
    roster: Option<Box<Roster>>,
}

/// A key and when it was used.
#[derive(Debug)]
struct UsedKey {
    at: Duration,
    topic: Topic,
    epoch: Epoch,
    key: Key,
}

impl Partition {
    /// An empty partition. `seed` must be random: epochs follow from it, and two processes or
    /// partitions with the same one would call different lives of a topic the same.
    pub fn new(seed: u64, bytes: HistoryBytes) -> Self {
        Self {
            topics: Topics::default(),
            channels: 0,
            epochs: Epochs::new(seed),
            account: Account::new(bytes),
            ledger: Ledger::default(),
            keys: VecDeque::new(),
            resting: BinaryHeap::new(),
            matters: Matters::default(),
        }
    }

    /// Publishes. `history` is the topic's rule now.
    pub fn publish(
        &mut self,
        now: Duration,
        publish: Publish,
        history: Option<HistoryRule>,
    ) -> Outcome {
        let Some(rule) = history else {
            let to = self.subscribers(&publish.topic);
            return Outcome::Published {
                publication: Arc::new(Publication::new(publish, None, now)),
                to,
            };
        };
        let topic = publish.topic.clone();
        let key = publish.key.clone();
        let state = self.topics.entry(topic.clone()).or_default();
        let to = state.interest;
        let stream = stream(&mut state.stream, rule, &mut self.epochs, &mut self.account);
        if let Some(position) = key.as_ref().and_then(|key| stream.used(key, now)) {
            return Outcome::Duplicate(position);
        }

        let publication = stream.append(|position| Publication::new(publish, Some(position), now));
        self.account.store(&publication);
        let Position { epoch, offset } = stream.top();
        self.ledger.push(rule.max_age, Entry { at: now, topic: topic.clone(), epoch, offset });
        if let Some(key) = key {
            if stream.remember(key.clone(), now) {
                self.account.spend(key.bytes());
            }
            self.keys.push_back(UsedKey { at: now, topic: topic.clone(), epoch, key });
        }
        trim(stream, now, &mut self.account);
        if stream.is_empty() {
            self.settle(now, &topic);
        }
        self.make_room(now);
        Outcome::Published { publication, to }
    }

    /// Registers a worker's interest and says where a new subscriber of it starts.
    ///
    /// What is published after this goes to the worker too, so that nothing falls between. Of what
    /// was missed it gives the first `limit`.
    pub fn attach(
        &mut self,
        now: Duration,
        topic: &Topic,
        worker: usize,
        recover: Option<ClientPosition>,
        history: Option<HistoryRule>,
        limit: usize,
    ) -> Attached {
        let state = self.topics.entry(topic.clone()).or_default();
        if state.interest.is_empty() && !topic.is_reserved() {
            self.channels += 1;
        }
        state.interest.insert(worker);
        let Some(rule) = history else {
            return Attached::at(None, recover.map(|_| false));
        };
        let stream = stream(&mut state.stream, rule, &mut self.epochs, &mut self.account);
        trim(stream, now, &mut self.account);
        let top = stream.top();
        match recover.and_then(|client| Some((client, stream.missed(client, limit)?))) {
            Some((client, (missed, more))) => Attached {
                position: Some(Position { offset: client.offset, ..top }),
                recovered: Some(true),
                missed,
                more,
            },
            None => Attached::at(Some(top), recover.map(|_| false)),
        }
    }

    /// Ends a worker's interest: its last subscriber of the topic went.
    pub fn detach(&mut self, now: Duration, topic: &Topic, worker: usize) {
        if let Some(state) = self.topics.get_mut(topic) {
            let was_wanted = !state.interest.is_empty();
            state.interest.remove(worker);
            if was_wanted && state.interest.is_empty() && !topic.is_reserved() {
                self.channels -= 1;
            }
            self.settle(now, topic);
            self.make_room(now);
        }
    }

    /// What came after `since`, or the newest, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]: without history, and where `since` is of another life of the topic.
    pub fn history(
        &mut self,
        now: Duration,
        topic: &Topic,
        since: Option<ClientPosition>,
        limit: usize,
        history: Option<HistoryRule>,
    ) -> Result<HistoryPage, HistoryError> {
        let rule = history.ok_or(HistoryError::NoHistory)?;
        let Some(stream) = self.topics.get_mut(topic).and_then(|state| state.stream.as_mut())
        else {
            // To have been asked is no reason to remember the topic.
            return Stream::new(self.epochs.next(), rule).page(since, limit);
        };
        trim(stream, now, &mut self.account);
        let page = stream.page(since, limit);
        self.settle(now, topic);
        page
    }

    /// The workers that have subscribers.
    pub fn subscribers(&self, topic: &Topic) -> WorkerSet {
        self.topics.get(topic).map(|state| state.interest).unwrap_or_default()
    }

    /// How many channels have a subscriber, on whichever worker.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Every topic that is remembered, in no order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = TopicView<'_>> {
        self.topics.iter().map(|(topic, state)| TopicView {
            topic,
            position: state.stream.as_ref().map(|stream| stream.top()),
        })
    }

    fn stream(&mut self, topic: &Topic, epoch: Epoch) -> Option<&mut Stream> {
        let stream = self.topics.get_mut(topic)?.stream.as_deref_mut()?;
        (stream.epoch() == epoch).then_some(stream)
    }

    /// Forgets a topic that nothing is to be remembered of, or lets it rest.
    fn settle(&mut self, now: Duration, topic: &Topic) {
        let Some(state) = self.topics.get_mut(topic) else {
            return;
        };
        if state.roster.as_ref().is_some_and(|roster| roster.is_empty()) {
            state.roster = None;
        }
        if !state.is_idle() {
            return;
        }
        if state.stream.is_some() {
            self.rest(now, topic);
        } else {
            forget_topic(&mut self.topics, topic);
        }
    }
}

impl State {
    /// Whether there is nothing but perhaps the name of an epoch.
    fn is_idle(&self) -> bool {
        let Self { interest, stream, roster } = self;
        interest.is_empty()
            && stream.as_ref().is_none_or(|stream| stream.is_empty())
            && roster.as_ref().is_none_or(|roster| roster.is_empty())
    }
}

/// The stream in `slot` under its rule of now, a new one where there is none. It no longer rests.
fn stream<'s>(
    slot: &'s mut Option<Box<Stream>>,
    rule: HistoryRule,
    epochs: &mut Epochs,
    account: &mut Account,
) -> &'s mut Stream {
    let stream = slot.get_or_insert_with(|| Box::new(Stream::new(epochs.next(), rule)));
    stream.rule = rule;
    rest::wake(stream, account);
    stream
}

/// Removes what the stream's rule no longer keeps.
fn trim(stream: &mut Stream, now: Duration, account: &mut Account) {
    while let Some(removed) = stream.remove_surplus(now) {
        account.drop(&removed);
    }
}
