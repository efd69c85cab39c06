//! The server, from its first file to its last client: wires the rooms, and awaits every task.

mod broker;
mod drain;
mod fleet;
mod local;
mod node;
mod page;
mod status;
mod window;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{self, JoinSet},
    time::Instant,
};
use tracing::{error, info};

use self::{
    drain::{Phase, Signals},
    local::Local,
    node::{Node, Running},
    page::Page,
};
use crate::{
    api::{Internal, server},
    auth::token::Verifier,
    cli::{
        Serve, complain, exit,
        start::{Base, capacity, follow, start},
    },
    config::{Config, document::Document},
    console::Console,
    jwks,
    nats::{self, plane::Plane},
    worker::{
        key::Names,
        pool::{Pool, Start, Started},
        settings::Settings,
        shared::House,
    },
};

/// How long the last spans may take to the collector.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How often it is looked whether the workers are alive.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Serves until a signal has drained it.
pub async fn serve(options: Serve) -> ExitCode {
    match try_serve(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

async fn try_serve(options: Serve) -> Result<(), ExitCode> {
    let mut signals = Signals::listen();
    let mut base = start(&options)?;
    let port = Port::open(&options, &mut base).await?;
    let Base { log, watched, metrics, traces, otlp, files_max, mut essential, sending } = base;

    let config = tokio::select! {
        config = watched.complete() => config.ok_or_else(|| ExitCode::from(exit::INTERNAL))?,
        () = signals.any() => return Ok(()),
    };
    let names = Names::new(fastrand::u32(..));
    let shared = tokio::select! {
        shared = broker::start(&config, names, &metrics, &port.broker, &mut essential) => shared?,
        () = signals.any() => return Ok(()),
    };
    let (keys, keep) = jwks::keep(config.clone());
    let Started { pool, address, threads } = listen(Start {
        listen: options.listen,
        settings: settings(&config, &keys.verifier, files_max),
        metrics: Arc::clone(&metrics),
        traces,
        asks: keys.asks.clone(),
        house: port.house,
        echo: options.conformance_echo,
        link: shared.as_ref().map(|it| it.link.clone()),
        names,
        began: shared.as_ref().map_or_else(Instant::now, |it| it.began),
    })?;
    essential.spawn(follow(config.clone(), log.handle(), otlp));
    essential.spawn(keep.run());
    let local = Local { pool: pool.clone(), metrics };
    let plane = tokio::select! {
        plane = join(shared.as_ref(), &local, &mut essential) => plane?,
        () = signals.any() => return Ok(()),
    };
    let nats = shared.map(|it| it.broker);
    essential.spawn(apply(pool.clone(), config.clone(), keys.verifier.clone(), files_max, nats));
    let alive = essential.spawn(alive(pool.clone()));
    let now = Running { pool, config, public: address, keys: keys.state.clone(), plane };
    port.running.send_replace(Some(now.clone()));
    port.phase.send_replace(Phase::Serving);
    log_ready(address, port.address, threads.len(), port.console.as_deref());

    tokio::select! {
        () = signals.any() => {}
        _ = essential.join_next() => {
            error!(event = "failed", "a task that must not end has ended");
            return Err(ExitCode::from(exit::INTERNAL));
        }
    }
    // From here on workers end because they are told to.
    alive.abort();
    now.leave(&port.phase, &mut signals).await;
    let ending = Ending { pool: now.pool, threads, running: port.running, essential, sending };
    ending.end().await;
    Ok(())
}

/// The internal port, which answers from the start, and what it is told.
struct Port {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    running: watch::Sender<Option<Running>>,
    broker: watch::Sender<Option<nats::Broker>>,
    console: Option<Arc<Console>>,
    house: Option<House>,
}

impl Port {
    async fn open(options: &Serve, base: &mut Base) -> Result<Self, ExitCode> {
        let listener = bind(options.internal_listen).await?;
        let address = listener.local_addr().unwrap_or(options.internal_listen);
        let (console, house) = page::console(options.console, address).map_err(|error| {
            complain(&error);
            ExitCode::from(exit::USAGE)
        })?;
        log_start(&base.watched.document, address);
        let (phase, phase_seen) = watch::channel(Phase::Starting);
        let (running, running_seen) = watch::channel(None);
        let (broker, broker_seen) = watch::channel(None);
        let node = Node {
            document: Arc::clone(&base.watched.document),
            state: base.watched.state.clone(),
            running: running_seen,
            phase: phase_seen,
            full: window::watch(Arc::clone(&base.metrics), &mut base.essential),
            metrics: Arc::clone(&base.metrics),
            traces: base.traces.clone(),
            log: base.log.handle(),
            began: Instant::now(),
            broker: broker_seen,
        };
        let page = Page { routes: Internal::new(Arc::new(node)), console: console.clone() };
        let answer = move |request| page.clone().answer(request);
        base.essential.spawn(server::serve(listener, answer, std::future::pending()));
        Ok(Self { address, phase, running, broker, console, house })
    }
}

impl Running {
    /// Lets the clients go, then tells the other pods.
    async fn leave(&self, phase: &watch::Sender<Phase>, signals: &mut Signals) {
        let spec = Arc::clone(&self.config.borrow().spec);
        drain::drain(&self.pool, phase, &spec, signals).await;
        if let Some(plane) = &self.plane {
            plane.bye().await;
        }
    }
}

/// What is left when everybody has gone.
struct Ending {
    pool: Pool,
    threads: Vec<JoinHandle<()>>,
    running: watch::Sender<Option<Running>>,
    essential: JoinSet<()>,
    sending: task::JoinHandle<()>,
}

impl Ending {
    async fn end(mut self) {
        for thread in self.threads {
            // Joining waits, so it is done where waiting is allowed; a panic was told by its hook.
            let _ = task::spawn_blocking(move || thread.join()).await;
        }
        // With everybody gone who makes spans, the sender sends the last ones and ends.
        self.running.send_replace(None);
        self.essential.shutdown().await;
        drop(self.pool);
        // A collector that is too slow by now misses them.
        let _ = tokio::time::timeout(LAST_SPANS, self.sending).await;
        info!(event = "stopped", "stopped");
    }
}

fn log_start(document: &Document, internal: SocketAddr) {
    info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        gateway = document.name,
        namespace = document.namespace,
        %internal,
        "starting"
    );
}

fn log_ready(public: SocketAddr, internal: SocketAddr, workers: usize, console: Option<&Console>) {
    info!(event = "listening", %public, %internal, workers, "listening");
    info!(event = "ready", "ready");
    if let Some(console) = console {
        info!(event = "console", url = console.url(), "open this page in a browser");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ExitCode> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

fn listen(start: Start) -> Result<Started, ExitCode> {
    let address = start.listen;
    Pool::start(start).map_err(|error| cannot_listen(address, &error))
}

/// Has this pod be one of the gateway's, where pods share a broker; back when it knows the others.
async fn join(
    shared: Option<&broker::Shared>,
    local: &Local,
    tasks: &mut JoinSet<()>,
) -> Result<Option<Plane>, ExitCode> {
    let Some(shared) = shared else { return Ok(None) };
    let plane = shared.join(local, tasks).await.map_err(|error| {
        error!(event = "broker_unusable", %error, "NATS cannot be connected to");
        ExitCode::from(exit::INTERNAL)
    })?;
    plane.meet().await;
    Ok(Some(plane))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> ExitCode {
    error!(event = "bind_failed", %address, %error, "cannot listen");
    ExitCode::from(exit::UNAVAILABLE)
}

fn settings(
    config: &watch::Receiver<Arc<Config>>,
    verifier: &watch::Receiver<Arc<Verifier>>,
    files_max: Option<u64>,
) -> Arc<Settings> {
    let config = Arc::clone(&config.borrow());
    let capacity = capacity(&config, files_max);
    Arc::new(Settings::new(config, Arc::clone(&verifier.borrow()), capacity))
}

/// Keeps the workers at the configuration and its keys, until it is gone.
async fn apply(
    pool: Pool,
    mut config: watch::Receiver<Arc<Config>>,
    mut verifier: watch::Receiver<Arc<Verifier>>,
    files_max: Option<u64>,
    nats: Option<nats::Broker>,
) {
    loop {
        let changed = tokio::select! {
            changed = config.changed() => changed,
            changed = verifier.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        config.mark_unchanged();
        verifier.mark_unchanged();
        if let Some(nats) = &nats {
            // What a rule keeps has a place before anybody publishes by the rule.
            let config = Arc::clone(&config.borrow());
            nats.prepare(&config).await;
        }
        pool.configure(&settings(&config, &verifier, files_max)).await;
    }
}

/// Ends when a worker has.
async fn alive(pool: Pool) {
    let mut ticks = tokio::time::interval(ALIVE_EVERY);
    while !pool.shared.has_dead_worker() {
        ticks.tick().await;
    }
    error!(event = "worker_dead", "a worker has stopped");
}
