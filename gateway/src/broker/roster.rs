//! Who is subscribed to a topic, and what is said of it.
//!
//! Connections are counted, not users. A `leave` is told 10 s after the connection went, so that a
//! client that moves to another pod is seen joining before it is seen leaving. Above 1,000 members
//! nobody is named any more: `presence_changed`, at most once a second, says to ask again.

mod matters;

use std::{collections::HashMap, sync::Arc, time::Duration};

use ahash::RandomState;

pub use self::matters::Matters;
use crate::protocol::{encoded::Encoded, reply, topic::Topic};

/// How many members are listed, and up to how many each join and leave is told.
pub const MEMBERS_SHOWN_MAX: usize = 1000;
/// Pods whose members are counted at most: more than any gateway has.
const PODS_MAX: usize = 1000;
/// How long after a connection went its `leave` is told.
const LEAVE_DELAY: Duration = Duration::from_secs(10);
/// The least time between two `presence_changed` of a topic.
const CHANGED_PERIOD: Duration = Duration::from_secs(1);

/// What a topic with presence tells its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PresenceMode {
    /// Nothing, but who asks is answered.
    Enabled,
    /// Who joins and who leaves.
    Announced,
}

/// One connection that is subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// What the server API calls the connection.
    pub connection: Arc<str>,
    /// The token's `info`: JSON without insignificant white space.
    pub info: Option<Arc<str>>,
}

impl Member {
    /// As the protocol writes it.
    pub fn as_reply(&self) -> reply::Member<'_> {
        let Self { user, connection, info } = self;
        reply::Member { user: user.as_deref(), connection, info: info.as_deref() }
    }
}

/// The answer to who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// At most [`MEMBERS_SHOWN_MAX`], in no order.
    pub members: Vec<Member>,
    /// How many there are.
    pub total: usize,
}

/// What follows from a coming or going.
#[derive(Debug, PartialEq, Eq)]
pub enum Stir {
    /// Nothing is told.
    Quiet,
    /// The subscribers are told.
    Tell(News),
    /// [`Roster::look`] is to be called at this time.
    Later(Duration, Matter),
}

/// What is to be looked at later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matter {
    /// This connection's `leave` is to be told.
    Leave(Arc<str>),
    /// `presence_changed` is to be told.
    Changed,
}

/// What the subscribers of a topic are told.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody came.
    Join(Member),
    /// Somebody went.
    Leave(Member),
    /// So many are here now: who they are is to be asked for.
    Changed {
        /// How many.
        total: usize,
    },
}

impl News {
    /// The envelope that tells it.
    pub fn envelope(&self, topic: &Topic) -> Encoded {
        let name = topic.name();
        Encoded::text(128 + name.len(), |out| match self {
            Self::Join(member) => reply::join(out, name, &member.as_reply()),
            Self::Leave(member) => reply::leave(out, name, &member.as_reply()),
            Self::Changed { total } => reply::presence_changed(out, name, Some(*total)),
        })
    }
}

/// The members of one topic.
#[derive(Debug)]
pub struct Roster {
    /// What is told of it.
    pub mode: PresenceMode,
    members: HashMap<Arc<str>, Member, RandomState>,
    /// How many members other pods have, as they told last: those that have any, at most
    /// [`PODS_MAX`].
    elsewhere: HashMap<Box<str>, usize, RandomState>,
    /// Those who went and of whom that is not told yet, with the time for it.
    leaving: HashMap<Arc<str>, (Member, Duration), RandomState>,
    /// Clients do not know who is there: somebody came or went unnamed since they were last told to
    /// ask.
    is_crowded: bool,
    changed_at: Option<Duration>,
    is_change_due: bool,
}

impl Roster {
    /// Nobody is there.
    pub fn new(mode: PresenceMode) -> Self {
        Self {
            mode,
            members: HashMap::default(),
            elsewhere: HashMap::default(),
            leaving: HashMap::default(),
            is_crowded: false,
            changed_at: None,
            is_change_due: false,
        }
    }

