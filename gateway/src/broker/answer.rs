//! What a topic's home answers to the workers that asked, and what it has them tell.

use std::sync::Arc;

use super::{
    publication::Publication,
    roster::{News, PresenceMode},
    stream::HistoryRule,
    workers::WorkerSet,
};
use crate::protocol::{encoded::Encoded, position::Position, topic::Topic};

/// What a publishing came to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is stored, where the topic has history, and is to be handed to these workers.
    Published {
        /// What they get.
        publication: Arc<Publication>,
        /// Those with subscribers, perhaps none.
        to: WorkerSet,
    },
    /// The key was used before, for the publication at this position.
    Duplicate(Position),
}

/// What a subscriber starts from.
#[derive(Clone, Debug)]
pub struct Attached {
    /// What `subscribed` says: the client's own position where it recovers, else the newest;
    /// `None` without history.
    pub position: Option<Position>,
    /// Whether the client gets all that it missed; `None` where it did not ask.
    pub recovered: Option<bool>,
    /// What to replay, oldest first.
    pub missed: Vec<Arc<Publication>>,
    /// Whether there is more behind `missed`, to be asked for when that is replayed.
    pub more: bool,
}

impl Attached {
    /// One that starts there, with nothing to replay.
    pub const fn at(position: Option<Position>, recovered: Option<bool>) -> Self {
        Self { position, recovered, missed: Vec::new(), more: false }
    }
}

/// Something about presence that a topic's subscribers are told.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Whose subscribers.
    pub topic: Topic,
    /// The workers that have some.
    pub to: WorkerSet,
    /// The envelope, the same in both dialects.
    pub envelope: Encoded,
}

impl Announcement {
    /// News for these workers, if there are any.
    pub fn of(news: &News, topic: &Topic, to: WorkerSet) -> Option<Self> {
        (!to.is_empty()).then(|| Self { topic: topic.clone(), to, envelope: news.envelope(topic) })
    }
}

/// A topic's history was switched on or off: its subscribers are told by a `gap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Which one.
    pub topic: Topic,
    /// The workers that have subscribers.
    pub to: WorkerSet,
    /// Where the topic stands now; `None` without history.
    pub position: Option<Position>,
}

/// What the manifest says about a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicRules {
    /// What is kept, if anything.
    pub history: Option<HistoryRule>,
    /// `None`: nobody is told who is there.
    pub presence: Option<PresenceMode>,
}

/// A topic as the server API lists it.
#[derive(Clone, Copy, Debug)]
pub struct TopicView<'a> {
    /// Which one.
    pub topic: &'a Topic,
    /// Where it stands, with history.
    pub position: Option<Position>,
}
