//! The homes of topics that pods share: what this pod follows of each of them.
//!
//! A topic still has one home in each pod, so that its publications stay in order. The home does not
//! order them itself: they come from the broker between pods, its own pod's among them. It says which
//! topics are wanted, fills holes from the streams, and answers subscribers from there.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use ahash::RandomState;

use super::{
    home::{PAGE_BYTES_MAX, REPLAY_PAGE, fitting, shorten},
    life::{Broker, Worker},
    message::{
        Answered, Asker, Attach, Heard, HistoryQuestion, IsComplete, Message, SubscriptionKey,
    },
};
use crate::{
    broker::{
        Announcement, Attached, ClientPosition, HistoryError, HistoryPage, Matter, Member, Members,
        Position, PresenceMode, Publication, Publish, Reset, Roster, Stir, TopicRules, WorkerSet,
        nats::{
            follow::{Ask, Filled, Follow, Found, Step, Top, is_of},
            link::{Arrived, Done, Kept, Link, Lost, Notice, Order, Read, What},
            roster,
        },
    },
    protocol::{encoded::Encoded, reply, topic::Topic},
};

/// How long to wait before a stream that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The topics whose home a worker is, where pods share them.
#[derive(Debug)]
pub struct Seats {
    link: Link,
    pod: Arc<str>,
    topics: HashMap<Topic, Seat, RandomState>,
    /// Channels that some worker is interested in.
    channels: usize,
    /// What rosters want to be looked at, and when.
    matters: BinaryHeap<Reverse<(Duration, Topic, Matter)>>,
    /// Counts wishes, so that the answer to an earlier one is not taken for one to the last.
    wishes: u64,
    /// Topics whose stream did not answer.
    silent: Vec<Topic>,
    silent_until: Duration,
}

#[derive(Debug, Default)]
struct Seat {
    interest: WorkerSet,
    /// Which wish of the link's it is.
    wish: u64,
    /// What is published comes here.
    is_listening: bool,
    /// Somebody began without a broker, before what is published came here.
    is_owed: bool,
    /// Where it stands, with history.
    follow: Option<Box<Followed>>,
    /// Who wants to begin, and waits until it is known where.
    waiting: Vec<Attach>,
    roster: Option<Box<Roster>>,
}

#[derive(Debug)]
struct Followed {
    kept: Kept,
    follow: Follow,
}

impl Seats {
    /// No topics. `pod` is what the pods call this one.
    pub fn new(link: Link, pod: Arc<str>) -> Self {
        Self {
            link,
            pod,
            topics: HashMap::default(),
            channels: 0,
            matters: BinaryHeap::new(),
            wishes: 0,
            silent: Vec::new(),
            silent_until: Duration::ZERO,
        }
    }

    /// How many channels have a subscriber here.
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// Every topic that is followed, and where it stands.
    pub fn positions(&self) -> impl Iterator<Item = (&Topic, Option<Position>)> {
        self.topics.iter().map(|(topic, seat)| (topic, seat.position()))
    }

    /// Who of this pod is in a topic.
    pub fn members(&self, topic: &Topic) -> Members {
        let roster = self.topics.get(topic).and_then(|seat| seat.roster.as_ref());
        roster.map(|roster| roster.members()).unwrap_or_default()
    }

    /// When [`Worker::tend_seats`] has something to do.
    pub fn due(&self) -> Option<Duration> {
        let matter = self.matters.peek().map(|Reverse((at, ..))| *at);
        let silent = (!self.silent.is_empty()).then_some(self.silent_until);
        [matter, silent].into_iter().flatten().min()
    }

    /// Forgets a topic that nobody listens to and nothing is to be told of.
    fn settle(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(Seat::is_idle) {
            self.topics.remove(topic);
            // A flood of names must not hold its room for as long as the process lives.
            let topics = self.topics.len();
            if self.topics.capacity() > 4 * topics + 4096 {
                self.topics.shrink_to(2 * topics);
            }
        }
    }

