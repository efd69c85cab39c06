//! Topics of which only the epoch is remembered, so that positions in them stay good for a while.

use std::{cmp::Reverse, time::Duration};

use super::Partition;
use crate::{
    broker::{ledger::Account, stream::Stream, topics::forget_topic},
    protocol::{position::Epoch, topic::Topic},
};

/// About what a topic at rest costs, in bytes: itself, its stream, its places in a map and a queue.
pub(super) const REST_BYTES: usize = 384;

/// A stream is in use again.
pub(super) fn wake(stream: &mut Stream, account: &mut Account) {
    if stream.rests_until.take().is_some() {
        account.free(REST_BYTES);
    }
}

impl Partition {
    /// Remembers a topic's epoch for as long as its publications would be stored.
    pub(super) fn rest(&mut self, now: Duration, topic: &Topic) {
        let Some(stream) = self.topics.get_mut(topic).and_then(|state| state.stream.as_mut())
        else {
            return;
        };
        if stream.rule.messages == 0 {
            wake(stream, &mut self.account);
            return forget_topic(&mut self.topics, topic);
        }
        let until = now.saturating_add(stream.rule.max_age);
        if stream.rests_until.replace(until).is_none() {
            self.account.spend(REST_BYTES);
        }
        if !std::mem::replace(&mut stream.has_alarm, true) {
            self.resting.push(Reverse((until, topic.clone(), stream.epoch())));
        }
    }

    /// When a topic at rest may have to be forgotten.
    pub(super) fn rest_ends(&self) -> Option<Duration> {
        self.resting.peek().map(|Reverse((at, ..))| *at)
    }

    /// Looks at the topic whose rest ends first, if that is by now; whether there was one.
    pub(super) fn end_rest(&mut self, now: Duration) -> bool {
        if self.rest_ends().is_none_or(|at| at > now) {
            return false;
        }
        let Some(Reverse((_, topic, epoch))) = self.resting.pop() else { return false };
        if let Some(until) = self.rests_until(&topic, epoch) {
            if until > now {
                // It was in use and rests again.
                self.set_alarm(&topic, until, epoch);
            } else {
                self.drop_resting(&topic);
            }
        }
        true
    }

    /// Forgets the topic at rest whose turn it is; whether there was one.
    pub(super) fn drop_rest(&mut self) -> bool {
        while let Some(Reverse((_, topic, epoch))) = self.resting.pop() {
            if self.rests_until(&topic, epoch).is_some() {
                self.drop_resting(&topic);
                return true;
            }
        }
        false
    }

    /// Until when a topic rests, if it does; its alarm has gone off.
    fn rests_until(&mut self, topic: &Topic, epoch: Epoch) -> Option<Duration> {
        let stream = self.stream(topic, epoch)?;
        stream.has_alarm = false;
        stream.rests_until
    }

    fn set_alarm(&mut self, topic: &Topic, until: Duration, epoch: Epoch) {
        if let Some(stream) = self.stream(topic, epoch) {
            stream.has_alarm = true;
            self.resting.push(Reverse((until, topic.clone(), epoch)));
        }
    }

    fn drop_resting(&mut self, topic: &Topic) {
        self.account.free(REST_BYTES);
        forget_topic(&mut self.topics, topic);
    }
}
