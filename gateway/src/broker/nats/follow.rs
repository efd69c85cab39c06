//! One topic with history as this pod follows it: what comes live, and how a hole in it is found and
//! filled. Pure.
//!
//! NATS hands on what is published at most once. What the stream republishes says the place of the
//! publication and of the one before it in the same topic, so a hole shows with the next
//! publication. It is filled from the stream; where the stream no longer has it, clients are told by
//! a `gap`. Subscribers get publications in the order of their places, each once.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::publication::Publication,
    protocol::position::{ClientPosition, Epoch, Position},
};

/// How long a stream keeps what is published at least: as long as it knows keys.
pub const STORED_AGE_MIN: Duration = Duration::from_mins(2);

/// Reads that may show less than what came live, before that is believed to be lost.
const TRIES_MAX: u8 = 3;

/// What came live of a topic with history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its place.
    pub position: Position,
    /// The place of the one before it that was stored when it came; 0 where none was.
    pub previous: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub stamp_ns: u64,
}

/// Where a topic stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// The newest publication, or the newest of the whole stream where none is stored.
    pub position: Position,
    /// The newest publication that is stored; 0 where none is.
    pub stored: u64,
    /// When that was true, in nanoseconds since 1970.
    pub stamp_ns: u64,
}

/// What a stream has of a topic behind a position.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where the topic stands.
    pub top: Top,
    /// The first of what is stored behind the position, ascending; nothing where the position is of
    /// another life of the stream.
    pub messages: Vec<Arc<Publication>>,
    /// Whether nothing between the position and `messages` can have been removed.
    pub is_complete: bool,
    /// Whether there is more behind `messages`.
    pub more: bool,
}

/// What the stream is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Where the topic stands.
    Top,
    /// What is behind a position.
    After(Position),
}

/// What becomes of something that came live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next one.
    Deliver,
    /// It was there already, or comes with what was asked for.
    Nothing,
    /// Something is missing before it: [`Follow::ask`] says what to ask for.
    Fill,
}

/// What follows from what the stream had, in this order.
#[derive(Debug, Default)]
pub struct Filled {
    /// The order began anew at this position: subscribers are told.
    pub begun: Option<Position>,
    /// What is at this position and before it, and was not delivered, is lost: subscribers are told.
    pub lost: Option<Position>,
    /// For everybody who listens.
    pub deliver: Vec<Arc<Publication>>,
    /// Something else is to be asked for.
    pub asks: bool,
}

/// A topic with history.
///
/// A question has a number, which its answer brings back: only the answer to the last one counts, since
/// one to an earlier question may say what was true before the last thing that is known.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The longest time for which the stream keeps anything.
    stored_age: Duration,
    /// The question that is not answered yet.
    asked: Option<u64>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Nobody knows yet where the topic stands. Whether subscribers are told when somebody does.
    Opening { first: Option<Arrival>, seen: u64, tells: bool },
    /// Everything up to this place was delivered, and what comes next is.
    Live(Place),
    /// Something behind this place is missing.
    Filling { place: Place, seen: u64, tries: u8 },
    /// There is no broker.
    Away { place: Option<Place>, tells: bool },
}

/// How far a topic was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: Position,
    /// The last publication of the topic at or before `at`, 0 where none was stored.
    stored: u64,
    stamp_ns: u64,
}

impl Follow {
    /// A topic of which nothing is known. `tells`: subscribers are here that have to be told when
    /// it is.
    pub fn new(max_age: Duration, tells: bool) -> Self {
        Self {
            stored_age: max_age.max(STORED_AGE_MIN),
            asked: None,
            state: State::Opening { first: None, seen: 0, tells },
        }
    }

    /// The rule keeps publications for another time now.
    pub fn set_max_age(&mut self, max_age: Duration) {
        self.stored_age = max_age.max(STORED_AGE_MIN);
    }

    /// Up to where everything was delivered, which is where a new subscriber starts; `None` before
    /// anybody knows.
    pub fn position(&self) -> Option<Position> {
        match &self.state {
            State::Live(place) | State::Filling { place, .. } => Some(place.at),
            State::Away { place, .. } => place.map(|it| it.at),
            State::Opening { .. } => None,
        }
    }

    /// What the stream is to be asked now, as the question of this number: no other topic and no other
    /// time has the same.
    pub fn ask(&mut self, number: u64) -> Option<Ask> {
        let ask = match &self.state {
            State::Opening { .. } => Some(Ask::Top),
            State::Filling { place, .. } => Some(Ask::After(place.at)),
            State::Live(_) | State::Away { .. } => None,
        };
        self.asked = ask.map(|_| number);
        ask
    }

    /// Whether the stream was asked, and has not answered.
    pub const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes note of an answer to a question; whether it is the last one.
    pub fn is_answered(&mut self, number: u64) -> bool {
        self.asked.take_if(|it| *it == number).is_some()
    }

    /// Something came live.
    pub fn arrived(&mut self, arrival: Arrival) -> Step {
        let Arrival { position, previous, stamp_ns } = arrival;
        match &mut self.state {
            State::Opening { first, seen, .. } => {
                first.get_or_insert(arrival);
                *seen = position.offset.max(*seen);
                Step::Nothing
            }
            State::Filling { seen, .. } => {
                *seen = position.offset.max(*seen);
                Step::Nothing
            }
            State::Away { .. } => Step::Nothing,
            State::Live(place) => {
                let is_same = position.epoch == place.at.epoch;
                if is_same && position.offset <= place.at.offset && stamp_ns <= place.stamp_ns {
                    return Step::Nothing;
                }
                let is_next = is_same && position.offset > place.at.offset;
                if is_next && place.is_followed_by(previous, stamp_ns, self.stored_age) {
                    *place = Place { at: position, stored: position.offset, stamp_ns };
                    return Step::Deliver;
                }
                // One that is new and has an old place is of another life of the stream.
                let seen = if is_next { position.offset } else { 0 };
                self.state = State::Filling { place: *place, seen, tries: 0 };
                Step::Fill
            }
        }
    }

