//! Asking pods for the counts of users that were missed of them.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::Plane;
use crate::broker::nats::talk::{Answer, Question};

/// Pods that are asked for their counts at once.
const PODS_ASKED_AT_ONCE: usize = 16;

/// Pages of counts that a pod has at most, some thousand users each: more is made up.
const PAGES_MAX: usize = 10_000;

impl Plane {
    /// Asks for the counts that were missed, whenever some were.
    pub(super) async fn catch_up(self) {
        loop {
            self.0.missed.notified().await;
            let holes = self.0.users.lock().holes();
            // Side by side, or pods that are made up would hold up those that answer.
            stream::iter(holes)
                .for_each_concurrent(PODS_ASKED_AT_ONCE, |(pod, hole)| self.fill(pod, hole))
                .await;
        }
    }

    async fn fill(&self, pod: Arc<str>, hole: u64) {
        if self.read_counts(&pod).await {
            self.0.users.lock().filled(&pod, hole);
        }
    }

    /// Reads all that a pod told of users; whether it could. What is not read is asked for again at
    /// the next beat.
    async fn read_counts(&self, pod: &Arc<str>) -> bool {
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let question = Question::Counts(after.clone());
            let Some(gathered) = self.ask_pod(pod, question).await else { return false };
            let Some(Answer::Counts(page)) = gathered.answers.into_iter().next() else {
                return false;
            };
            self.0.users.lock().read(pod, after.as_deref(), &page);
            let last = page.users.last().map(|it| it.user.to_string());
            if !page.more || last <= after {
                return !page.more;
            }
            after = last;
        }
        false
    }
}
