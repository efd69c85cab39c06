//! The homes of topics that pods share: what this pod follows of each of them.
//!
//! A topic still has one home in each pod, so that its publications stay in order. The home does not
//! order them itself: they come from the broker between pods, its own pod's among them. It says which
//! topics are wanted, fills holes from the streams, and answers subscribers from there.

mod begin;
mod members;
mod stored;
mod stream;

use std::{mem, sync::Arc, time::Duration};

use ahash::AHashSet;

use super::{
    life::{Broker, Worker},
    message::{Asker, Attach, Message},
};
use crate::{
    broker::{
        Announcement, Matters, Members, Position, Publish, Roster, Stir, Topics, WorkerSet,
        forget_topic,
        nats::{
            follow::{Ask, Follow},
            link::{Done, Kept, Link, Lost, Order},
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
    topics: Topics<Seat>,
    /// Channels that some worker is interested in.
    channels: usize,
    /// What rosters want to be looked at, and when.
    matters: Matters,
    /// Counts wishes and questions, so that the answer to an earlier one is not taken for one to the last.
    numbers: u64,
    /// Topics whose stream did not answer.
    silent: AHashSet<Topic>,
    silent_until: Duration,
}

#[derive(Debug, Default)]
struct Seat {
    interest: WorkerSet,
    /// Which wish of the link's it is.
    wish: u64,
    /// What is published comes here.
    is_listening: bool,
    /// NATS refuses it, as this wish was last tried.
    is_refused: bool,
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
            topics: Topics::default(),
            channels: 0,
            matters: Matters::default(),
            numbers: 0,
            silent: AHashSet::new(),
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
        let silent = (!self.silent.is_empty()).then_some(self.silent_until);
        [self.matters.due(), silent].into_iter().flatten().min()
    }

    /// Forgets a topic that nobody listens to and nothing is to be told of.
    fn settle(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(Seat::is_idle) {
            forget_topic(&mut self.topics, topic);
        }
    }

    /// Carries out what a roster wants: what to tell here, once the other pods are told.
    fn follow_up(&mut self, topic: &Topic, stir: Stir, is_own: bool) -> Option<Announcement> {
        let news = self.matters.follow(topic, stir)?;
        let seat = self.topics.get(topic)?;
        if is_own {
            let count = seat.roster.as_ref().map_or(0, |it| it.count());
            let event = roster::encode(&self.pod, count, &news);
            // Who is not told now finds out by asking.
            let _ = self.link.order(Order::Roster(topic.clone(), event.into()));
        }
        Announcement::of(&news, topic, seat.interest)
    }
}

impl Seat {
    fn position(&self) -> Option<Position> {
        self.follow.as_ref()?.follow.position()
    }

    fn is_idle(&self) -> bool {
        self.interest.is_empty() && self.roster.as_ref().is_none_or(|it| it.is_empty())
    }

    /// What its stream is to be asked, once what is published comes here, as the question of this number.
    fn ask(&mut self, number: u64) -> Option<(Kept, Ask)> {
        let followed = self.follow.as_mut().filter(|_| self.is_listening)?;
        Some((followed.kept.clone(), followed.follow.ask(number)?))
    }

    /// Whether its stream was asked, and has not answered.
    fn is_asking(&self) -> bool {
        self.follow.as_ref().is_some_and(|it| it.follow.is_asking())
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

    /// Does what is due: tells who left, and asks streams again that did not answer.
    pub fn tend_seats(&mut self) {
        let now = self.now;
        while let Some(seats) = self.seats()
            && let Some((topic, matter)) = seats.matters.pop(now)
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
                if self.seat(&topic).is_some_and(|it| !it.is_asking()) {
                    self.ask_stream(&topic);
                }
            }
        }
    }
}
