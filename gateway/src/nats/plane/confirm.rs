//! Whether what pods tell and ask each other reaches this one: a server that refuses a subscription of
//! ours, for a limit or for want of a right, leaves us alone in the world without saying so here.
//!
//! After each connection this pod sends something to itself on each of its subjects, until all of it has
//! come; that its beats come back shows with each of them.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{BEAT_EVERY, ECHO_WITHIN, Plane};
use crate::broker::nats::talk::{self, Question};

/// How long a connection may leave something of ours undelivered before it is made anew, which also
/// subscribes again.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// The last token of the subject that stands for the inbox: no number.
pub(super) const INBOX_TOKEN: &str = "confirm";

/// A subject that this pod listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// What all are asked.
    All,
    /// What this pod is asked.
    Us,
    /// Answers.
    Inbox,
}

/// What did not come yet.
#[derive(Clone, Debug)]
pub(super) struct Unconfirmed {
    since: Instant,
    left: Vec<Ear>,
}

impl Unconfirmed {
    pub(super) fn all() -> Self {
        Self { since: Instant::now(), left: vec![Ear::All, Ear::Us, Ear::Inbox] }
    }

    /// Whether all that was to come has come, or still may.
    pub(super) fn is_well(&self) -> bool {
        self.left.is_empty() || self.since.elapsed() <= ECHO_WITHIN
    }
}

impl Plane {
    /// Something came on a subject of ours.
    pub(super) fn confirm(&self, ear: Ear) {
        self.0.unconfirmed.send_if_modified(|it| {
            let before = it.left.len();
            it.left.retain(|left| *left != ear);
            it.left.len() < before
        });
    }

    /// Waits until all of them are heard.
    pub(super) async fn confirmed(&self) {
        let mut seen = self.0.unconfirmed.subscribe();
        loop {
            self.check().await;
            if timeout(BEAT_EVERY, seen.wait_for(|it| it.left.is_empty())).await.is_ok() {
                return;
            }
        }
    }

    /// Sends something to each subject that is not heard yet.
    pub(super) async fn check(&self) {
        let Unconfirmed { since, left } = self.0.unconfirmed.borrow().clone();
        let is_late = |since: Instant| since.elapsed() > CONFIRMED_WITHIN;
        let is_mute = self.0.echo_since.lock().is_some_and(is_late);
        if self.has_connection() && (is_mute || !left.is_empty() && is_late(since)) {
            warn!(event = "broker_deaf", subjects = ?left, "pods' talk does not come: connecting anew");
            *self.0.echo_since.lock() = None;
            self.0.unconfirmed.send_replace(Unconfirmed::all());
            // The client is closed otherwise.
            let _ = self.0.client.force_reconnect().await;
            return;
        }
        let client = &self.0.client;
        for ear in left {
            let question = || talk::ask(&self.0.pod, &Question::Counts(None)).into();
            // What is lost is sent again.
            let _ = match ear {
                Ear::All => client.publish(self.0.ask.clone(), question()).await,
                Ear::Us => {
                    client.publish(format!("{}.{}", self.0.ask, self.0.pod), question()).await
                }
                Ear::Inbox => {
                    let subject = format!("{}.{INBOX_TOKEN}", self.0.inbox);
                    client.publish(subject, bytes::Bytes::new()).await
                }
            };
        }
    }
}
