//! All workers, as the server API and the process see them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    accept,
    message::{Asker, ConnectionInfo, Members, Message, Publisher, Target},
};
use crate::{
    admission::load::Load,
    auth::revocations::{Full, Revocations, Revoked},
    broker::{Broker, memory::{Key, Page, Publish, WORKERS_MAX}, publication::ConnectionKey},
    config::settings::Settings,
    protocol::{close::CloseReason, error::ErrorCode, position::{ClientPosition, Position}, topic::Topic},
    telemetry::metrics::Metrics,
};

/// Messages that may wait for a worker. They are links of a list, not reserved memory.
const MAILBOX: usize = 1 << 18;

/// What all workers may look at. Nothing here is touched for a message but the mailboxes.
#[derive(Debug)]
pub struct Shared {
    began: Instant,
    broker: Broker,
    mailboxes: Vec<mpsc::Sender<Message>>,
    lost: Vec<AtomicBool>,
    beats: Vec<AtomicU64>,
    /// Connections that workers hold, closing ones too.
    pub held: AtomicI64,
    pub history_bytes: Arc<AtomicUsize>,
    pub load: Arc<Load>,
    pub metrics: Metrics,
    pub revocations: ArcSwap<Revocations>,
    pub settings: ArcSwap<Settings>,
    /// Upgrades are refused: the pod goes away.
    pub is_draining: AtomicBool,
    /// Every path of the public port that echoes, for the conformance suite.
    pub echo: Option<String>,
}

impl Shared {
    /// Milliseconds since the process began, never 0.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
    }

    /// Says something to a worker. A mailbox that is full is a loss, and the worker tells its
    /// clients so.
    pub fn send(&self, worker: usize, message: Message) -> bool {
        let is_sent = self.mailboxes.get(worker).is_some_and(|it| it.try_send(message).is_ok());
        if !is_sent && let Some(lost) = self.lost.get(worker) {
            lost.store(true, Ordering::Relaxed);
        }
        is_sent
    }

    /// Says something to the worker that is a topic's home.
    pub fn to_home(&self, topic: &Topic, message: Message) -> bool {
        self.send(self.broker.home_of(topic), message)
    }

    /// Whether messages to a worker were lost since it was asked last.
    pub fn take_lost(&self, worker: usize) -> bool {
        self.lost.get(worker).is_some_and(|it| it.swap(false, Ordering::Relaxed))
    }

    /// Whether a worker's thread has ended.
    pub fn has_dead_worker(&self) -> bool {
        self.mailboxes.iter().any(mpsc::Sender::is_closed)
    }

    /// A worker is alive.
    pub fn beat(&self, worker: usize, now_ms: u64) {
        if let Some(beat) = self.beats.get(worker) {
            beat.store(now_ms, Ordering::Relaxed);
        }
    }
}

/// The handle of all workers.
#[derive(Clone, Debug)]
pub struct Pool {
    pub shared: Arc<Shared>,
}

/// Why the server API gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker does not answer")]
pub struct Unavailable;

/// What a process may hold.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(WORKERS_MAX)
}

