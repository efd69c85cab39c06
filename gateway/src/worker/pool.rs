//! All workers, as the rest of the process sees them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use super::{
    key::Names,
    listen,
    message::{
        Asker, ChannelView, Command, ConnectionView, Ending, HistoryQuestion, IsOn, Message, Target,
    },
    run,
    settings::Settings,
    shared::{House, Shared, Side},
};
use crate::{
    admission::load::Load,
    auth::revocations::{Full, Revoked},
    broker::{
        ClientPosition, HistoryBytes, HistoryError, HistoryPage, Homes, Members, Position, Publish,
        WorkerSet,
    },
    jwks::Asks,
    protocol::topic::Topic,
    telemetry::{metrics::Metrics, trace::Traces},
};

/// Messages that may wait for a worker. They are links of a list, not reserved memory.
const MAILBOX: usize = 1 << 18;

/// What a drain may take beyond its period: the last close handshake.
const DRAIN_MORE: Duration = Duration::from_secs(3);

/// How often a drain looks whether everybody is gone.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// The handle of all workers.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What all workers may look at.
    pub shared: Arc<Shared>,
}

/// What a pool begins with.
#[derive(Debug)]
pub struct Start {
    /// The public address; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What makes spans.
    pub traces: Traces,
    /// Verifies tokens.
    pub asks: Asks,
    /// The page of the person at this machine, if it is served.
    pub house: Option<House>,
    /// The path that echoes, for the conformance suite.
    pub echo: Option<String>,
}

/// A pool that runs.
#[derive(Debug)]
pub struct Started {
    /// Its handle.
    pub pool: Pool,
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its threads.
    pub threads: Vec<JoinHandle<()>>,
}

/// A worker does not answer: it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker does not answer")]
pub struct Unavailable;

