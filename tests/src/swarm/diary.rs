//! What one client knows of its topics, and what it writes down for the checker.

use std::collections::{HashMap, HashSet};

use super::{ledger, said::Said};
use crate::{
    checker::{Client, Event, Page, Position, Session, TopicId, What, hash},
    clock::now_ns,
};

/// The history of a client, and the positions that it goes on from.
#[derive(Debug, Default)]
pub struct Diary {
    /// What was written down.
    pub client: Client,
    positions: HashMap<TopicId, Position>,
    /// Where to go on, in topics whose past is being asked for.
    pasts: HashMap<TopicId, Position>,
    subscribed: HashSet<TopicId>,
}

impl Diary {
    /// The diary of a client that has seen nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, ..Self::default() }
    }

    /// A connection is there.
    pub fn open(&mut self, gateway: u32) {
        self.subscribed.clear();
        self.client.sessions.push(Session { gateway, opened: now_ns(), ..Session::default() });
    }

    /// It has ended.
    pub fn close(&mut self) {
        // What was not asked for to the end is asked for again.
        self.positions.extend(self.pasts.drain());
        self.subscribed.clear();
        if let Some(session) = self.client.sessions.last_mut() {
            session.ended.get_or_insert_with(now_ns);
        }
    }

    /// Whether everything that is wanted is subscribed, and the past is known.
    pub fn is_complete(&self) -> bool {
        self.pasts.is_empty() && self.client.wants.iter().all(|it| self.subscribed.contains(it))
    }

    /// Whether a topic is subscribed.
    pub fn has(&self, topic: TopicId) -> bool {
        self.subscribed.contains(&topic)
    }

    /// Where to go on in a topic.
    pub fn position(&self, topic: TopicId) -> Option<Position> {
        self.positions.get(&topic).copied()
    }

    /// From where the past of a topic is still to be asked for.
    pub fn past(&self, topic: TopicId) -> Option<Position> {
        self.pasts.get(&topic).copied()
    }

    fn note(&mut self, topic: TopicId, what: What) {
        if let Some(session) = self.client.sessions.last_mut() {
            session.events.push(Event { at: now_ns(), topic, what });
        }
    }

    /// The welcome named a topic; says whether its past has to be asked for.
    pub fn welcomed(&mut self, topic: TopicId, position: Option<Position>) -> bool {
        self.subscribed.insert(topic);
        self.note(topic, What::Subscribed { asked: None, position, recovered: None });
        let Some(position) = position else { return false };
        let before = self.positions.insert(topic, position);
        let is_behind = |it: &Position| it.epoch == position.epoch && it.offset < position.offset;
        let before = before.filter(is_behind);
        self.pasts.extend(before.map(|it| (topic, it)));
        before.is_some()
    }

    /// A subscription was answered.
    pub fn subscribed(
        &mut self,
        topic: TopicId,
        asked: Option<Position>,
        position: Option<Position>,
        recovered: Option<bool>,
    ) {
        self.subscribed.insert(topic);
        self.note(topic, What::Subscribed { asked, position, recovered });
        self.positions.extend(position.map(|it| (topic, it)));
    }

    /// A publication came. Gives how old it is.
    pub fn delivered(&mut self, topic: TopicId, said: &Said<'_>) -> Option<u64> {
        let data = said.data.map_or("", |it| it.get());
        let known = ledger::read(data);
        let (publication, offset) = (known.map(|it| it.0), said.offset);
        self.note(topic, What::Delivery { offset, publication, hash: hash(data.as_bytes()) });
        if let (Some(offset), Some(at)) = (offset, self.positions.get_mut(&topic)) {
            at.offset = at.offset.max(offset);
        }
        known.map(|it| now_ns().saturating_sub(it.1))
    }

    /// Something is lost.
    pub fn gap(&mut self, topic: TopicId, position: Option<Position>) {
        self.note(topic, What::Gap(position));
        let Some(gap) = position else { return };
        let told = Position { offset: gap.offset.saturating_sub(1), ..gap };
        let at = self.positions.entry(topic).or_insert(told);
        *at = if at.epoch == told.epoch { told.max(*at) } else { told };
        self.pasts.remove(&topic);
    }

    /// A part of the past came; says whether there is more to ask for.
    pub fn page(&mut self, topic: TopicId, top: Position, said: &Said<'_>) -> bool {
        let Some(since) = self.pasts.remove(&topic) else { return false };
        let messages: Vec<_> = said
            .messages
            .iter()
            .map(|it| {
                let data = it.data.get();
                (it.offset, ledger::read(data).map(|it| it.0), hash(data.as_bytes()))
            })
            .collect();
        let last = messages.last().map_or(since.offset, |it| it.0);
        let page = Page { since, top, more: said.more, messages };
        self.note(topic, What::History(Box::new(page)));
        if said.more {
            self.pasts.insert(topic, Position { offset: last, ..since });
        }
        said.more
    }

    /// The past of a topic is not to be had any more.
    pub fn forget(&mut self, topic: TopicId) {
        self.pasts.remove(&topic);
    }

    /// A subscription was ended.
    pub fn unsubscribed(&mut self, topic: TopicId) {
        self.note(topic, What::Unsubscribed);
        self.subscribed.remove(&topic);
        self.positions.remove(&topic);
    }
}
