//! All workers, as the rest of the process sees them.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    key::Names,
    listen,
    message::{Command, Heard, Message},
    run,
    settings::Settings,
    shared::{House, Shared, Side},
};
use crate::{
    admission::load::Load,
    broker::{
        HistoryBytes, Homes, WorkerSet,
        nats::link::{Link, Notice, Route},
    },
    jwks::Asks,
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
    /// The broker between pods, if there is one.
    pub link: Option<Link>,
    /// How connections are called.
    pub names: Names,
    /// When the process's own time began.
    pub began: Instant,
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

impl Pool {
    /// Starts as many workers as the CPUs that the process may use (affinity, cgroup quota).
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened on.
    pub fn start(start: Start) -> std::io::Result<Started> {
        let Start { listen, settings, metrics, traces, asks, house, echo, link, names, began } =
            start;
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
            began,
            link,
            homes: Homes::new(count),
            names,
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
            behind: 0.into(),
        });
        let mut threads = Vec::new();
        for (index, (listener, inbox)) in listeners.into_iter().zip(inboxes).enumerate() {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            threads.push(thread.spawn(move || run::work(index, shared, listener, inbox))?);
        }
        Ok(Started { pool: Self { shared }, address, threads })
    }

    /// Takes a configuration into use on every worker.
    pub async fn configure(&self, settings: &Arc<Settings>) {
        self.shared.settings.store(Arc::clone(settings));
        self.tell(|| Command::Configure(Arc::clone(settings))).await;
    }

    /// Where the broker between pods tells what it has to say.
    pub fn route(&self) -> Route {
        let shared = Arc::clone(&self.shared);
        Route::new(move |notice| {
            let topic = match &notice {
                Notice::Came(topic, _)
                | Notice::Listening(topic, _)
                | Notice::Settled(topic, _)
                | Notice::Refused(topic, _)
                | Notice::Roster(topic, _) => topic.clone(),
                Notice::PodLost(_) | Notice::Lost | Notice::Back { .. } => {
                    for worker in 0..shared.workers.len() {
                        let heard = Heard::Notice(notice.clone());
                        shared.send(worker, Message::Heard(heard));
                    }
                    return;
                }
            };
            shared.to_home(&topic, Message::Heard(Heard::Notice(notice)));
        })
    }

    pub(super) async fn tell(&self, command: impl Fn() -> Command) {
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
}
