//! What came of a check: every promise that was broken, and what happened besides.

use std::{collections::BTreeMap, fmt};

use super::{Client, Event, Outcome, Run, TopicId, What};

/// The promises (the names are those of the design: I1 to I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: nothing crosses tenants or users.
    Tenant,
    /// I2: nothing comes of a channel that is not subscribed, or that it was not published to.
    Channel,
    /// I3: offsets rise within an epoch and name one publication each; a publisher's order is kept.
    Order,
    /// I4: nothing comes twice.
    Once,
    /// I5: nothing is missing unless that was told.
    Gap,
    /// I6: who resumes gets exactly what is missing.
    Resume,
    /// I7: what is acknowledged reaches everybody, or they are told.
    Ack,
    /// I8: the bytes are those that were sent.
    Bytes,
    /// I9: after the faults, everybody is back and gets everything.
    Convergence,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} {self:?}", *self as u8 + 1)
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Whose.
    pub client: String,
    /// In which topic.
    pub topic: String,
    /// When, if there was a moment.
    pub at: Option<u64>,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, client, topic, at, what } = self;
        write!(f, "{invariant}: {client}, {topic}: {what}")?;
        at.map_or(Ok(()), |at| write!(f, " (at {:.3} s)", at as f64 / 1e9))
    }
}

/// The outcome of a check.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The first of each kind, at most [`Verdict::EXAMPLES`].
    pub violations: Vec<Violation>,
    /// How many of each there are.
    pub counts: BTreeMap<Invariant, usize>,
    /// What happened.
    pub summary: Summary,
}

/// What happened in a run, kept promises or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections.
    pub sessions: usize,
    /// Messages that clients got.
    pub deliveries: usize,
    /// Publications that were acknowledged.
    pub acked: usize,
    /// Publications of which nobody was told what became of them.
    pub unknown: usize,
    /// Publications that were refused.
    pub refused: usize,
    /// Subscriptions that went on where they had been.
    pub recovered: usize,
    /// Subscriptions that were told that they could not.
    pub not_recovered: usize,
    /// Answers to `history`.
    pub pages: usize,
    /// Losses that were told while connected.
    pub gaps: usize,
    /// Publications that are missing although nobody was told.
    pub silent: usize,
    /// Acknowledged publications of which it cannot be said in which epoch they were.
    pub unplaced: usize,
}

impl Verdict {
    /// How many violations of one kind are kept with their words.
    pub const EXAMPLES: usize = 5;

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Something was wrong with what a client was told.
    pub(super) fn add(
        &mut self,
        run: &Run,
        invariant: Invariant,
        client: &Client,
        event: &Event,
        what: &str,
    ) {
        let topic = run.topic(event.topic).name.clone();
        let client = client.name.clone();
        self.push(Violation { invariant, client, topic, at: Some(event.at), what: what.into() });
    }

    /// Something was wrong with a client that no one event shows.
    pub(super) fn add_for(
        &mut self,
        run: &Run,
        invariant: Invariant,
        client: &Client,
        topic: Option<TopicId>,
        what: &str,
    ) {
        let topic = topic.map_or("all".to_owned(), |it| run.topic(it).name.clone());
        let client = client.name.clone();
        self.push(Violation { invariant, client, topic, at: None, what: what.into() });
    }

    pub(super) fn push(&mut self, violation: Violation) {
        let count = self.counts.entry(violation.invariant).or_default();
        *count += 1;
        if *count <= Self::EXAMPLES {
            self.violations.push(violation);
        }
    }
}

impl Summary {
    pub(super) fn add(&mut self, run: &Run) {
        for publication in &run.publications {
            match publication.outcome {
                Outcome::Acked { .. } => self.acked += 1,
                Outcome::Unknown => self.unknown += 1,
                Outcome::Refused => self.refused += 1,
            }
        }
        let sessions = run.clients.iter().flat_map(|it| &it.sessions);
        self.sessions += sessions.clone().count();
        for event in sessions.flat_map(|it| &it.events) {
            match &event.what {
                What::Subscribed { recovered: Some(true), .. } => self.recovered += 1,
                What::Subscribed { recovered: Some(false), .. } => self.not_recovered += 1,
                What::Subscribed { recovered: None, .. } | What::Unsubscribed => {}
                What::Delivery { .. } => self.deliveries += 1,
                What::Gap(_) => self.gaps += 1,
                What::History(_) => self.pages += 1,
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "clean");
        }
        for (invariant, count) in &self.counts {
            writeln!(f, "{invariant}: {count} violations")?;
        }
        self.violations.iter().try_for_each(|it| writeln!(f, "  {it}"))
    }
}
