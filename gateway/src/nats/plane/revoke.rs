//! Revoking, and reading what others revoked.

use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{Gathered, Plane};
use crate::{
    broker::nats::talk::{Question, Revocation},
    nats::revocations::Unreachable,
};

/// How long the server has to store a revocation.
const STORE_WITHIN: Duration = Duration::from_secs(3);

/// How long all of them may take: a right that is missing shows as silence.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// How long a pod waits before it reads revocations again.
const RETRY: Duration = Duration::from_secs(1);

impl Plane {
    /// Refuses somebody on all pods: stored first, then told to all.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] where it is not stored. Nobody was told then.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Gathered, Unreachable> {
        if !self.is_connected() {
            return Err(Unreachable::new("the broker is lost"));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |it| it.as_secs());
        let stored = timeout(STORE_WITHIN, self.0.revocations.store(&revocation, now));
        let sequence = stored.await.map_err(Unreachable::new)??;
        let revocation = Revocation { sequence, ..revocation };
        let gathered = self.ask(Question::Revoke(vec![revocation])).await;
        self.learn(&[sequence]);
        Ok(gathered)
    }

    /// These revocations are known now.
    pub(super) fn learn(&self, sequences: &[u64]) {
        for sequence in sequences {
            self.0.revocations.reach().learn(*sequence);
        }
        self.read_if_behind();
    }

    pub(super) fn read_if_behind(&self) {
        if self.0.revocations.reach().is_behind() {
            self.0.unread.notify_one();
        }
    }

    /// Reads those that are there when a pod starts.
    pub(super) async fn read_first_revocations(&self) {
        while let Err(error) = self.read_revocations().await {
            debug!(event = "revocations_not_read", %error, "cannot read revocations yet");
            sleep(RETRY).await;
        }
    }

    /// Reads revocations whenever there may be one that is not known.
    pub(super) async fn keep_revocations(self) {
        loop {
            self.0.unread.notified().await;
            if !self.0.revocations.reach().is_behind() {
                continue;
            }
            if let Err(error) = self.read_revocations().await {
                debug!(event = "revocations_not_read", %error, "cannot read revocations now");
            }
            // Whatever others make up, it is not read more often.
            sleep(RETRY).await;
        }
    }

    async fn read_revocations(&self) -> Result<(), Unreachable> {
        let take = |revocations| async {
            let _ = (self.0.answer)(Question::Revoke(revocations)).await;
        };
        let read = self.0.revocations.read(take);
        timeout(READ_WITHIN, read).await.map_err(Unreachable::new)?
    }
}
