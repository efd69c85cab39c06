//! Who is in a channel that pods share: told to all of them, and asked of all of them.

use std::sync::Arc;

use super::Worker;
use crate::{
    broker::{
        Member, Members, PresenceMode, Roster,
        nats::{
            link::{Done, Lost, Order},
            roster,
        },
    },
    protocol::topic::Topic,
    worker::message::{Answered, Asker, IsComplete, Message},
};

impl Worker {
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

    /// Another pod tells who came to a channel or went.
    pub(super) fn told(&mut self, topic: &Topic, event: &[u8]) {
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
    pub(super) fn pod_lost(&mut self, pod: &str) {
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
}
