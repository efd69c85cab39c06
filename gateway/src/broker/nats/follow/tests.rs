//! A topic is followed through losses, against a stream that is a list.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{
    broker::publication::Publish,
    protocol::{channel::ChannelName, topic::Topic},
};

const AGE: Duration = Duration::from_mins(5);

fn publication(epoch: u64, offset: u64) -> Arc<Publication> {
    let publish = Publish {
        topic: Topic::channel(ChannelName::parse("room").unwrap()),
        data: "1".into(),
        user: None,
        key: None,
        exclude: None,
    };
    let position = Position { epoch: Epoch(epoch), offset };
    Arc::new(Publication::new(publish, Some(position), Duration::ZERO))
}

/// What a stream has of one topic: every place it ever gave out, and how many of the last it keeps.
struct Model {
    epoch: u64,
    /// The places of the topic; other topics have those between.
    places: Vec<u64>,
    last: u64,
    keeps: usize,
}

impl Model {
    fn stored(&self) -> &[u64] {
        &self.places[self.places.len().saturating_sub(self.keeps)..]
    }

    fn publish(&mut self, skips: u64) -> Arrival {
        let previous = self.stored().last().copied().unwrap_or_default();
        self.last += 1 + skips;
        self.places.push(self.last);
        Arrival {
            position: Position { epoch: Epoch(self.epoch), offset: self.last },
            previous,
            stamp_ns: self.last,
        }
    }

    fn top(&self) -> Top {
        let stored = self.stored().last().copied().unwrap_or_default();
        let offset = if stored > 0 { stored } else { self.last };
        let position = Position { epoch: Epoch(self.epoch), offset };
        Top { position, stored, stamp_ns: self.last }
    }

    fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Top => Answer::Top(self.top()),
            Ask::After(since) => Answer::Found(self.after(since, 3)),
        }
    }

    fn after(&self, since: Position, limit: usize) -> Found {
        let top = self.top();
        if since.epoch.0 != self.epoch {
            return Found { top, messages: Vec::new(), is_complete: false, more: false };
        }
        let behind: Vec<_> = self.stored().iter().filter(|it| **it > since.offset).collect();
        let all = self.places.iter().filter(|it| **it > since.offset).count();
        let messages: Vec<_> =
            behind.iter().take(limit).map(|it| publication(self.epoch, **it)).collect();
        let more = messages.len() < behind.len();
        Found { top, messages, is_complete: all == behind.len(), more }
    }
}

/// What a subscriber was told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Message(u64, u64),
    /// What is at this place and before it may be lost.
    Lost(u64, u64),
    Begun(u64, u64),
}

struct Subscriber {
    follow: Follow,
    told: Vec<Told>,
    /// Questions under way, in the order in which they are answered.
    questions: VecDeque<Question>,
    asked: u64,
}

struct Question {
    number: u64,
    ask: Ask,
    /// The answer that was true when it was asked.
    early: Answer,
}

enum Answer {
    Top(Top),
    Found(Found),
}

impl Subscriber {
    fn new() -> Self {
        let follow = Follow::new(AGE, false);
        Self { follow, told: Vec::new(), questions: VecDeque::new(), asked: 0 }
    }

    fn came(&mut self, model: &Model, arrival: Arrival) {
        match self.follow.arrived(arrival) {
            Step::Nothing => {}
            Step::Fill => self.ask(model),
            Step::Deliver => {
                let Position { epoch, offset } = arrival.position;
                self.told.push(Told::Message(epoch.0, offset));
            }
        }
    }

    fn breaks(&mut self, model: &Model) {
        self.follow.begin_anew();
        self.ask(model);
    }

    fn ask(&mut self, model: &Model) {
        self.asked += 1;
        if let Some(ask) = self.follow.ask(self.asked) {
            let question = Question { number: self.asked, ask, early: model.answer(ask) };
            self.questions.push_back(question);
        }
    }

    /// Has the oldest question answered by what was true when it was asked, or is true now.
    fn answer(&mut self, model: &Model, is_early: bool) {
        let Some(Question { number, ask, early }) = self.questions.pop_front() else { return };
        if !self.follow.is_answered(number) {
            return;
        }
        let filled = match if is_early { early } else { model.answer(ask) } {
            Answer::Top(top) => self.follow.opened(top),
            Answer::Found(found) => self.follow.found(found),
        };
        let Filled { begun, lost, deliver, asks } = filled;
        self.told.extend(begun.map(|it| Told::Begun(it.epoch.0, it.offset)));
        self.told.extend(lost.map(|it| Told::Lost(it.epoch.0, it.offset)));
        self.told.extend(deliver.iter().map(|it| {
            let Position { epoch, offset } = it.position.unwrap();
            Told::Message(epoch.0, offset)
        }));
        if asks {
            self.ask(model);
        }
    }

    /// Has every question answered until there is none.
    fn settle(&mut self, model: &Model) {
        if !self.follow.is_asking() {
            self.ask(model);
        }
        for _ in 0..200 {
            if self.questions.is_empty() {
                return;
            }
            self.answer(model, false);
        }
        panic!("it asks without end: {:?}", self.follow);
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Published, after so many of other topics; whether it arrives.
    Publish(u64, bool),
    /// An arrival comes once more.
    Again,
    /// The broker is lost, and back.
    Break,
    /// What does not come is looked for.
    Look,
    /// A question is answered; whether by what was true when it was asked.
    Answer(bool),
    /// The stream is made anew.
    Anew,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u64..3, prop::bool::weighted(0.7)).prop_map(|(skips, comes)| Event::Publish(skips, comes)),
        1 => Just(Event::Again),
        1 => Just(Event::Break),
        1 => Just(Event::Look),
        4 => any::<bool>().prop_map(Event::Answer),
        1 => Just(Event::Anew),
    ]
}