    /// Whether nobody is there and nobody's going is to be told.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.leaving.is_empty()
    }

    /// How many members this pod has.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// How many there are, on whichever pod, as far as is known.
    fn total(&self) -> usize {
        self.elsewhere.values().fold(self.members.len(), |sum, it| sum.saturating_add(*it))
    }

    /// Another pod told what happened there, and how many members it has.
    pub fn heard(&mut self, now: Duration, pod: &str, count: usize, news: News) -> Stir {
        if count == 0 {
            self.elsewhere.remove(pod);
        } else if let Some(known) = self.elsewhere.get_mut(pod) {
            *known = count;
        } else if self.elsewhere.len() < PODS_MAX {
            self.elsewhere.insert(pod.into(), count);
        }
        match news {
            News::Changed { .. } => self.tell_changed(now),
            named => self.tell(now, named),
        }
    }

    /// Another pod is lost, and who was there with it.
    pub fn lost(&mut self, now: Duration, pod: &str) -> Stir {
        self.elsewhere.remove(pod);
        // It may have had members of which it never told here.
        self.tell_changed(now)
    }

    /// Who is there, of this pod.
    pub fn members(&self) -> Members {
        let members = self.members.values().take(MEMBERS_SHOWN_MAX).cloned().collect();
        Members { members, total: self.members.len() }
    }

    /// A connection subscribed. One that was here less than 10 s ago is not told to have come.
    pub fn join(&mut self, now: Duration, member: Member) -> Stir {
        let was_leaving = self.leaving.remove(&member.connection).is_some();
        let was_here = self.members.insert(Arc::clone(&member.connection), member.clone());
        if was_leaving || was_here.is_some() {
            return Stir::Quiet;
        }
        self.tell(now, News::Join(member))
    }

    /// A connection unsubscribed or went.
    pub fn leave(&mut self, now: Duration, connection: &str) -> Stir {
        let Some((connection, member)) = self.members.remove_entry(connection) else {
            return Stir::Quiet;
        };
        if self.mode == PresenceMode::Enabled {
            return Stir::Quiet;
        }
        // Nobody is named in a crowd, and those who come and go fast can't make us remember them.
        if self.is_crowded || self.leaving.len() >= MEMBERS_SHOWN_MAX {
            return self.tell_changed(now);
        }
        let at = now + LEAVE_DELAY;
        self.leaving.insert(Arc::clone(&connection), (member, at));
        Stir::Later(at, Matter::Leave(connection))
    }

    /// Looks at a matter at the time that [`Stir::Later`] named, or later.
    pub fn look(&mut self, now: Duration, matter: &Matter) -> Stir {
        match matter {
            Matter::Leave(connection) => {
                let due = self.leaving.get(connection).filter(|(_, at)| *at <= now);
                let Some((member, _)) = due.cloned() else {
                    // It is back, or it was back and goes at another time.
                    return Stir::Quiet;
                };
                self.leaving.remove(connection);
                self.tell(now, News::Leave(member))
            }
            Matter::Changed => {
                self.is_change_due = false;
                self.tell_changed(now)
            }
        }
    }

    fn tell(&mut self, now: Duration, news: News) -> Stir {
        if self.mode == PresenceMode::Enabled {
            return Stir::Quiet;
        }
        // Nobody named those who came while it was crowded: the first one after that says to ask.
        if self.is_crowded || self.total() > MEMBERS_SHOWN_MAX {
            return self.tell_changed(now);
        }
        Stir::Tell(news)
    }

    fn tell_changed(&mut self, now: Duration) -> Stir {
        if self.mode == PresenceMode::Enabled {
            return Stir::Quiet;
        }
        if self.is_change_due {
            self.is_crowded = true;
            return Stir::Quiet;
        }
        if let Some(at) = self.changed_at.map(|at| at + CHANGED_PERIOD).filter(|at| *at > now) {
            self.is_crowded = true;
            self.is_change_due = true;
            return Stir::Later(at, Matter::Changed);
        }
        self.changed_at = Some(now);
        self.is_crowded = self.total() > MEMBERS_SHOWN_MAX;
        Stir::Tell(News::Changed { total: self.total() })
    }
}

#[cfg(test)]
mod tests;
