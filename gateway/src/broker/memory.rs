//! The Memory broker: topics whose home is one worker, in that worker's memory.
//!
//! A topic is remembered while somebody is subscribed, something is stored, a key may come again,
//! or a leave is to be told. One that comes later begins a new epoch, so nobody takes it for the
//! old one. Nothing here waits, and all work but a change of rules is bounded by what is removed.
//!
//! `now` never goes back from one call to the next.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::Entry as Slot},
    sync::Arc,
    time::Duration,
};

use ahash::RandomState;

use super::{
    ledger::{Account, Entry, HistoryBytes, Ledger},
    publication::{Key, Publication, Publish},
    roster::{Matter, Member, Members, News, PresenceMode, Roster, Stir},
    stream::{HistoryError, HistoryPage, HistoryRule, KEY_LIFETIME, Stream},
    workers::WorkerSet,
};
use crate::protocol::{
    encoded::Encoded,
    position::{ClientPosition, Epoch, Position},
    reply,
    topic::Topic,
};

/// How many things one [`Partition::tick`] does at most.
pub const WORK_PER_TICK_MAX: usize = 1024;

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
    /// Whether `missed` is all that the client missed; `None` where it did not ask.
    pub recovered: Option<bool>,
    /// What to replay, oldest first.
    pub missed: Vec<Arc<Publication>>,
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
    /// The workers that have subscribers.
    pub workers: WorkerSet,
    /// Where it stands, with history.
    pub position: Option<Position>,
    /// How many publications are stored.
    pub stored: usize,
    /// How many connections presence counts.
    pub members: usize,
}

/// The topics whose home is one worker.
#[derive(Debug)]
pub struct Partition {
    topics: HashMap<Topic, State, RandomState>,
    epochs: Epochs,
    account: Account,
    ledger: Ledger,
    /// The keys that were used, oldest first.
    keys: VecDeque<UsedKey>,
    matters: BinaryHeap<Reverse<(Duration, Topic, Matter)>>,
}