proptest! {
    #[test]
    fn everything_is_delivered_once_in_order_or_told_to_be_lost(
        events in prop::collection::vec(event(), 0..60),
        keeps in 1_usize..6,
    ) {
        let mut model = Model { epoch: 1, places: Vec::new(), last: 0, keeps };
        let mut subscriber = Subscriber::new();
        subscriber.settle(&model);
        let mut published = Vec::new();
        let mut last = None;
        for event in events {
            match event {
                Event::Publish(skips, comes) => {
                    let arrival = model.publish(skips);
                    published.push((model.epoch, arrival.position.offset));
                    last = Some(arrival);
                    if comes {
                        subscriber.came(&model, arrival);
                    }
                }
                Event::Again => last.into_iter().for_each(|it| subscriber.came(&model, it)),
                Event::Break => subscriber.breaks(&model),
                Event::Look => {
                    if subscriber.follow.look() {
                        subscriber.ask(&model);
                    }
                }
                Event::Answer(is_early) => subscriber.answer(&model, is_early),
                Event::Anew => {
                    model = Model { epoch: model.epoch + 1, places: Vec::new(), last: 0, keeps };
                    last = None;
                    // Whoever finds it out says so.
                    subscriber.breaks(&model);
                }
            }
        }
        // The next one that comes shows what is missing.
        let arrival = model.publish(0);
        published.push((model.epoch, arrival.position.offset));
        subscriber.came(&model, arrival);
        subscriber.settle(&model);

        let told = &subscriber.told;
        let messages: Vec<_> = told
            .iter()
            .filter_map(|it| if let Told::Message(epoch, offset) = it { Some((*epoch, *offset)) } else { None })
            .collect();
        let mut sorted = messages.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(&messages, &sorted, "{:?}", told);
        for (epoch, offset) in &published {
            let is_covered = messages.contains(&(*epoch, *offset))
                || told.iter().any(|it| match it {
                    Told::Lost(of, until) => of == epoch && until >= offset,
                    // A new life tells that the old one is over.
                    Told::Begun(of, _) => of > epoch,
                    Told::Message(..) => false,
                });
            prop_assert!(is_covered, "{:?} of {:?}: {:?}", (epoch, offset), published, told);
        }
    }
}

#[test]
fn what_is_stored_fills_a_hole_without_a_gap() {
    let mut model = Model { epoch: 1, places: Vec::new(), last: 0, keeps: 10 };
    let mut subscriber = Subscriber::new();
    subscriber.settle(&model);
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    model.publish(0);
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    subscriber.settle(&model);

    assert_eq!(subscriber.told, [Told::Message(1, 1), Told::Message(1, 2), Told::Message(1, 3)]);
}

#[test]
fn what_is_no_longer_stored_is_told() {
    let mut model = Model { epoch: 1, places: Vec::new(), last: 0, keeps: 2 };
    let mut subscriber = Subscriber::new();
    subscriber.settle(&model);
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    for _ in 0..4 {
        model.publish(0);
    }
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    subscriber.settle(&model);

    assert_eq!(
        subscriber.told,
        [Told::Message(1, 1), Told::Lost(1, 4), Told::Message(1, 5), Told::Message(1, 6)]
    );
}

#[test]
fn what_came_before_the_place_was_known_is_for_those_who_were_here() {
    let mut model = Model { epoch: 1, places: Vec::new(), last: 3, keeps: 10 };
    let mut subscriber = Subscriber::new();
    subscriber.follow.owes();
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    let arrival = model.publish(0);
    subscriber.came(&model, arrival);
    subscriber.settle(&model);

    assert_eq!(subscriber.told, [Told::Begun(1, 3), Told::Message(1, 4), Told::Message(1, 5)]);
}

#[test]
fn what_came_and_is_nowhere_stored_is_told() {
    let model = Model { epoch: 1, places: vec![4], last: 4, keeps: 2 };
    let mut subscriber = Subscriber::new();
    subscriber.settle(&model);
    let position = Position { epoch: Epoch(1), offset: 9 };
    subscriber.came(&model, Arrival { position, previous: 8, stamp_ns: 9 });
    subscriber.settle(&model);

    assert_eq!(subscriber.told, [Told::Lost(1, 9)]);
}

#[test]
fn a_channel_whose_last_publication_grew_too_old_goes_on() {
    let mut follow = Follow::new(AGE, false);
    let position = Position { epoch: Epoch(1), offset: 4 };
    follow.opened(Top { position, stored: 4, stamp_ns: 0 });
    let next = Position { offset: 9, ..position };
    let after = |age: Duration| u64::try_from(age.as_nanos()).unwrap();

    let early = Arrival { position: next, previous: 0, stamp_ns: after(AGE) - 1 };
    assert_eq!(follow.clone().arrived(early), Step::Fill);
    let late = Arrival { stamp_ns: after(AGE), ..early };
    assert_eq!(follow.arrived(late), Step::Deliver);
}
