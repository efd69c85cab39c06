//! A change of the manifest's rules, applied to the topics that are there.

use std::time::Duration;

use super::{Partition, rest, stream, trim};
use crate::{
    broker::{
        answer::{Reset, TopicRules},
        ledger::{Account, Entry, Ledger},
        publication::Key,
        stream::Stream,
    },
    protocol::{position::Position, topic::Topic},
};

impl Partition {
    /// Applies other rules to every topic, and says whose history was switched on or off.
    ///
    /// A rule that keeps more or less goes on with the epoch: what it removes is removed as ever.
    pub fn reconfigure(
        &mut self,
        now: Duration,
        rules: impl Fn(&Topic) -> TopicRules,
    ) -> Vec<Reset> {
        let mut resets = Vec::new();
        for (topic, state) in &mut self.topics {
            let TopicRules { history, presence } = rules(topic);
            let had = state.stream.is_some();
            match (&mut state.stream, history) {
                (Some(stream), Some(rule)) => {
                    stream.rule = rule;
                    trim(stream, now, &mut self.account);
                }
                (old @ Some(_), None) => close(old, &mut self.account),
                (new @ None, Some(rule)) => {
                    stream(new, rule, &mut self.epochs, &mut self.account);
                }
                (None, None) => {}
            }
            if had != state.stream.is_some() && !state.interest.is_empty() {
                let position = state.stream.as_ref().map(|stream| stream.top());
                resets.push(Reset { topic: topic.clone(), to: state.interest, position });
            }
            match (&mut state.roster, presence) {
                (Some(roster), Some(mode)) => roster.mode = mode,
                (roster, _) => *roster = None,
            }
        }
        self.topics.retain(|_, state| !state.is_idle() || state.stream.is_some());
        self.ledger = self.new_ledger();
        resets
    }

    /// The ledger as it is under the rules of now.
    fn new_ledger(&self) -> Ledger {
        let streams = self
            .topics
            .iter()
            .filter_map(|(topic, state)| state.stream.as_ref().map(|stream| (topic, stream)));
        let mut entries: Vec<_> = streams
            .flat_map(|(topic, stream)| {
                stream.stored().filter_map(move |publication| {
                    let Position { epoch, offset } = publication.position?;
                    let at = publication.published_at;
                    Some((stream.rule.max_age, Entry { at, topic: topic.clone(), epoch, offset }))
                })
            })
            .collect();
        // Stable: what came to a topic in one moment stays in its order.
        entries.sort_by_key(|(_, entry)| entry.at);
        let mut ledger = Ledger::default();
        for (max_age, entry) in entries {
            ledger.push(max_age, entry);
        }
        ledger
    }
}

/// Ends a stream with all that is stored.
fn close(slot: &mut Option<Box<Stream>>, account: &mut Account) {
    if let Some(mut stream) = slot.take() {
        rest::wake(&mut stream, account);
        stream.stored().for_each(|publication| account.drop(publication));
        account.free(stream.keys().map(Key::bytes).sum());
    }
}
