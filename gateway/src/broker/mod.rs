//! What a topic has beyond its live subscribers: order, history, idempotent publishing, presence.
//!
//! Each topic has a home, the one worker whose [`Partition`] holds all of this for it, so that
//! order needs no lock: whoever is elsewhere asks the home. Pure: time is an argument (since the
//! start of the process), and what is to be told to clients is returned.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "a test that panics has failed, which is its job"
    )
)]

mod publication;
mod workers;

mod answer;
mod epochs;
mod ledger;
mod memory;
pub mod nats;
mod roster;
mod stream;
mod topics;

pub use answer::{Announcement, Attached, Outcome, Reset, TopicRules, TopicView};
pub use ledger::HistoryBytes;
pub use memory::Partition;
pub use publication::{Frames, Key, KeyScope, Publication, Publish};
pub use roster::{MEMBERS_SHOWN_MAX, Matters, Member, Members, News, PresenceMode, Roster, Stir};
pub use stream::{HistoryError, HistoryPage, HistoryRule};
pub use topics::{Topics, forget_topic};
pub use workers::{Homes, WorkerSet};

pub use crate::protocol::position::{ClientPosition, Epoch, Position};