/// Most topics have neither history nor presence, and cost only who is interested.
#[derive(Debug, Default)]
struct State {
    interest: WorkerSet,
    stream: Option<Box<Stream>>,
    roster: Option<Box<Roster>>,
}

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
            topics: HashMap::default(),
            epochs: Epochs(seed),
            account: Account::new(bytes),
            ledger: Ledger::default(),
            keys: VecDeque::new(),
            matters: BinaryHeap::new(),
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
        let stream = stream(&mut state.stream, rule, &mut self.epochs);
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
            self.keys.push_back(UsedKey { at: now, topic, epoch, key });
        }
        trim(stream, now, &mut self.account);
        self.make_room();
        Outcome::Published { publication, to }
    }

    /// Registers a worker's interest and says where a new subscriber of it starts.
    ///
    /// What is published after this goes to the worker too, so that nothing falls between.
    pub fn attach(
        &mut self,
        now: Duration,
        topic: &Topic,
        worker: usize,
        recover: Option<ClientPosition>,
        history: Option<HistoryRule>,
    ) -> Attached {
        let state = self.topics.entry(topic.clone()).or_default();
        state.interest.insert(worker);
        let Some(rule) = history else {
            return Attached {
                position: None,
                recovered: recover.map(|_| false),
                missed: Vec::new(),
            };
        };
        let stream = stream(&mut state.stream, rule, &mut self.epochs);
        trim(stream, now, &mut self.account);
        let top = stream.top();
        match recover.and_then(|client| Some((client, stream.missed(client)?))) {
            Some((client, missed)) => Attached {
                position: Some(Position { offset: client.offset, ..top }),
                recovered: Some(true),
                missed,
            },
            None => Attached {
                position: Some(top),
                recovered: recover.map(|_| false),
                missed: Vec::new(),
            },
        }
    }

    /// Ends a worker's interest: its last subscriber of the topic went.
    pub fn detach(&mut self, topic: &Topic, worker: usize) {
        if let Some(state) = self.topics.get_mut(topic) {
            state.interest.remove(worker);
            self.settle(topic);
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
        self.settle(topic);
        page
    }

    /// A connection with presence subscribed. The same one again replaces what was known of it.
    pub fn join(
        &mut self,
        now: Duration,
        topic: &Topic,
        member: Member,
        mode: PresenceMode,
    ) -> Option<Announcement> {
        let state = self.topics.entry(topic.clone()).or_default();
        let roster = state.roster.get_or_insert_with(|| Box::new(Roster::new(mode)));
        roster.mode = mode;
        let stir = roster.join(now, member);
        self.follow(topic, stir)
    }

    /// A connection unsubscribed or went.
    pub fn leave(
        &mut self,
        now: Duration,
        topic: &Topic,
        connection: &str,
    ) -> Option<Announcement> {
        let roster = self.topics.get_mut(topic)?.roster.as_mut()?;
        let stir = roster.leave(now, connection);
        let announcement = self.follow(topic, stir);
        self.settle(topic);
        announcement
    }

    /// Who is subscribed, where the topic has presence.
    pub fn presence(&self, topic: &Topic) -> Members {
        let roster = self.topics.get(topic).and_then(|state| state.roster.as_ref());
        roster.map(|roster| roster.members()).unwrap_or_default()
    }

    /// The workers that have subscribers.
    pub fn subscribers(&self, topic: &Topic) -> WorkerSet {
        self.topics.get(topic).map(|state| state.interest).unwrap_or_default()
    }

    /// When [`tick`](Self::tick) has something to do, as far as is known now.
    pub fn due(&self) -> Option<Duration> {
        let key = self.keys.front().map(|used| used.at + KEY_LIFETIME);
        let matter = self.matters.peek().map(|Reverse((at, ..))| *at);
        [self.ledger.due(), key, matter].into_iter().flatten().min()
    }

    /// Does what is due: forgets what is too old and tells who left.
    ///
    /// At most [`WORK_PER_TICK_MAX`] things; where there is more, [`due`](Self::due) is in the past.
    pub fn tick(&mut self, now: Duration) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for _ in 0..WORK_PER_TICK_MAX {
            if let Some(Reverse((_, topic, matter))) = self.pop_matter(now) {
                announcements.extend(self.look(now, &topic, &matter));
            } else if let Some(entry) = self.ledger.pop_expired(now) {
                self.remove(&entry);
            } else if !self.forget_key(now) {
                break;
            }
        }
        self.make_room();
        announcements
    }

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
                    stream(new, rule, &mut self.epochs);
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
        self.topics.retain(|_, state| !state.is_idle());
        self.ledger = self.new_ledger();
        resets
    }

    /// Every topic that is remembered, in no order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = TopicView<'_>> {
        self.topics.iter().map(|(topic, state)| TopicView {
            topic,
            workers: state.interest,
            position: state.stream.as_ref().map(|stream| stream.top()),
            stored: state.stream.as_ref().map_or(0, |stream| stream.stored().len()),
            members: state.roster.as_ref().map_or(0, |roster| roster.len()),
        })
    }

    /// Carries out what a roster wants.
    fn follow(&mut self, topic: &Topic, stir: Stir) -> Option<Announcement> {
        match stir {
            Stir::Quiet => None,
            Stir::Later(at, matter) => {
                self.matters.push(Reverse((at, topic.clone(), matter)));
                None
            }
            Stir::Tell(news) => {
                let to = self.subscribers(topic);
                (!to.is_empty()).then(|| Announcement {
                    topic: topic.clone(),
                    to,
                    envelope: encode(topic, &news),
                })
            }
        }
    }

    fn look(&mut self, now: Duration, topic: &Topic, matter: &Matter) -> Option<Announcement> {
        let roster = self.topics.get_mut(topic)?.roster.as_mut()?;
        let stir = roster.look(now, matter);
        let announcement = self.follow(topic, stir);
        self.settle(topic);
        announcement
    }

    fn pop_matter(&mut self, now: Duration) -> Option<Reverse<(Duration, Topic, Matter)>> {
        let Reverse((at, ..)) = self.matters.peek()?;
        if *at <= now { self.matters.pop() } else { None }
    }

    /// Forgets the oldest key if its time has passed.
    fn forget_key(&mut self, now: Duration) -> bool {
        let is_old = self.keys.front().is_some_and(|used| used.at + KEY_LIFETIME <= now);
        is_old && self.drop_key()
    }

    /// Forgets the oldest key, unless there is none.
    fn drop_key(&mut self) -> bool {
        let Some(UsedKey { at, topic, epoch, key }) = self.keys.pop_front() else {
            return false;
        };
        if let Some(stream) = self.stream(&topic, epoch)
            && stream.forget(&key, at)
        {
            self.account.free(key.bytes());
            self.settle(&topic);
        }
        true
    }

    /// Removes a publication and all before it in its topic, as far as they are still stored.
    fn remove(&mut self, Entry { topic, epoch, offset, .. }: &Entry) {
        let state = self.topics.get_mut(topic).and_then(|state| state.stream.as_mut());
        let Some(stream) = state.filter(|stream| stream.epoch() == *epoch && stream.has(*offset))
        else {
            return;
        };
        while stream.has(*offset)
            && let Some(removed) = stream.remove_oldest()
        {
            self.account.drop(&removed);
        }
        self.settle(topic);
    }

    /// Removes the oldest until the bytes suffice: publications first, since a key keeps a promise.
    fn make_room(&mut self) {
        while self.account.is_overdrawn() {
            if let Some(entry) = self.ledger.pop_oldest() {
                self.remove(&entry);
            } else if !self.drop_key() {
                break;
            }
        }
        let topics = &self.topics;
        self.ledger.compact(self.account.publications, |entry| {
            let state = topics.get(&entry.topic);
            let stream = state.and_then(|state| state.stream.as_ref());
            stream.is_some_and(|s| s.epoch() == entry.epoch && s.has(entry.offset))
        });
    }

    fn stream(&mut self, topic: &Topic, epoch: Epoch) -> Option<&mut Stream> {
        let stream = self.topics.get_mut(topic)?.stream.as_deref_mut()?;
        (stream.epoch() == epoch).then_some(stream)
    }

    /// Forgets a topic that nothing is to be remembered of.
    fn settle(&mut self, topic: &Topic) {
        let Slot::Occupied(mut slot) = self.topics.entry(topic.clone()) else {
            return;
        };
        let state = slot.get_mut();
        if state.roster.as_ref().is_some_and(|roster| roster.is_empty()) {
            state.roster = None;
        }
        if state.is_idle() {
            slot.remove();
        }
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

impl State {
    fn is_idle(&self) -> bool {
        let Self { interest, stream, roster } = self;
        interest.is_empty()
            && stream.as_ref().is_none_or(|stream| stream.is_empty())
            && roster.as_ref().is_none_or(|roster| roster.is_empty())
    }
}

/// Gives each life of a topic a name of its own.
#[derive(Debug)]
struct Epochs(u64);

impl Epochs {
    /// One that this partition never gave out: a bijection of a counter (`SplitMix64`), so that two
    /// processes that began with different seeds hardly ever meet.
    fn next(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch(mixed ^ (mixed >> 31))
    }
}

/// The stream in `slot` under its rule of now, a new one where there is none.
fn stream<'s>(
    slot: &'s mut Option<Box<Stream>>,
    rule: HistoryRule,
    epochs: &mut Epochs,
) -> &'s mut Stream {
    let stream = slot.get_or_insert_with(|| Box::new(Stream::new(epochs.next(), rule)));
    stream.rule = rule;
    stream
}

/// Removes what the stream's rule no longer keeps.
fn trim(stream: &mut Stream, now: Duration, account: &mut Account) {
    while let Some(removed) = stream.remove_surplus(now) {
        account.drop(&removed);
    }
}

/// Ends a stream with all that is stored.
fn close(slot: &mut Option<Box<Stream>>, account: &mut Account) {
    if let Some(stream) = slot.take() {
        stream.stored().for_each(|publication| account.drop(publication));
        account.free(stream.keys().map(Key::bytes).sum());
    }
}

fn encode(topic: &Topic, news: &News) -> Encoded {
    let name = topic.name();
    Encoded::text(128 + name.len(), |out| match news {
        News::Join(member) => reply::join(out, name, &member.as_reply()),
        News::Leave(member) => reply::leave(out, name, &member.as_reply()),
        News::Changed { total } => reply::presence_changed(out, name, Some(*total)),
    })
}