    /// Carries out what a roster wants: what to tell here, once the other pods are told.
    fn follow_up(&mut self, topic: &Topic, stir: Stir, is_own: bool) -> Option<Announcement> {
        match stir {
            Stir::Quiet => None,
            Stir::Later(at, matter) => {
                self.matters.push(Reverse((at, topic.clone(), matter)));
                None
            }
            Stir::Tell(news) => {
                let seat = self.topics.get(topic)?;
                if is_own {
                    let count = seat.roster.as_ref().map_or(0, |it| it.count());
                    let event = roster::encode(&self.pod, count, &news);
                    // Who is not told now finds out by asking.
                    let _ = self.link.order(Order::Roster(topic.clone(), event.into()));
                }
                let to = seat.interest;
                (!to.is_empty()).then(|| Announcement {
                    topic: topic.clone(),
                    to,
                    envelope: news.envelope(topic),
                })
            }
        }
    }
}

impl Seat {
    fn position(&self) -> Option<Position> {
        self.follow.as_ref()?.follow.position()
    }

    fn is_idle(&self) -> bool {
        self.interest.is_empty() && self.roster.as_ref().is_none_or(|it| it.is_empty())
    }

    /// What its stream is to be asked, once what is published comes here.
    fn ask(&self) -> Option<(Kept, Ask)> {
        let followed = self.follow.as_ref().filter(|_| self.is_listening)?;
        Some((followed.kept.clone(), followed.follow.ask()?))
    }
}

impl Worker {
    fn seats(&mut self) -> Option<&mut Seats> {
        match &mut self.broker {
            Broker::Nats(seats) => Some(seats),
            Broker::Memory(_) => None,
        }
    }

    fn seat(&mut self, topic: &Topic) -> Option<&mut Seat> {
        self.seats()?.topics.get_mut(topic)
    }

    /// Gives an order; one that cannot be taken is answered as one that failed.
    fn order(&mut self, order: Order) {
        if let Some(seats) = self.seats()
            && let Err(order) = seats.link.order(order)
        {
            order.refuse();
        }
    }

    /// Publishes to all pods.
    pub fn publish_to_all(&mut self, publish: Publish, asker: Asker<Option<Position>>) {
        let topic = publish.topic.clone();
        let kept = self.settings.kept(&topic);
        let shared = Arc::clone(&self.shared);
        let done = match asker {
            Asker::Nobody => None,
            // Who has given up waiting has no use for the answer; without one it is no answer.
            Asker::Api(done) => Some(Done::new(move |published: Result<_, Lost>| {
                if let Ok(position) = published {
                    let _ = done.send(position);
                }
            })),
            Asker::Client(connection, id) => {
                Some(Done::new(move |published: Result<Option<Position>, Lost>| {
                    let message = match published {
                        Ok(position) => {
                            let offset = position.map(|it| it.offset);
                            let reply = Encoded::text(96, |out| {
                                reply::published(out, id.as_deref(), topic.name(), offset);
                            });
                            Message::Reply(connection, reply)
                        }
                        Err(Lost) => Message::Unavailable(connection, id),
                    };
                    shared.send(connection.worker(), message);
                }))
            }
        };
        self.order(Order::Publish(publish, kept, done));
    }

    /// A worker wants a topic, for a subscription.
    pub fn seat_attach(&mut self, attach: Attach) {
        let topic = attach.subscription.topic.clone();
        let kept = self.settings.kept(&topic);
        let Some(seats) = self.seats() else { return };
        let is_connected = seats.link.is_connected();
        let seat = seats.topics.entry(topic.clone()).or_default();
        let is_new = seat.interest.is_empty();
        seat.interest.insert(attach.subscription.connection.worker());
        if is_new {
            seats.wishes += 1;
            seat.wish = seats.wishes;
            seats.link.want(&topic, Some(seat.wish));
            seats.channels += usize::from(!topic.is_reserved());
        }
        if seat.follow.is_none()
            && let Some(kept) = kept
        {
            let follow = Follow::new(kept.rule.max_age, false);
            seat.follow = Some(Box::new(Followed { kept, follow }));
        }
        let has_history = seat.follow.is_some();
        seat.is_owed |= !seat.is_listening && !is_connected && !has_history;
        if seat.is_listening || (!is_connected && !has_history) {
            // Without a broker nothing can be missed that was promised: who is here is told of a
            // break when it is back.
            self.begin(attach);
        } else if is_connected {
            seat.waiting.push(attach);
        } else {
            self.cannot_begin(attach);
        }
    }

