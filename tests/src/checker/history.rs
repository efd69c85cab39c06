//! What publishers and clients wrote down.
//!
//! Times are nanoseconds of one clock. Names are numbers, since a run has millions of deliveries.

/// A topic: a number of [`Run::topics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// A publication: a number of [`Run::publications`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId(pub u32);

/// An epoch: equal where the gateway's words for it are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// A place in the order of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which order.
    pub epoch: Epoch,
    /// Which place in it.
    pub offset: u64,
}

/// Everything that was written down in one run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The topics.
    pub topics: Vec<Topic>,
    /// What was published.
    pub publications: Vec<Publication>,
    /// Those of them that were sent after the last fault, when everybody was back.
    pub closing: Vec<PublicationId>,
    /// Who listened.
    pub clients: Vec<Client>,
}

impl Run {
    /// A publication, if there is one of this number.
    pub fn publication(&self, id: PublicationId) -> Option<&Publication> {
        self.publications.get(id.0 as usize)
    }

    /// A topic.
    ///
    /// # Panics
    ///
    /// There is none of this number: whoever wrote the history down numbered wrongly.
    pub fn topic(&self, id: TopicId) -> &Topic {
        self.topics.get(id.0 as usize).expect("every topic in a history is in its list")
    }
}

/// A channel, `@all`, or what `@user` is for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Whose.
    pub tenant: u32,
    /// What a reader of the verdict knows it by.
    pub name: String,
    /// The one user whom it is for.
    pub user: Option<u32>,
    /// Whether it has history.
    pub is_kept: bool,
}

impl Topic {
    /// One of the first tenant that is for all its users.
    pub const fn of_all(name: String, is_kept: bool) -> Self {
        Self { tenant: 0, name, user: None, is_kept }
    }
}

/// Something that was sent, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where to.
    pub topic: TopicId,
    /// The publisher's connection: within one, order is promised.
    pub lane: u32,
    /// Rises within a lane.
    pub seq: u32,
    /// [`hash`] of the data.
    pub hash: u64,
    /// When.
    pub sent: u64,
    /// The gateway that took it.
    pub gateway: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What the publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is published: here, where the topic has history. A client is not told the epoch.
    Acked {
        /// The epoch.
        epoch: Option<Epoch>,
        /// The offset.
        offset: Option<u64>,
    },
    /// Nobody knows: it may appear, once.
    Unknown,
    /// It was not carried out, and never will be.
    Refused,
}

/// One who listens, over many connections.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// What a reader of the verdict knows it by.
    pub name: String,
    /// Whose.
    pub tenant: u32,
    /// Who.
    pub user: u32,
    /// The topics it is to be subscribed to in the end.
    pub wants: Vec<TopicId>,
    /// Its connections, one after the other.
    pub sessions: Vec<Session>,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// To which gateway.
    pub gateway: u32,
    /// When it was there.
    pub opened: u64,
    /// When it ended; `None`: it was there at the end of the run.
    pub ended: Option<u64>,
    /// What came, in the order in which it came.
    pub events: Vec<Event>,
}

/// Something that a client was told about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: u64,
    /// Of which topic.
    pub topic: TopicId,
    /// What.
    pub what: What,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is subscribed, by its own will or by the welcome.
    Subscribed {
        /// What it asked to go on from.
        asked: Option<Position>,
        /// The place in the reply.
        position: Option<Position>,
        /// Whether it gets everything since then.
        recovered: Option<bool>,
    },
    /// A publication.
    Delivery {
        /// Its place.
        offset: Option<u64>,
        /// Which one, as the data says.
        publication: Option<PublicationId>,
        /// [`hash`] of the data.
        hash: u64,
    },
    /// Messages are lost: those before this place, or without one some around now.
    Gap(Option<Position>),
    /// An answer to `history`.
    History(Box<Page>),
    /// It is subscribed no more.
    Unsubscribed,
}

/// An answer to `history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What came after this place was asked for.
    pub since: Position,
    /// The newest place.
    pub top: Position,
    /// Whether more is to be had after the last of `messages`.
    pub more: bool,
    /// Offset, publication and [`hash`] of each.
    pub messages: Vec<(u64, Option<PublicationId>, u64)>,
}

/// How long things may take, and what else the promises allow.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When the first thing was broken: what was sent before that may not be missing where there is
    /// no history, whatever is told later.
    pub broken_from: u64,
    /// When it was whole again.
    pub broken_until: u64,
    /// So soon after it was sent, or after all was whole again, whoever is connected has a
    /// publication or was told that it is lost: by a gap without an offset, where there is no history.
    pub told_ns: u64,
    /// Who has to come back knows as well that something sent so long before may be lost.
    pub cut_reach_ns: u64,
    /// What was sent within so long after a subscription or before the end of a session need not
    /// have come, where there is no history.
    pub settle_ns: u64,
    /// A closing publication must be there after so long.
    pub converge_ns: u64,
    /// Where one gateway was cut off or killed.
    pub alone: Vec<Alone>,
}

/// A time in which one gateway may say `published` of what reaches nobody else, where there is no
/// history: it cannot know.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// Which.
    pub gateway: u32,
    /// From when.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// FNV-1a of 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
