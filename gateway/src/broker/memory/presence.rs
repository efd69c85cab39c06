//! Presence: comings and goings, and what is told of them.

use std::time::Duration;

use super::Partition;
use crate::{
    broker::{
        answer::Announcement,
        roster::{Matter, Member, Members, PresenceMode, Roster, Stir},
    },
    protocol::topic::Topic,
};

impl Partition {
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
        self.settle(now, topic);
        announcement
    }

    /// Who is subscribed, where the topic has presence.
    pub fn presence(&self, topic: &Topic) -> Members {
        let roster = self.topics.get(topic).and_then(|state| state.roster.as_ref());
        roster.map(|roster| roster.members()).unwrap_or_default()
    }

    /// Carries out what a roster wants.
    fn follow(&mut self, topic: &Topic, stir: Stir) -> Option<Announcement> {
        let news = self.matters.follow(topic, stir)?;
        Announcement::of(&news, topic, self.subscribers(topic))
    }

    /// Looks at what a roster wanted to be looked at now.
    pub(super) fn look(
        &mut self,
        now: Duration,
        topic: &Topic,
        matter: &Matter,
    ) -> Option<Announcement> {
        let roster = self.topics.get_mut(topic)?.roster.as_mut()?;
        let stir = roster.look(now, matter);
        let announcement = self.follow(topic, stir);
        self.settle(now, topic);
        announcement
    }
}