    /// Begins a subscription whose topic comes here, or has it wait until its place is known.
    fn begin(&mut self, attach: Attach) {
        let topic = attach.subscription.topic.clone();
        let Some(seats) = self.seats() else { return };
        let is_connected = seats.link.is_connected();
        let Some(seat) = seats.topics.get_mut(&topic) else { return };
        let Some(followed) = &seat.follow else {
            let recovered = attach.recover.map(|_| false);
            let attached = Attached { position: None, recovered, missed: Vec::new(), more: false };
            return self.attached_from_home(attach, attached);
        };
        let Some(position) = followed.follow.position() else {
            if !is_connected {
                return self.cannot_begin(attach);
            }
            let is_first = seat.waiting.is_empty();
            seat.waiting.push(attach);
            if is_first {
                self.ask_stream(&topic);
            }
            return;
        };
        let kept = followed.kept.clone();
        let at_top = |recovered| Attached {
            position: Some(position),
            recovered,
            missed: Vec::new(),
            more: false,
        };
        match attach.recover {
            None => self.attached_from_home(attach, at_top(None)),
            Some(client) if client == ClientPosition::from(position) => {
                self.attached_from_home(attach, at_top(Some(true)));
            }
            Some(client) if !is_of(client, position.epoch, position.offset) => {
                self.attached_from_home(attach, at_top(Some(false)));
            }
            Some(client) => {
                let shared = Arc::clone(&self.shared);
                let asked = topic.clone();
                let done = Done::new(move |found| {
                    let heard = Heard::Recovered(Box::new(attach), found);
                    shared.to_home(&asked, Message::Heard(heard));
                });
                let what = What::After { since: client, is_own: false, limit: REPLAY_PAGE, done };
                self.order(Order::Read(Read { topic, kept, what }));
            }
        }
    }

    /// The stream says what a client that comes back has missed.
    fn recovered(&mut self, attach: Attach, found: Result<Found, Lost>) {
        let topic = attach.subscription.topic.clone();
        let bytes_max = self.page_bytes_max();
        let Some(seat) = self.seat(&topic) else { return };
        let position = seat.follow.as_ref().and_then(|it| it.follow.position());
        let (Some(client), Some(position)) = (attach.recover, position) else {
            // The rule has changed meanwhile, or the broker was lost and is back.
            return self.begin(attach);
        };
        let Ok(found) = found else { return self.cannot_begin(attach) };
        let is_whole = found.is_complete && found.top.position.epoch == position.epoch;
        let attached = if is_whole {
            let mut missed = found.messages;
            missed.truncate(fitting(missed.iter(), bytes_max));
            let reached =
                missed.last().and_then(|it| it.position).map_or(client.offset, |it| it.offset);
            Attached {
                position: Some(Position { offset: client.offset, ..position }),
                recovered: Some(true),
                missed,
                // What came live meanwhile was not held for it: it is to be asked for.
                more: reached < position.offset,
            }
        } else {
            Attached {
                position: Some(position),
                recovered: Some(false),
                missed: Vec::new(),
                more: false,
            }
        };
        self.attached_from_home(attach, attached);
    }

    fn attached_from_home(&mut self, attach: Attach, attached: Attached) {
        let Attach { subscription, member, .. } = attach;
        let topic = subscription.topic.clone();
        let worker = subscription.connection.worker();
        self.shared.send(worker, Message::Attached(subscription, attached));
        if let Some((member, mode)) = member {
            self.seat_join(&topic, member, mode);
        }
    }

    /// A subscription cannot begin now; one that a session opens with begins without a place.
    fn cannot_begin(&mut self, attach: Attach) {
        let topic = &attach.subscription.topic;
        if let Some(followed) = self.seat(topic).and_then(|it| it.follow.as_mut()) {
            followed.follow.owes();
        }
        let Attach { subscription, member, .. } = attach;
        let topic = subscription.topic.clone();
        let worker = subscription.connection.worker();
        self.shared.send(worker, Message::Unattached(subscription));
        if let Some((member, mode)) = member {
            self.seat_join(&topic, member, mode);
        }
    }