    /// The stream says where the topic stands.
    pub fn opened(&mut self, top: Top) -> Filled {
        let State::Opening { first, seen, tells } = self.state else { return Filled::default() };
        let mut place = Place { at: top.position, stored: top.stored, stamp_ns: top.stamp_ns };
        if let Some(first) = first.filter(|it| tells && it.position.epoch == place.at.epoch)
            && first.position.offset <= place.at.offset
        {
            // Subscribers were here when it came, so it is for them.
            let at = Position { offset: first.position.offset - 1, ..place.at };
            place = Place { at, stored: first.previous, stamp_ns: 0 };
        }
        let is_behind = seen > place.at.offset;
        self.state =
            if is_behind { State::Filling { place, seen, tries: 0 } } else { State::Live(place) };
        Filled { begun: tells.then_some(place.at), asks: is_behind, ..Filled::default() }
    }

    /// The stream says what is behind a position.
    pub fn found(&mut self, found: Found) -> Filled {
        let State::Filling { mut place, seen, tries } = self.state else {
            return Filled::default();
        };
        let Found { top, messages, is_complete, more } = found;
        let mut filled = Filled::default();
        if top.position.epoch != place.at.epoch {
            // All of the new life is to come.
            let at = Position { epoch: top.position.epoch, offset: 0 };
            let place = Place { at, stored: 0, stamp_ns: 0 };
            self.state = State::Filling { place, seen: 0, tries: 0 };
            return Filled { begun: Some(at), asks: true, ..filled };
        }
        filled.deliver = messages;
        filled.deliver.retain(|it| it.position.is_some_and(|it| it.offset > place.at.offset));
        let first = filled.deliver.first().and_then(|it| it.position);
        if !is_complete {
            let lost = first.map_or(top.position.offset, |first| first.offset - 1);
            if lost > place.at.offset {
                let at = Position { offset: lost, ..place.at };
                filled.lost = Some(at);
                place = Place { at, ..place };
            }
        }
        let has_come_on = filled.lost.is_some() || first.is_some();
        if let Some(last) = filled.deliver.last().and_then(|it| it.position) {
            place = Place { at: last, stored: last.offset, stamp_ns: top.stamp_ns };
        }
        let is_behind = more || seen.max(top.stored) > place.at.offset;
        let tries = if has_come_on { 0 } else { tries + 1 };
        if is_behind && tries >= TRIES_MAX {
            // It came live, and the stream does not have it.
            let at = Position { offset: seen.max(top.stored).max(place.at.offset), ..place.at };
            filled.lost = Some(at);
            self.state = State::Live(Place { at, stored: at.offset, stamp_ns: top.stamp_ns });
        } else if is_behind {
            self.state = State::Filling { place, seen, tries };
            filled.asks = true;
        } else {
            let stamp_ns = top.stamp_ns.max(place.stamp_ns);
            // Nothing behind the place is stored, so what is stored is at the place or before it.
            self.state = State::Live(Place { stored: top.stored, stamp_ns, ..place });
        }
        filled
    }

    /// The broker is lost.
    pub fn lost(&mut self) {
        self.asked = None;
        self.state = match &self.state {
            State::Opening { tells, .. } => State::Away { place: None, tells: *tells },
            State::Live(place) | State::Filling { place, .. } => {
                State::Away { place: Some(*place), tells: false }
            }
            State::Away { place, tells } => State::Away { place: *place, tells: *tells },
        };
    }

    /// The broker is back; [`ask`](Self::ask) says what to ask for.
    pub fn back(&mut self) {
        if let State::Away { place, tells } = self.state {
            self.state = match place {
                Some(place) => State::Filling { place, seen: 0, tries: 0 },
                None => State::Opening { first: None, seen: 0, tells },
            };
        }
    }

    /// As if the broker had been lost and were back.
    pub fn begin_anew(&mut self) {
        self.lost();
        self.back();
    }

    /// Something may have been published that does not come: whether the stream is to be asked, which is
    /// not so where it is asked already.
    pub fn look(&mut self) -> bool {
        let State::Live(place) = self.state else { return false };
        self.state = State::Filling { place, seen: 0, tries: 0 };
        true
    }

    /// Somebody is subscribed without a position: to be told when there is one.
    pub fn owes(&mut self) {
        if let State::Opening { tells, .. } | State::Away { place: None, tells } = &mut self.state {
            *tells = true;
        }
    }
}

impl Place {
    /// Whether nothing of the topic was between this place and a publication that has `previous`
    /// before it.
    fn is_followed_by(&self, previous: u64, stamp_ns: u64, stored_age: Duration) -> bool {
        if self.stored == 0 {
            return previous <= self.at.offset;
        }
        // What was at this place may have grown too old meanwhile, and with it nothing but what is older.
        let age = Duration::from_nanos(stamp_ns.saturating_sub(self.stamp_ns));
        previous == self.stored || (previous == 0 && age >= stored_age)
    }
}

/// Whether a client can have been at a position, as far as the stream's name and length tell.
pub fn is_of(client: ClientPosition, epoch: Epoch, top: u64) -> bool {
    client.epoch == Some(epoch) && client.offset <= top
}

#[cfg(test)]
mod tests;
