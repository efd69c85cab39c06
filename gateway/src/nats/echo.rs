//! Whether the server has done what it was told before.
//!
//! A server does what one connection tells it in order. So when a message to oneself comes back, it
//! has heard of every subscription before it. That takes no `JetStream`: a cluster without a leader
//! still carries what is live.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::broker::nats::names::Names;

/// How long a message to oneself may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends messages to this pod. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Echo {
    client: Client,
    subject: Arc<str>,
    next: Arc<AtomicU64>,
    /// Who waits, by the number of the message.
    waiting: Arc<Mutex<AHashMap<u64, oneshot::Sender<()>>>>,
}

impl Echo {
    /// Of one pod; nothing comes back before [`run`](Self::run).
    pub fn new(client: Client, names: &Names, pod: &str) -> Self {
        let subject = names.own(&format!("inbox.{pod}.echo")).into();
        Self { client, subject, next: Arc::default(), waiting: Arc::default() }
    }

    /// Tells who waits what comes back, for as long as the process lives.
    pub async fn run(self) {
        let Ok(mut echoes) = self.client.subscribe(format!("{}.*", self.subject)).await else {
            return;
        };
        while let Some(message) = echoes.next().await {
            let number = message.subject.rsplit('.').next().and_then(|it| it.parse().ok());
            if let Some(waiter) = number.and_then(|it: u64| self.waiting.lock().remove(&it)) {
                // Who has given up does not want to know.
                let _ = waiter.send(());
            }
        }
    }

    /// Sends a message to this pod, and waits until it comes back; whether it does.
    pub async fn comes_back(&self) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiter, back) = oneshot::channel();
        self.waiting.lock().insert(number, waiter);
        let there = async {
            let sent = self.client.publish(format!("{}.{number}", self.subject), Bytes::new());
            sent.await.is_ok() && back.await.is_ok()
        };
        let is_back = timeout(TIMEOUT, there).await.unwrap_or(false);
        self.waiting.lock().remove(&number);
        is_back
    }
}