    /// Nobody on a worker listens any more.
    pub fn seat_detach(&mut self, topic: &Topic, worker: usize) {
        let Some(seats) = self.seats() else { return };
        let Some(seat) = seats.topics.get_mut(topic) else { return };
        let was_wanted = !seat.interest.is_empty();
        seat.interest.remove(worker);
        if was_wanted && seat.interest.is_empty() {
            seats.link.want(topic, None);
            seats.channels -= usize::from(!topic.is_reserved());
            seat.wish = 0;
            seat.is_listening = false;
            seat.follow = None;
            seat.waiting.clear();
        }
        seats.settle(topic);
    }

    /// A connection is in a channel.
    pub fn seat_join(&mut self, topic: &Topic, member: Member, mode: PresenceMode) {
        let now = self.now;
        let Some(seats) = self.seats() else { return };
        let seat = seats.topics.entry(topic.clone()).or_default();
        let roster = seat.roster.get_or_insert_with(|| Box::new(Roster::new(mode)));
        roster.mode = mode;
        let stir = roster.join(now, member);
        let announcement = seats.follow_up(topic, stir, true);
        self.have_announced(announcement);
    }

    /// A connection is no longer in a channel.
    pub fn seat_leave(&mut self, topic: &Topic, connection: &str) {
        let now = self.now;
        let Some(seats) = self.seats() else { return };
        let roster = seats.topics.get_mut(topic).and_then(|seat| seat.roster.as_mut());
        let Some(stir) = roster.map(|it| it.leave(now, connection)) else { return };
        let announcement = seats.follow_up(topic, stir, true);
        seats.settle(topic);
        self.have_announced(announcement);
    }

    /// Who is in a channel, on whichever pod, for a client.
    pub fn seat_presence(&mut self, topic: Topic, asker: Asker<Members>) {
        let Asker::Client(connection, id) = asker else { return };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let done = Done::new(move |answer: Result<(Members, bool), Lost>| {
            let answered = match answer {
                Ok((members, complete)) => Answered::Presence(members, IsComplete(complete)),
                Err(Lost) => Answered::Unavailable,
            };
            let answer = Message::Answer(connection, id, asked, answered);
            shared.send(connection.worker(), answer);
        });
        self.order(Order::Presence(topic, done));
    }

    /// What is stored of a topic, for who asked.
    pub fn seat_history(
        &mut self,
        question: HistoryQuestion,
        asker: Asker<Result<HistoryPage, HistoryError>>,
    ) {
        let HistoryQuestion { topic, since, limit } = question;
        let bytes_max = self.page_bytes_max();
        let Some(kept) = self.settings.kept(&topic) else {
            return self.answer_to(asker, topic, Err(HistoryError::NoHistory), Answered::History);
        };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let done = Done::new(move |found: Result<Found, Lost>| {
            let mut page = found
                .map_err(|Lost| HistoryError::Unavailable)
                .and_then(|found| page(found, since));
            if let Ok(page) = &mut page {
                shorten(page, since.is_some(), bytes_max);
            }
            shared.answer(asker, asked, page, Answered::History);
        });
        let what = match since {
            Some(since) => What::After { since, is_own: false, limit, done },
            None => What::Newest(limit, done),
        };
        self.order(Order::Read(Read { topic, kept, what }));
    }

    /// Gives a subscription the next part of its replay.
    pub fn seat_resume(&mut self, subscription: SubscriptionKey, since: Position) {
        let topic = subscription.topic.clone();
        let Some(kept) = self.settings.kept(&topic) else {
            let worker = subscription.connection.worker();
            let page = Err(HistoryError::NoHistory);
            self.shared.send(worker, Message::Resumed(subscription, page));
            return;
        };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let done = Done::new(move |found| {
            shared.to_home(&asked, Message::Heard(Heard::Resumed(subscription, found)));
        });
        let what = What::After { since: since.into(), is_own: false, limit: REPLAY_PAGE, done };
        self.order(Order::Read(Read { topic, kept, what }));
    }