impl Pool {
    /// Starts the workers on `listen`; port 0 takes any free one.
    pub fn start(
        listen: SocketAddr,
        settings: Arc<Settings>,
        echo: Option<String>,
    ) -> std::io::Result<(Self, SocketAddr, Vec<JoinHandle<()>>)> {
        let count = workers();
        let listeners = accept::bind(listen, count)?;
        let address = listeners.first().map_or(Ok(listen), std::net::TcpListener::local_addr)?;
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(MAILBOX)).unzip();
        let shared = Arc::new(Shared {
            began: Instant::now(),
            broker: Broker::memory(count),
            mailboxes,
            lost: (0..count).map(|_| AtomicBool::new(false)).collect(),
            beats: (0..count).map(|_| AtomicU64::new(0)).collect(),
            held: AtomicI64::new(0),
            history_bytes: Arc::default(),
            load: Load::new(&settings.spec.limits, 1),
            metrics: Metrics::new(),
            revocations: ArcSwap::default(),
            settings: ArcSwap::new(settings),
            is_draining: AtomicBool::new(false),
            echo,
        });
        let mut threads = Vec::new();
        for (index, (listener, inbox)) in listeners.into_iter().zip(inboxes).enumerate() {
            let shared = Arc::clone(&shared);
            let name = format!("worker-{index}");
            let thread = std::thread::Builder::new().name(name);
            threads.push(thread.spawn(move || accept::work(index, shared, listener, inbox))?);
        }
        Ok((Self { shared }, address, threads))
    }

    /// Takes a configuration into use on every worker.
    pub async fn configure(&self, settings: &Arc<Settings>) {
        self.shared.settings.store(Arc::clone(settings));
        self.each(|| Message::Configure(Arc::clone(settings))).await;
    }

    async fn each(&self, message: impl Fn() -> Message) {
        for mailbox in &self.shared.mailboxes {
            // A worker that has stopped has nothing to be told.
            let _ = mailbox.send(message()).await;
        }
    }

    /// Closes everybody, spread over so many milliseconds, and waits until they are gone.
    pub async fn drain(&self, period_ms: u64, mut progress: impl FnMut(i64)) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.each(|| Message::Drain { period_ms }).await;
        let deadline = Instant::now() + std::time::Duration::from_millis(period_ms + 3_000);
        while self.shared.held.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            progress(self.shared.held.load(Ordering::Relaxed));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        progress(0);
        self.each(|| Message::Stop).await;
    }

    /// Whether every worker has shown life within five seconds.
    pub fn is_alive(&self) -> bool {
        let now_ms = self.shared.now_ms();
        self.shared.beats.iter().all(|it| now_ms.saturating_sub(it.load(Ordering::Relaxed)) < 5_000)
    }

    async fn ask_home<T>(&self, topic: &Topic, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        let mailbox = self.shared.mailboxes.get(self.shared.broker.home_of(topic)).ok_or(Unavailable)?;
        mailbox.send(message(done)).await.map_err(|_| Unavailable)?;
        answer.await.map_err(|_| Unavailable)
    }

    async fn ask_all<T>(&self, message: impl Fn(oneshot::Sender<T>) -> Message) -> Result<Vec<T>, Unavailable> {
        let mut answers = Vec::new();
        for mailbox in &self.shared.mailboxes {
            let (done, answer) = oneshot::channel();
            mailbox.send(message(done)).await.map_err(|_| Unavailable)?;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await.map_err(|_| Unavailable)?);
        }
        Ok(all)
    }

    /// Publishes; back when it is handed to every worker, and kept where the topic has history.
    pub async fn publish(&self, topic: Topic, data: Bytes, key: Option<Arc<str>>, except: Option<ConnectionKey>) -> Result<Option<Position>, Unavailable> {
        let key = key.map(|key| Key { user: None, key });
        let publish = Publish { topic: topic.clone(), data, user: None, key };
        self.ask_home(&topic, |done| Message::Publish { publish, except, publisher: Publisher::Api(done) }).await
    }

    /// A page of a topic's history; `None` where it has none.
    pub async fn history(&self, topic: &Topic, since: Option<ClientPosition>, limit: usize) -> Result<Option<Result<Page, ErrorCode>>, Unavailable> {
        self.ask_home(topic, |done| Message::History { topic: topic.clone(), since, limit, asker: Asker::Api(done) }).await
    }

    /// Who is in a channel.
    pub async fn presence(&self, topic: &Topic) -> Result<Members, Unavailable> {
        self.ask_home(topic, |done| Message::Presence { topic: topic.clone(), asker: Asker::Api(done) }).await
    }

    /// Closes connections; how many.
    pub async fn disconnect(&self, target: &Target, reason: CloseReason) -> Result<usize, Unavailable> {
        Ok(self.ask_all(|done| Message::Disconnect { target: target.clone(), reason, done }).await?.iter().sum())
    }

    /// Sends something to one connection; whether it is here.
    pub async fn send(&self, connection: ConnectionKey, data: &Bytes) -> Result<bool, Unavailable> {
        let all = self.ask_all(|done| Message::Send { connection, data: data.clone(), done }).await?;
        Ok(all.contains(&true))
    }

    /// Subscribes or unsubscribes the connections of a user; how many.
    pub async fn subscribe(&self, user: &Arc<str>, topic: &Topic, is_on: bool) -> Result<usize, Unavailable> {
        let all = self.ask_all(|done| Message::Subscribe { user: Arc::clone(user), topic: topic.clone(), is_on, done }).await?;
        Ok(all.iter().sum())
    }

    /// Revokes a token or a user until `expires`; how many connections ended.
    pub async fn revoke(&self, revoked: Revoked, expires: u64, now: u64) -> Result<Result<usize, Full>, Unavailable> {
        let mut all = Revocations::clone(&self.shared.revocations.load());
        if let Err(full) = all.add(revoked.clone(), expires, now) {
            return Ok(Err(full));
        }
        let all = Arc::new(all);
        self.shared.revocations.store(Arc::clone(&all));
        let ended = self.ask_all(|done| Message::Revoke { revoked: revoked.clone(), all: Arc::clone(&all), done }).await?;
        Ok(Ok(ended.iter().sum()))
    }

    /// Every connection.
    pub async fn connections(&self) -> Result<Vec<ConnectionInfo>, Unavailable> {
        Ok(self.ask_all(Message::Connections).await?.into_iter().flatten().collect())
    }

    /// Every channel with its subscribers.
    pub async fn channels(&self) -> Result<std::collections::BTreeMap<String, usize>, Unavailable> {
        let mut all = std::collections::BTreeMap::new();
        for (topic, count) in self.ask_all(Message::Channels).await?.into_iter().flatten() {
            *all.entry(topic.name().to_owned()).or_default() += count;
        }
        Ok(all)
    }

    /// Follows the configuration until it ends.
    pub async fn follow(self, mut state: watch::Receiver<crate::config::load::State>) {
        while state.changed().await.is_ok() {
            let settings = state.borrow_and_update().settings.clone();
            if let Some(settings) = settings
                && !Arc::ptr_eq(&settings, &self.shared.settings.load())
            {
                self.configure(&settings).await;
            }
        }
    }
}
