//! Answering what other pods ask.

use std::sync::Arc;

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Plane, confirm::Ear};
use crate::broker::nats::talk::{self, Answer, Question};

/// Questions that are answered at once.
const QUESTIONS_MAX: usize = 64;

impl Plane {
    pub(super) async fn reply(self, mut questions: Subscriber, ear: Ear) {
        let room = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut answers = JoinSet::new();
        while let Some(message) = questions.next().await {
            while answers.try_join_next().is_some() {}
            let said = match talk::question(&message.payload) {
                Ok(said) if said.pod == self.0.pod => {
                    self.confirm(ear);
                    continue;
                }
                Ok(said) => said,
                Err(dropped) => {
                    (self.0.dropped)(dropped);
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let plane = self.clone();
            answers.spawn(async move {
                let answer = plane.answer(said.said).await;
                let payload = Bytes::from(talk::answer(&plane.0.pod, answer));
                if let Some(reply) = message.reply {
                    // Who asked will see that this pod was silent.
                    let _ = plane.0.client.publish(reply, payload).await;
                }
                drop(place);
            });
        }
    }

    async fn answer(&self, question: Option<Question>) -> Answer {
        match question {
            None => Answer::Unknown,
            Some(Question::Counts(after)) => {
                Answer::Counts(self.0.users.lock().page(after.as_deref()))
            }
            Some(Question::Revoke(revocations)) => {
                let sequences: Vec<_> = revocations.iter().map(|it| it.sequence).collect();
                let answer = (self.0.answer)(Question::Revoke(revocations)).await;
                self.learn(&sequences);
                answer
            }
            Some(question) => (self.0.answer)(question).await,
        }
    }
}