    fn resumed_from_stream(&mut self, subscription: SubscriptionKey, found: Result<Found, Lost>) {
        let bytes_max = self.page_bytes_max();
        let position = self.seat(&subscription.topic).and_then(|it| it.position());
        let worker = subscription.connection.worker();
        let Ok(found) = found else {
            // It asks again when the broker is back.
            let page = Err(HistoryError::Unavailable);
            self.shared.send(worker, Message::Resumed(subscription, page));
            return;
        };
        let is_same = position.is_some_and(|it| it.epoch == found.top.position.epoch);
        let page = if is_same {
            page(found, None).map(|mut page| {
                shorten(&mut page, true, bytes_max);
                // What was delivered live was not held for it.
                let reached = page.messages.last().and_then(|it| it.position);
                page.more |= reached.zip(position).is_some_and(|(a, b)| a.offset < b.offset);
                page
            })
        } else {
            Err(HistoryError::EpochChanged)
        };
        self.shared.send(worker, Message::Resumed(subscription, page));
    }

    /// Applies other rules to every topic, and says whose history is another now.
    pub fn seat_rules(&mut self) -> Vec<Reset> {
        let settings = Arc::clone(&self.settings);
        let Some(seats) = self.seats() else { return Vec::new() };
        let mut resets = Vec::new();
        let mut asks = Vec::new();
        for (topic, seat) in &mut seats.topics {
            let TopicRules { presence, .. } = settings.topic_rules(topic);
            let kept = settings.kept(topic);
            match (&mut seat.follow, kept) {
                (Some(followed), Some(kept)) if followed.kept.by == kept.by => {
                    followed.follow.set_max_age(kept.rule.max_age);
                    followed.kept = kept;
                }
                (slot, Some(kept)) => {
                    // Who is here is told where it stands when that is known.
                    let follow = Follow::new(kept.rule.max_age, true);
                    *slot = Some(Box::new(Followed { kept, follow }));
                    asks.push(topic.clone());
                }
                (slot @ Some(_), None) => {
                    *slot = None;
                    resets.push(Reset { topic: topic.clone(), to: seat.interest, position: None });
                }
                (None, None) => {}
            }
            match (&mut seat.roster, presence) {
                (Some(roster), Some(mode)) => roster.mode = mode,
                (roster, _) => *roster = None,
            }
        }
        for topic in asks {
            self.ask_stream(&topic);
        }
        resets
    }

    /// Asks a topic's stream for what is to be known of it now, if anything is.
    fn ask_stream(&mut self, topic: &Topic) {
        let Some((kept, ask)) = self.seat(topic).and_then(|it| it.ask()) else { return };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let what = match ask {
            Ask::Top => What::Top(Done::new(move |top| {
                shared.to_home(&asked.clone(), Message::Heard(Heard::Opened(asked, top)));
            })),
            Ask::After(since) => What::After {
                since: since.into(),
                is_own: true,
                limit: REPLAY_PAGE,
                done: Done::new(move |found| {
                    shared.to_home(&asked.clone(), Message::Heard(Heard::Filled(asked, found)));
                }),
            },
        };
        self.order(Order::Read(Read { topic: topic.clone(), kept, what }));
    }

