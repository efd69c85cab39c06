//! Asking the other pods, and collecting what they answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ahash::AHashSet;
use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    Plane,
    confirm::{Ear, INBOX_TOKEN},
};
use crate::{
    broker::{
        MEMBERS_SHOWN_MAX, Members,
        nats::talk::{self, Answer, Question},
    },
    protocol::topic::Topic,
};

/// How long pods have for an answer.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Answers to one question that may wait. More pods than that answer at once in no gateway.
const ANSWERS_MAX: usize = 1_000;

/// Gets the answers of pods to one question.
pub(super) type Waiting = mpsc::Sender<(Arc<str>, Answer)>;

/// Answers of pods.
#[derive(Debug)]
pub struct Gathered {
    /// Who answered what.
    pub answers: Vec<Answer>,
    /// How many pods were asked.
    pub asked: usize,
    /// Whether pods can be asked now: without the broker there may be others that nobody knows of.
    pub is_connected: bool,
}

impl Plane {
    /// Asks all pods that are alive.
    pub async fn ask(&self, question: Question) -> Gathered {
        let others = self.0.peers.lock().alive();
        let subject = self.0.ask.clone();
        let asked = talk::ask(&self.0.pod, &question);
        let own = (self.0.answer)(question);
        let (own, others) = tokio::join!(own, self.gather(subject, asked, others));
        let Gathered { mut answers, asked, is_connected } = others;
        answers.extend(Some(own).filter(Answer::is_one));
        Gathered { answers, asked: asked + 1, is_connected }
    }

    /// Asks one pod: this one, or one that is alive. `None` where it is not alive.
    pub async fn ask_pod(&self, pod: &str, question: Question) -> Option<Gathered> {
        if *pod == *self.0.pod {
            let own = (self.0.answer)(question).await;
            return Some(Gathered::one(own));
        }
        if !self.0.peers.lock().is_alive(pod) {
            return None;
        }
        let asked = talk::ask(&self.0.pod, &question);
        Some(self.gather(format!("{}.{pod}", self.0.ask), asked, vec![pod.into()]).await)
    }

    /// Who is in a topic, and whether every pod said so.
    pub async fn presence(&self, topic: &Topic) -> (Members, bool) {
        let gathered = self.ask(Question::Presence(topic.key().to_owned())).await;
        let is_complete = gathered.is_complete();
        (gathered.members(), is_complete)
    }

    /// Publishes a question, and collects answers until all of `others` have answered.
    async fn gather(&self, subject: String, question: Vec<u8>, others: Vec<Arc<str>>) -> Gathered {
        let mut asked: AHashSet<_> = others.into_iter().collect();
        let mut answers = Vec::new();
        let is_connected = self.is_connected();
        if asked.is_empty() || !is_connected {
            return Gathered { answers, asked: asked.len(), is_connected };
        }
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let (waiter, mut inbox) = Waiter::new(self);
        let reply = format!("{}.{:016x}", self.0.inbox, waiter.token);
        let published = self.0.client.publish_with_reply(subject, reply, question.into());
        if !matches!(timeout_at(deadline, published).await, Ok(Ok(()))) {
            return Gathered { answers, asked: asked.len(), is_connected };
        }
        let mut silent = asked.clone();
        while !silent.is_empty() {
            let Ok(Some((pod, answer))) = timeout_at(deadline, inbox.recv()).await else { break };
            // One that has just come is asked as well.
            let is_first = silent.remove(&pod) || asked.insert(pod);
            if is_first && answer.is_one() {
                answers.push(answer);
            }
        }
        Gathered { answers, asked: asked.len(), is_connected }
    }

    pub(super) async fn receive(self, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let token = message.subject.rsplit('.').next();
            if token == Some(INBOX_TOKEN) {
                self.confirm(Ear::Inbox);
                continue;
            }
            let Some(token) = token.and_then(|it| u64::from_str_radix(it, 16).ok()) else {
                continue;
            };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                // Nobody listens, so nobody will answer.
                self.0.waiting.lock().remove(&token);
                continue;
            }
            match talk::answered(&message.payload) {
                Ok(said) => {
                    let answer = said.said.unwrap_or(Answer::Unknown);
                    if let Some(waiter) = self.0.waiting.lock().get(&token) {
                        // It has room for more than there are.
                        let _ = waiter.try_send((said.pod, answer));
                    }
                }
                Err(dropped) => (self.0.dropped)(dropped),
            }
        }
    }
}

impl Gathered {
    /// What one pod alone was asked.
    pub fn one(answer: Answer) -> Self {
        Self {
            answers: Some(answer).filter(Answer::is_one).into_iter().collect(),
            asked: 1,
            is_connected: true,
        }
    }

    /// Whether every pod that was asked has answered.
    pub fn is_complete(&self) -> bool {
        self.is_connected && self.answers.len() == self.asked
    }

    /// The members that answers to [`Question::Presence`] name, and the total of all.
    pub fn members(self) -> Members {
        let mut members = Members::default();
        for answer in self.answers {
            let Answer::Presence(it) = answer else { continue };
            members.total = members.total.saturating_add(it.total);
            let room = MEMBERS_SHOWN_MAX.saturating_sub(members.members.len());
            members.members.extend(it.members.into_iter().take(room).map(Into::into));
        }
        members
    }
}

/// A place for answers that is given up when this is dropped.
struct Waiter<'a> {
    plane: &'a Plane,
    token: u64,
}

impl<'a> Waiter<'a> {
    fn new(plane: &'a Plane) -> (Self, mpsc::Receiver<(Arc<str>, Answer)>) {
        let (sender, inbox) = mpsc::channel(ANSWERS_MAX);
        let token = plane.0.tokens.fetch_add(1, Ordering::Relaxed);
        plane.0.waiting.lock().insert(token, sender);
        (Self { plane, token }, inbox)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.plane.0.waiting.lock().remove(&self.token);
    }
}