impl Pool {
    /// Starts as many workers as the CPUs that the process may use (affinity, cgroup quota).
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened on.
    pub fn start(start: Start) -> std::io::Result<Started> {
        let Start { listen, settings, metrics, traces, asks, house, echo } = start;
        let count = std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(WorkerSet::WORKERS_MAX);
        let listeners = listen::bind(listen, count)?;
        let address = listeners.first().map_or(Ok(listen), std::net::TcpListener::local_addr)?;
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(MAILBOX)).unzip();
        let spec = settings.spec();
        let history_bytes =
            usize::try_from(spec.broker.history_bytes.bytes()).unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            began: Instant::now(),
            homes: Homes::new(count),
            names: Names::new(fastrand::u32(..)),
            history_bytes: HistoryBytes::new(history_bytes, count),
            load: Load::new(&spec.limits, 1),
            handshake_over: Notify::new(),
            metrics,
            traces,
            asks,
            revocations: RwLock::default(),
            settings: ArcSwap::new(settings),
            is_draining: false.into(),
            house,
            echo,
            workers: mailboxes.into_iter().map(Side::new).collect(),
        });
        let mut threads = Vec::new();
        for (index, (listener, inbox)) in listeners.into_iter().zip(inboxes).enumerate() {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || run::work(index, shared, listener, inbox))?);
        }
        Ok(Started { pool: Self { shared }, address, threads })
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Takes a configuration into use on every worker.
    pub async fn configure(&self, settings: &Arc<Settings>) {
        self.shared.settings.store(Arc::clone(settings));
        self.tell(|| Command::Configure(Arc::clone(settings))).await;
    }

    async fn tell(&self, command: impl Fn() -> Command) {
        for side in &self.shared.workers {
            // A worker that has stopped has nothing to be told.
            let _ = side.mailbox.send(Message::Command(command())).await;
        }
    }

    /// Closes everybody, spread over the period, and waits until they are gone, or for a moment
    /// longer than the period. What is left then is cut off.
    pub async fn drain(&self, period: Duration) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.tell(|| Command::Drain(period)).await;
        let deadline = Instant::now() + period + DRAIN_MORE;
        while self.shared.load.connections() > 0 && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }

    /// Closes everything that is left, and has the workers end.
    pub async fn stop(&self) {
        self.tell(|| Command::Stop).await;
    }

    async fn ask_home<T>(
        &self,
        topic: &Topic,
        message: impl FnOnce(Asker<T>) -> Message,
    ) -> Result<T, Unavailable> {
        let (done, answer) = oneshot::channel();
        let home = self.shared.workers.get(self.shared.homes.of(topic)).ok_or(Unavailable)?;
        home.mailbox.send(message(Asker::Api(done))).await.map_err(|_| Unavailable)?;
        answer.await.map_err(|_| Unavailable)
    }

    async fn ask_all<T>(
        &self,
        command: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Result<Vec<T>, Unavailable> {
        let mut answers = Vec::new();
        for side in &self.shared.workers {
            let (done, answer) = oneshot::channel();
            let message = Message::Command(command(done));
            side.mailbox.send(message).await.map_err(|_| Unavailable)?;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await.map_err(|_| Unavailable)?);
        }
        Ok(all)
    }

    async fn count(
        &self,
        command: impl Fn(oneshot::Sender<usize>) -> Command,
    ) -> Result<usize, Unavailable> {
        Ok(self.ask_all(command).await?.iter().sum())
    }

    /// Publishes; back when it is handed to every worker, and kept where the topic has history.
    pub async fn publish(&self, publish: Publish) -> Result<Option<Position>, Unavailable> {
        let topic = publish.topic.clone();
        self.ask_home(&topic, |asker| Message::Publish(publish, asker)).await
    }

    /// A page of a topic's history.
    pub async fn history(
        &self,
        topic: Topic,
        since: Option<ClientPosition>,
        limit: usize,
    ) -> Result<Result<HistoryPage, HistoryError>, Unavailable> {
        let question = HistoryQuestion { topic: topic.clone(), since, limit };
        self.ask_home(&topic, |asker| Message::History(question, asker)).await
    }

    /// Who is in a channel.
    pub async fn presence(&self, topic: &Topic) -> Result<Members, Unavailable> {
        self.ask_home(topic, |asker| Message::Presence(topic.clone(), asker)).await
    }

    /// Closes connections; how many.
    pub async fn disconnect(&self, target: &Target, ending: &Ending) -> Result<usize, Unavailable> {
        self.count(|done| Command::Disconnect(target.clone(), ending.clone(), done)).await
    }

    /// Sends something to one connection; whether it is here.
    pub async fn send(&self, connection: &str, data: &Bytes) -> Result<bool, Unavailable> {
        let Some(key) = self.shared.names.key(connection) else { return Ok(false) };
        let all = self.ask_all(|done| Command::Send(key, data.clone(), done)).await?;
        Ok(all.contains(&true))
    }

    /// Subscribes the connections of a user, or ends their subscriptions; how many there are.
    pub async fn subscribe(
        &self,
        user: &Arc<str>,
        topic: &Topic,
        is_on: IsOn,
    ) -> Result<usize, Unavailable> {
        self.count(|done| Command::Subscribe(Arc::clone(user), topic.clone(), is_on, done)).await
    }

    /// Revokes a token or a user until `expires`; how many connections ended.
    pub async fn revoke(
        &self,
        revoked: &Revoked,
        expires: u64,
        now: u64,
    ) -> Result<Result<usize, Full>, Unavailable> {
        // Before those who are here go, so that none of them comes back in between.
        let added = self.shared.revocations.write().add(revoked.clone(), expires, now);
        if let Err(full) = added {
            return Ok(Err(full));
        }
        self.count(|done| Command::Revoke(revoked.clone(), done)).await.map(Ok)
    }

    /// Every connection, by name.
    pub async fn connections(&self) -> Result<Vec<ConnectionView>, Unavailable> {
        let mut all: Vec<_> =
            self.ask_all(Command::Connections).await?.into_iter().flatten().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Every channel with subscribers or history, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Unavailable> {
        let mut all = BTreeMap::<Topic, ChannelView>::new();
        for view in self.ask_all(Command::Channels).await?.into_iter().flatten() {
            match all.get_mut(&view.topic) {
                Some(known) => {
                    known.subscribers += view.subscribers;
                    known.position = known.position.or(view.position);
                }
                None => drop(all.insert(view.topic.clone(), view)),
            }
        }
        Ok(all.into_values().collect())
    }
}
