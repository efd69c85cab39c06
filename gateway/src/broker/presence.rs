//! Who is in a channel, and what of it is announced.

use std::{collections::VecDeque, sync::Arc};

use ahash::AHashMap;

use super::publication::ConnectionKey;
use crate::protocol::{encoded::Encoded, reply, topic::Topic};

/// A `leave` is announced so long after the connection went, in milliseconds, so that a client
/// that moves is seen joining before it is seen leaving.
const LEAVE_DELAY_MS: u64 = 10_000;

/// Above so many members, changes are summed up; and an answer names so many at most.
pub const MEMBERS_MAX: usize = 1_000;

/// How often changes are summed up, in milliseconds.
const SUMMARY_MS: u64 = 1_000;

/// A connection that is in a channel.
#[derive(Clone, Debug)]
pub struct Member {
    /// The connection.
    pub connection: ConnectionKey,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// JSON from its token.
    pub info: Option<Arc<str>>,
}

impl Member {
    /// Hands the member to a writer of envelopes.
    pub fn with_present<T>(&self, write: impl FnOnce(reply::Present<'_>) -> T) -> T {
        let connection = self.connection.to_string();
        write(reply::Present {
            user: self.user.as_deref(),
            connection: &connection,
            info: self.info.as_deref(),
        })
    }
}

/// Something to tell everybody in a channel.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The channel.
    pub topic: Topic,
    /// The envelope.
    pub encoded: Encoded,
}

/// The members of one channel.
#[derive(Debug, Default)]
pub(super) struct Presence {
    members: AHashMap<ConnectionKey, Member>,
    leaving: VecDeque<(u64, Member)>,
    is_announced: bool,
    is_changed: bool,
    summed_up_ms: u64,
}

impl Presence {
    pub fn join(
        &mut self,
        now_ms: u64,
        topic: &Topic,
        member: Member,
        is_announced: bool,
    ) -> Option<Notice> {
        self.is_announced = is_announced;
        let notice = self.announce(now_ms, topic, "join", &member);
        self.members.insert(member.connection, member);
        notice
    }

    pub fn leave(&mut self, now_ms: u64, connection: ConnectionKey) {
        if let Some(member) = self.members.remove(&connection)
            && self.is_announced
        {
            self.leaving.push_back((now_ms + LEAVE_DELAY_MS, member));
        }
    }

    /// What is due now.
    pub fn tick(&mut self, now_ms: u64, topic: &Topic, notices: &mut Vec<Notice>) {
        while self.leaving.front().is_some_and(|(due, _)| *due <= now_ms) {
            if let Some((_, member)) = self.leaving.pop_front() {
                notices.extend(self.announce(now_ms, topic, "leave", &member));
            }
        }
        if self.is_changed && now_ms >= self.summed_up_ms + SUMMARY_MS {
            self.is_changed = false;
            self.summed_up_ms = now_ms;
            let total = self.members.len();
            let encoded = Encoded::build(96, |out| {
                reply::presence_changed(out, topic.name(), total);
            });
            notices.push(Notice { topic: topic.clone(), encoded });
        }
    }

    fn announce(
        &mut self,
        _now_ms: u64,
        topic: &Topic,
        kind: &str,
        member: &Member,
    ) -> Option<Notice> {
        if !self.is_announced {
            return None;
        }
        if self.members.len() > MEMBERS_MAX {
            self.is_changed = true;
            return None;
        }
        let encoded = Encoded::build(192, |out| {
            member.with_present(|it| reply::announcement(out, kind, topic.name(), it));
        });
        Some(Notice { topic: topic.clone(), encoded })
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.leaving.is_empty() && !self.is_changed
    }

    /// At most [`MEMBERS_MAX`] members, and how many there are.
    pub fn list(&self) -> (Vec<Member>, usize) {
        (self.members.values().take(MEMBERS_MAX).cloned().collect(), self.members.len())
    }
}
