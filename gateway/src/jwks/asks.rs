//! How a worker verifies a token and asks for a key that nobody knows.

use tokio::sync::mpsc;

use crate::auth::{
    identity::Identity,
    token::{TokenError, Verifier},
};

/// Names that wait for the task. More are dropped: one is enough to have the set fetched.
pub(super) const WAITING_MAX: usize = 64;

/// What a worker asks with. Never waits.
#[derive(Clone, Debug)]
pub struct Asks {
    names: mpsc::Sender<Box<str>>,
}

impl Asks {
    pub(super) const fn new(names: mpsc::Sender<Box<str>>) -> Self {
        Self { names }
    }

    /// Decides about a token, and has the key set fetched if that could change the answer; `now` is
    /// in seconds since 1970.
    pub fn verify(
        &self,
        verifier: &Verifier,
        token: &str,
        now: u64,
    ) -> Result<Identity, TokenError> {
        // If the queue is full others have asked; if the task is gone, so is the process.
        verifier.verify_or_ask(token, now, |name| drop(self.names.try_send(name.into())))
    }
}
