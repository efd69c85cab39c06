//! Which topics this pod listens to, made true.
//!
//! What is wanted is a state: this task takes all that changed since it looked last, subscribes and
//! unsubscribes, and says of each new topic when the server has heard of it. After a loss the client
//! subscribes again by itself; what changed meanwhile waits here.

use std::{sync::Arc, time::Duration};

use ahash::AHashMap;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tracing::debug;

use super::{arrive::Arrivals, echo::Echo};
use crate::{
    broker::nats::{
        link::{Notice, Route, Wishes},
        names::Names,
    },
    protocol::topic::Topic,
};

/// How long to wait before the server is asked again whether it has heard.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Whether the server can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing goes through.
    Down,
    /// It takes commands.
    Up,
}

/// Keeps the subscriptions as they are wanted.
#[derive(Debug)]
pub struct Interest {
    pub client: Client,
    pub names: Names,
    pub arrivals: Arc<Arrivals>,
    pub route: Route,
    pub wishes: Wishes,
    pub echo: Echo,
    pub wire: watch::Receiver<Wire>,
}

impl Interest {
    /// Keeps them for as long as the process lives.
    pub async fn run(mut self) {
        let mut tasks = JoinSet::new();
        let mut here = AHashMap::<Topic, AbortHandle>::new();
        loop {
            let changed = self.wishes.changed().await;
            if self.wire.wait_for(|it| *it == Wire::Up).await.is_err() {
                return;
            }
            let mut new = Vec::new();
            for (topic, wish) in changed {
                let Some(wish) = wish else {
                    here.remove(&topic).iter().for_each(AbortHandle::abort);
                    continue;
                };
                if !here.contains_key(&topic) {
                    let Some(listening) = self.listen(&topic, &mut tasks).await else { return };
                    here.insert(topic.clone(), listening);
                }
                new.push((topic, wish));
            }
            // What has ended by itself or was told to is let go.
            while tasks.try_join_next().is_some() {}
            if new.is_empty() {
                continue;
            }
            while !self.echo.comes_back("interest").await {
                debug!(event = "broker_silent", "NATS does not answer yet");
                sleep(ASK_AGAIN).await;
            }
            for (topic, wish) in new {
                self.route.tell(Notice::Listening(topic, wish));
            }
        }
    }

    /// Subscribes to what is published to a topic; a task of its own passes it on, so that the order
    /// within the topic is kept.
    async fn listen(&self, topic: &Topic, tasks: &mut JoinSet<()>) -> Option<AbortHandle> {
        let messages = self.client.subscribe(self.names.live(topic)).await.ok()?;
        let arrivals = Arc::clone(&self.arrivals);
        Some(tasks.spawn(pass_on(messages, topic.clone(), arrivals, self.route.clone())))
    }
}

async fn pass_on(mut messages: Subscriber, topic: Topic, arrivals: Arc<Arrivals>, route: Route) {
    while let Some(message) = messages.next().await {
        if let Some(notice) = arrivals.arrived(&topic, &message) {
            route.tell(notice);
        }
    }
}
