//! What the broker between pods says and answers, and what follows for a topic.

use std::{mem, sync::Arc};

use super::{ASK_AGAIN, Followed, Worker};
use crate::{
    broker::{
        Position, Publication, Reset, TopicRules, WorkerSet,
        nats::{
            follow::{Ask, Filled, Follow, Found, Step, Top},
            link::{Arrived, Done, Lost, Notice, Order, Read, What},
        },
    },
    protocol::topic::Topic,
    worker::{
        home::REPLAY_PAGE,
        message::{Heard, Message},
    },
};

impl Worker {
    /// What the broker between pods says or answers.
    pub fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Notice(Notice::Came(topic, arrived)) => self.came(&topic, arrived),
            Heard::Notice(Notice::Listening(topic, wish)) => self.listening(&topic, wish),
            Heard::Notice(Notice::Settled(topic, wish)) => self.settled(&topic, wish),
            Heard::Notice(Notice::Refused(topic, wish)) => self.refused(&topic, wish),
            Heard::Notice(Notice::Roster(topic, event)) => self.told(&topic, &event),
            Heard::Notice(Notice::PodLost(pod)) => self.pod_lost(&pod),
            Heard::Notice(Notice::Lost) => self.broker_lost(),
            Heard::Notice(Notice::Back { is_break }) => self.broker_back(is_break),
            Heard::Opened(topic, number, top) => self.opened_from_stream(&topic, number, top),
            Heard::Filled(topic, number, found) => self.filled(&topic, number, found),
            Heard::Recovered(attach, found) => self.recovered(*attach, found),
            Heard::Resumed(subscription, found) => self.resumed_from_stream(subscription, found),
        }
    }

    pub(super) fn came(&mut self, topic: &Topic, arrived: Arrived) {
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

    /// What is published to a topic comes here from now on; where that is said again, it did not meanwhile.
    pub(super) fn listening(&mut self, topic: &Topic, wish: u64) {
        let Some(seat) = self.seat(topic).filter(|it| it.wish == wish) else { return };
        let is_again = mem::replace(&mut seat.is_listening, true);
        seat.is_refused = false;
        match &mut seat.follow {
            Some(followed) if is_again => followed.follow.begin_anew(),
            Some(followed) => followed.follow.back(),
            None => seat.is_owed |= is_again,
        }
        let to = seat.interest;
        if mem::take(&mut seat.is_owed) {
            // Who began before that may have missed something.
            self.tell_all(topic, to, None, Message::Reset);
        }
        let Some(seat) = self.seat(topic) else { return };
        for attach in mem::take(&mut seat.waiting) {
            self.begin(attach);
        }
        if self.seat(topic).is_some_and(|it| !it.is_asking()) {
            self.ask_stream(topic);
        }
    }

    /// What other servers did not send here before they knew of us is asked for.
    fn settled(&mut self, topic: &Topic, wish: u64) {
        let Some(seat) = self.seat(topic).filter(|it| it.wish == wish && it.is_listening) else {
            return;
        };
        if let Some(followed) = &mut seat.follow
            && followed.follow.look()
        {
            self.ask_stream(topic);
        }
    }

    /// What is published does not come here: who waits cannot begin, and who stays is told now, and again
    /// when it comes.
    fn refused(&mut self, topic: &Topic, wish: u64) {
        let Some(seat) = self.seat(topic).filter(|it| it.wish == wish) else { return };
        match &mut seat.follow {
            Some(followed) => followed.follow.lost(),
            None => seat.is_owed = true,
        }
        let (to, waiting) = (seat.interest, mem::take(&mut seat.waiting));
        let was_told = mem::replace(&mut seat.is_refused, true);
        seat.is_listening = false;
        if !was_told {
            self.tell_all(topic, to, None, Message::Deaf);
        }
        for attach in waiting {
            self.cannot_begin(attach);
        }
    }

    pub(super) fn opened_from_stream(
        &mut self,
        topic: &Topic,
        number: u64,
        top: Result<Top, Lost>,
    ) {
        if !self.is_answered(topic, number) {
            return;
        }
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

    pub(super) fn filled(&mut self, topic: &Topic, number: u64, found: Result<Found, Lost>) {
        if !self.is_answered(topic, number) {
            return;
        }
        let Ok(found) = found else { return self.is_silent(topic) };
        let Some(followed) = self.seat(topic).and_then(|it| it.follow.as_mut()) else { return };
        let filled = followed.follow.found(found);
        self.carry_out(topic, filled);
    }

    /// Takes note of a stream's answer; whether it is to the last question.
    fn is_answered(&mut self, topic: &Topic, number: u64) -> bool {
        let followed = self.seat(topic).and_then(|it| it.follow.as_mut());
        followed.is_some_and(|it| it.follow.is_answered(number))
    }

    /// Tells workers what has become of a topic.
    fn tell_all(
        &self,
        topic: &Topic,
        to: WorkerSet,
        position: Option<Position>,
        told: fn(Reset) -> Message,
    ) {
        self.tell_workers(to, || told(Reset { topic: topic.clone(), to, position }));
    }

    pub(super) fn carry_out(&mut self, topic: &Topic, filled: Filled) {
        let Filled { begun, lost, deliver, asks } = filled;
        let Some(to) = self.seat(topic).map(|it| it.interest) else { return };
        if let Some(position) = begun {
            self.tell_all(topic, to, Some(position), Message::Reset);
        }
        if let Some(position) = lost {
            self.shared.metrics.broker_gaps.inc();
            self.tell_all(topic, to, Some(position), Message::Gap);
        }
        for publication in &deliver {
            self.hand_on(publication, to);
        }
        if asks {
            self.ask_stream(topic);
        }
    }

    /// A stream did not answer: it is asked again, and who waits to begin may try again.
    pub(super) fn is_silent(&mut self, topic: &Topic) {
        let until = self.now + ASK_AGAIN;
        let Some(seats) = self.seats() else { return };
        if seats.silent.is_empty() {
            seats.silent_until = until;
        }
        let Some(seat) = seats.topics.get_mut(topic) else { return };
        let waiting = mem::take(&mut seat.waiting);
        seats.silent.insert(topic.clone());
        for attach in waiting {
            self.cannot_begin(attach);
        }
    }

    /// The broker is lost: nobody can begin, and nothing comes.
    pub(super) fn broker_lost(&mut self) {
        let Some(seats) = self.seats() else { return };
        let mut waiting = Vec::new();
        for seat in seats.topics.values_mut() {
            if let Some(followed) = &mut seat.follow {
                followed.follow.lost();
            }
            // Who begins without history before what is published comes here is told when it does.
            seat.is_owed |= !seat.is_listening && seat.follow.is_none() && !seat.waiting.is_empty();
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
    pub(super) fn broker_back(&mut self, is_break: bool) {
        let settings = Arc::clone(&self.settings);
        let Some(seats) = self.seats() else { return };
        let mut topics = Vec::new();
        for (topic, seat) in &mut seats.topics {
            if let Some(followed) = &mut seat.follow {
                followed.follow.begin_anew();
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

    /// Applies other rules to every topic, and says whose history is another now.
    pub fn seat_rules(&mut self) -> Vec<Reset> {
        let settings = Arc::clone(&self.settings);
        let Some(seats) = self.seats() else { return Vec::new() };
        let mut resets = Vec::new();
        let mut asks = Vec::new();
        let mut waiting = Vec::new();
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
                    if seat.is_listening {
                        // Nobody will say where it stands.
                        waiting.append(&mut seat.waiting);
                    }
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
        for attach in waiting {
            self.begin(attach);
        }
        resets
    }

    /// Asks a topic's stream for what is to be known of it now, if anything is.
    pub(super) fn ask_stream(&mut self, topic: &Topic) {
        let Some(seats) = self.seats() else { return };
        seats.numbers += 1;
        let number = seats.numbers;
        let Some((kept, ask)) = seats.topics.get_mut(topic).and_then(|it| it.ask(number)) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let asked = topic.clone();
        let what = match ask {
            Ask::Top => What::Top(Done::new(move |top| {
                let heard = Heard::Opened(asked.clone(), number, top);
                shared.to_home(&asked, Message::Heard(heard));
            })),
            Ask::After(since) => What::After {
                since: since.into(),
                is_own: true,
                limit: REPLAY_PAGE,
                done: Done::new(move |found| {
                    let heard = Heard::Filled(asked.clone(), number, found);
                    shared.to_home(&asked, Message::Heard(heard));
                }),
            },
        };
        self.order(Order::Read(Read { topic: topic.clone(), kept, what }));
    }
}
