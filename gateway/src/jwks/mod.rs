//! Keeps the keys that an identity provider publishes.
//!
//! Workers hold a [`Verifier`] with the keys of the manifest and those of the provider, and an
//! [`Asks`]: a name that the verifier does not know wakes the task here, which fetches the set again,
//! at most once a minute however many ask. The rules ([`keeper`]) are pure; the task carries them out.
//!
//! What must stay true: a fetch that fails takes nothing from anybody. The keys of the last one go
//! on to verify for a day after they should have been fetched again, and to vouch for who is here
//! until the provider has withdrawn them.

mod asks;
mod fetch;
mod keeper;
mod task;

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{mpsc, watch};

pub use self::{asks::Asks, task::Task};
use crate::{auth::token::Verifier, config::Config};

/// What the rest of the process has of the keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// What vouches for tokens now. It is there from the start and follows the configuration.
    pub verifier: watch::Receiver<Arc<Verifier>>,
    /// Verifies, and asks for keys that are not known.
    pub asks: Asks,
    /// What there is to say about the key set.
    pub state: watch::Receiver<State>,
}

/// What there is to say about the key set, for `/status` and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// How many keys verify tokens now; 0 while the set is awaited, or without a provider.
    pub keys: usize,
    /// When it was last fetched.
    pub fetched_at: Option<SystemTime>,
    /// How often it was fetched.
    pub fetched: u64,
    /// How often it could not be fetched.
    pub failed: u64,
    /// Why not, the last time; `None` if it was fetched since.
    pub error: Option<String>,
}

/// What the workers need, and the task that keeps it right for as long as the configuration lives.
pub fn keep(config: watch::Receiver<Arc<Config>>) -> (Keys, Task) {
    let (ask, asked) = mpsc::channel(asks::WAITING_MAX);
    let (state, state_seen) = watch::channel(State::default());
    let (task, verifier) = Task::new(config, asked, state);
    (Keys { verifier, asks: Asks::new(ask), state: state_seen }, task)
}

#[cfg(test)]
mod provider;
#[cfg(test)]
mod tests;