    /// What the broker between pods says or answers.
    pub fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Notice(Notice::Came(topic, arrived)) => self.came(&topic, arrived),
            Heard::Notice(Notice::Listening(topic, wish)) => self.listening(&topic, wish),
            Heard::Notice(Notice::Roster(topic, event)) => self.told(&topic, &event),
            Heard::Notice(Notice::PodLost(pod)) => self.pod_lost(&pod),
            Heard::Notice(Notice::Lost) => self.broker_lost(),
            Heard::Notice(Notice::Back { is_break }) => self.broker_back(is_break),
            Heard::Opened(topic, top) => self.opened_from_stream(&topic, top),
            Heard::Filled(topic, found) => self.filled(&topic, found),
            Heard::Recovered(attach, found) => self.recovered(*attach, found),
            Heard::Resumed(subscription, found) => self.resumed_from_stream(subscription, found),
        }
    }

    fn came(&mut self, topic: &Topic, arrived: Arrived) {
        let Arrived { publish, stored } = arrived;
        let now = self.now;
        let Some(seat) = self.seat(topic) else { return };
        let to = seat.interest;
        let position = match (&mut seat.follow, stored) {
            (Some(followed), Some((by, arrival))) if by == followed.kept.by => {
                match followed.follow.arrived(arrival) {
                    Step::Deliver => Some(arrival.position),
                    Step::Nothing => return,
                    Step::Fill => return self.ask_stream(topic),
                }
            }
            // A pod with other rules published it. They will be the same in a moment.
            _ => None,
        };
        let publication = Arc::new(Publication::new(publish, position, now));
        self.hand_on(&publication, to);
    }

    /// What is published to a topic comes here from now on.
    fn listening(&mut self, topic: &Topic, wish: u64) {
        let Some(seat) = self.seat(topic).filter(|it| it.wish == wish) else { return };
        seat.is_listening = true;
        let to = seat.interest;
        if mem::take(&mut seat.is_owed) {
            // Who began before that may have missed something.
            let reset = Reset { topic: topic.clone(), to, position: None };
            self.tell_workers(to, || Message::Reset(reset.clone()));
        }
        let Some(seat) = self.seat(topic) else { return };
        let waiting = mem::take(&mut seat.waiting);
        let is_asked_for = waiting.is_empty();
        for attach in waiting {
            self.begin(attach);
        }
        if is_asked_for {
            self.ask_stream(topic);
        }
    }

    fn opened_from_stream(&mut self, topic: &Topic, top: Result<Top, Lost>) {
        let Ok(top) = top else { return self.is_silent(topic) };
        let Some(seat) = self.seat(topic) else { return };
        let Some(followed) = seat.follow.as_mut() else { return };
        let filled = followed.follow.opened(top);
        let waiting = mem::take(&mut seat.waiting);
        self.carry_out(topic, filled);
        for attach in waiting {
            self.begin(attach);
        }
    }

    fn filled(&mut self, topic: &Topic, found: Result<Found, Lost>) {
        let Ok(found) = found else { return self.is_silent(topic) };
        let Some(followed) = self.seat(topic).and_then(|it| it.follow.as_mut()) else { return };
        let filled = followed.follow.found(found);
        self.carry_out(topic, filled);
    }

    fn carry_out(&mut self, topic: &Topic, filled: Filled) {
        let Filled { begun, lost, deliver, asks } = filled;
        let Some(to) = self.seat(topic).map(|it| it.interest) else { return };
        if let Some(position) = begun {
            let reset = Reset { topic: topic.clone(), to, position: Some(position) };
            self.tell_workers(to, || Message::Reset(reset.clone()));
        }
        if let Some(position) = lost {
            self.shared.metrics.broker_gaps.inc();
            let gap = Reset { topic: topic.clone(), to, position: Some(position) };
            self.tell_workers(to, || Message::Gap(gap.clone()));
        }
        for publication in &deliver {
            self.hand_on(publication, to);
        }
        if asks {
            self.ask_stream(topic);
        }
    }

    fn tell_workers(&self, to: WorkerSet, message: impl Fn() -> Message) {
        for worker in to.iter() {
            self.shared.send(worker, message());
        }
    }

    /// A stream did not answer: it is asked again, and who waits to begin may try again.
    fn is_silent(&mut self, topic: &Topic) {
        let until = self.now + ASK_AGAIN;
        let Some(seats) = self.seats() else { return };
        if seats.silent.is_empty() {
            seats.silent_until = until;
        }
        let Some(seat) = seats.topics.get_mut(topic) else { return };
        let waiting = mem::take(&mut seat.waiting);
        seats.silent.push(topic.clone());
        for attach in waiting {
            self.cannot_begin(attach);
        }
    }

    /// Another pod tells who came to a channel or went.
    fn told(&mut self, topic: &Topic, event: &[u8]) {
        let now = self.now;
        let Some(told) = roster::decode(event) else { return };
        let Some(seats) = self.seats().filter(|it| *it.pod != *told.pod) else { return };
        let roster = seats.topics.get_mut(topic).and_then(|it| it.roster.as_mut());
        let Some(stir) = roster.map(|it| it.heard(now, &told.pod, told.count, told.news)) else {
            return;
        };
        let announcement = seats.follow_up(topic, stir, false);
        self.have_announced(announcement);
    }

    /// A pod is lost, and all that were there with it.
    fn pod_lost(&mut self, pod: &str) {
        let now = self.now;
        let Some(seats) = self.seats() else { return };
        let mut stirs = Vec::new();
        for (topic, seat) in &mut seats.topics {
            if let Some(roster) = seat.roster.as_mut() {
                stirs.push((topic.clone(), roster.lost(now, pod)));
            }
        }
        for (topic, stir) in stirs {
            let announcement = self.seats().and_then(|it| it.follow_up(&topic, stir, false));
            self.have_announced(announcement);
        }
    }

    /// The broker is lost: nobody can begin, and nothing comes.
    fn broker_lost(&mut self) {
        let Some(seats) = self.seats() else { return };
        let mut waiting = Vec::new();
        for seat in seats.topics.values_mut() {
            if let Some(followed) = &mut seat.follow {
                followed.follow.lost();
            }
            waiting.append(&mut seat.waiting);
        }
        seats.silent.clear();
        for attach in waiting {
            if self.settings.kept(&attach.subscription.topic).is_some() {
                self.cannot_begin(attach);
            } else {
                self.begin(attach);
            }
        }
    }

    /// The broker is back: what may have been missed is read, or told to be missing.
    fn broker_back(&mut self, is_break: bool) {
        let settings = Arc::clone(&self.settings);
        let Some(seats) = self.seats() else { return };
        let mut topics = Vec::new();
        for (topic, seat) in &mut seats.topics {
            if let Some(followed) = &mut seat.follow {
                followed.follow.back();
                topics.push(topic.clone());
            }
        }
        for topic in topics {
            self.ask_stream(&topic);
        }
        if is_break {
            self.tell_of_a_break(|topic| settings.history(topic).is_none());
        }
        // Replays whose question was lost with the broker.
        self.resume_again();
    }

    /// Something that was sent to this home was lost: everything is asked for again.
    pub fn follow_again(&mut self) {
        let Some(seats) = self.seats() else { return };
        let mut unheard = Vec::new();
        let mut topics = Vec::new();
        for (topic, seat) in &mut seats.topics {
            if seat.interest.is_empty() {
                continue;
            }
            if !seat.is_listening {
                unheard.push((topic.clone(), seat.wish));
            }
            if let Some(followed) = &mut seat.follow {
                followed.follow.lost();
                if seats.link.is_connected() {
                    followed.follow.back();
                }
                topics.push(topic.clone());
            }
        }
        for (topic, wish) in unheard {
            seats.link.want(&topic, Some(wish));
        }
        for topic in topics {
            self.ask_stream(&topic);
        }
    }

    /// Does what is due: tells who left, and asks streams again that did not answer.
    pub fn tend_seats(&mut self) {
        let now = self.now;
        while let Some(seats) = self.seats()
            && let Some(Reverse((_, topic, matter))) = seats.pop_matter(now)
        {
            let roster = seats.topics.get_mut(&topic).and_then(|it| it.roster.as_mut());
            let Some(stir) = roster.map(|it| it.look(now, &matter)) else { continue };
            let announcement = seats.follow_up(&topic, stir, true);
            seats.settle(&topic);
            self.have_announced(announcement);
        }
        let Some(seats) = self.seats() else { return };
        if !seats.silent.is_empty() && seats.silent_until <= now {
            for topic in mem::take(&mut seats.silent) {
                self.ask_stream(&topic);
            }
        }
    }

    /// What a reply or a part of a replay holds at most, in bytes.
    pub fn page_bytes_max(&self) -> usize {
        PAGE_BYTES_MAX.min(self.settings.bounds.bytes_max / 2)
    }
}

impl Seats {
    fn pop_matter(&mut self, now: Duration) -> Option<Reverse<(Duration, Topic, Matter)>> {
        let Reverse((at, ..)) = self.matters.peek()?;
        if *at <= now { self.matters.pop() } else { None }
    }
}

/// What a stream had, as a page of a topic's history.
fn page(found: Found, since: Option<ClientPosition>) -> Result<HistoryPage, HistoryError> {
    let Found { top, messages, is_complete, more } = found;
    let top = top.position;
    if since.is_some_and(|it| !is_of(it, top.epoch, u64::MAX)) {
        return Err(HistoryError::EpochChanged);
    }
    let first = messages.first().and_then(|it| it.position);
    let lost = first.map_or(top.offset, |it| it.offset - 1);
    let gap = (!is_complete).then_some(Position { offset: lost, ..top });
    Ok(HistoryPage { top, messages, more, gap })
}
