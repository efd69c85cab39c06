//! Whether the server has done what it was told before.
//!
//! A server does what one connection tells it in order. So when a message to oneself comes back, it
//! has heard of every subscription before it. That takes no `JetStream`: a cluster without a leader
//! still carries what is live.

use std::{sync::Arc, time::Duration};

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::broker::nats::names::Names;

/// How long a message to oneself may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends messages to this pod.
#[derive(Clone, Debug)]
pub struct Echo {
    client: Client,
    subject: Arc<str>,
}

impl Echo {
    /// Of one pod.
    pub fn new(client: Client, names: &Names, pod: &str) -> Self {
        Self { client, subject: names.own(&format!("inbox.{pod}.echo")).into() }
    }

    /// Sends a message to this pod, and waits until it comes back; whether it does. `what` tells it
    /// from those that others wait for.
    pub async fn comes_back(&self, what: &str) -> bool {
        let subject = format!("{}.{what}", self.subject);
        let Ok(mut echo) = self.client.subscribe(subject.clone()).await else { return false };
        let there = async {
            self.client.publish(subject, Bytes::new()).await.is_ok() && echo.next().await.is_some()
        };
        timeout(TIMEOUT, there).await.unwrap_or(false)
    }
}
