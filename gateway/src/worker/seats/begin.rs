//! How a subscription to a topic that pods share begins, and how it ends.

use std::sync::Arc;

use super::{Followed, Worker};
use crate::{
    broker::{
        Attached, ClientPosition, Position,
        nats::{
            follow::{Follow, Found},
            link::{Done, Lost, Order, Read, What},
        },
    },
    protocol::topic::Topic,
    worker::{
        home::{REPLAY_PAGE, fitting},
        message::{Attach, Heard, Message},
    },
};

impl Worker {
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
            seats.numbers += 1;
            seat.wish = seats.numbers;
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
        } else if is_connected && !seat.is_refused {
            seat.waiting.push(attach);
        } else {
            self.cannot_begin(attach);
        }
    }

    /// Begins a subscription whose topic comes here, or has it wait until its place is known.
    pub(super) fn begin(&mut self, attach: Attach) {
        let topic = attach.subscription.topic.clone();
        let Some(seats) = self.seats() else { return };
        let is_connected = seats.link.is_connected();
        let Some(seat) = seats.topics.get_mut(&topic) else { return };
        let Some(followed) = &seat.follow else {
            let attached = Attached::at(None, attach.recover.map(|_| false));
            return self.attached_from_home(attach, attached);
        };
        let Some(position) = followed.follow.position() else {
            if !is_connected {
                return self.cannot_begin(attach);
            }
            let is_asked = seat.is_asking();
            seat.waiting.push(attach);
            if !is_asked {
                self.ask_stream(&topic);
            }
            return;
        };
        let kept = followed.kept.clone();
        let at_top = |recovered| Attached::at(Some(position), recovered);
        match attach.recover {
            None => self.attached_from_home(attach, at_top(None)),
            Some(client) if client == ClientPosition::from(position) => {
                self.attached_from_home(attach, at_top(Some(true)));
            }
            Some(client) if client.epoch != Some(position.epoch) => {
                self.attached_from_home(attach, at_top(Some(false)));
            }
            // It may have been further on another pod: only the stream knows.
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
    pub(super) fn recovered(&mut self, attach: Attach, found: Result<Found, Lost>) {
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
            Attached::at(Some(position), Some(false))
        };
        self.attached_from_home(attach, attached);
    }

    pub(super) fn attached_from_home(&mut self, attach: Attach, attached: Attached) {
        let Attach { subscription, member, .. } = attach;
        let topic = subscription.topic.clone();
        let worker = subscription.connection.worker();
        self.shared.send(worker, Message::Attached(subscription, attached));
        if let Some((member, mode)) = member {
            self.seat_join(&topic, member, mode);
        }
    }

    /// A subscription cannot begin now; one that a session opens with begins without a place.
    pub(super) fn cannot_begin(&mut self, attach: Attach) {
        let topic = &attach.subscription.topic;
        if let Some(followed) = self.seat(topic).and_then(|it| it.follow.as_mut()) {
            followed.follow.owes();
        }
        let Attach { subscription, opens, member, .. } = attach;
        let topic = subscription.topic.clone();
        let worker = subscription.connection.worker();
        self.shared.send(worker, Message::Unattached(subscription));
        if let Some((member, mode)) = member.filter(|_| opens) {
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
            (seat.is_listening, seat.is_refused) = (false, false);
            seat.follow = None;
            seat.waiting.clear();
        }
        seats.settle(topic);
    }
}
