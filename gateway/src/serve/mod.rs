//! The server, from its first file to its last client: wires the rooms, and awaits every task.

mod drain;
mod node;
mod page;
mod status;
mod window;

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{error, info};

use self::{
    drain::Phase,
    node::{Node, Running},
    page::Page,
};
use crate::{
    api::{Internal, server},
    cli::{
        Serve, complain, exit,
        start::{Base, capacity, follow, start},
    },
    auth::token::Verifier,
    config::Config,
    jwks,
    telemetry::trace::Traces,
    worker::{
        pool::{Pool, Start, Started},
        settings::Settings,
    },
};

/// How long the last spans may take to the collector.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How often it is looked whether the workers are alive.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Serves until a signal has drained it.
pub async fn serve(options: Serve) -> ExitCode {
    let base = match start(&options) {
        Ok(base) => base,
        Err(code) => return code,
    };
    let Base { log, watched, metrics, traces, otlp, files_max, mut essential, sending } = base;
    let Some(internal) = bind(&options).await else {
        return ExitCode::from(exit::UNAVAILABLE);
    };
    let internal_address = internal.local_addr().unwrap_or(options.internal_listen);
    let (console, house) = match page::console(options.console, internal_address) {
        Ok(both) => both,
        Err(error) => {
            complain(&error);
            return ExitCode::from(exit::USAGE);
        }
    };
    let document = &watched.document;
    info!(
        event = "starting",
        version = env!("CARGO_PKG_VERSION"),
        gateway = document.name,
        namespace = document.namespace,
        internal = %internal_address,
        "starting"
    );
    let (phase, phase_seen) = watch::channel(Phase::Starting);
    let (running, running_seen) = watch::channel(None);
    let full = window::watch(Arc::clone(&metrics), &mut essential);
    let node = Arc::new(Node {
        document: Arc::clone(document),
        state: watched.state.clone(),
        running: running_seen,
        phase: phase_seen,
        full,
        metrics: Arc::clone(&metrics),
        traces: traces.clone(),
        log: log.handle(),
        began: tokio::time::Instant::now(),
    });
    let page = Page { routes: Internal::new(node), console: console.clone() };
    let answer = move |request| page.clone().answer(request);
    essential.spawn(server::serve(internal, answer, std::future::pending()));
    let config = tokio::select! {
        config = watched.complete() => config,
        () = drain::signalled() => return ExitCode::SUCCESS,
    };
    let Some(config) = config else { return ExitCode::from(exit::INTERNAL) };
    essential.spawn(follow(config.clone(), log.handle(), otlp));

    let (keys, keep) = jwks::keep(config.clone());
    essential.spawn(keep.run());
    let settings = settings(&config, &keys.verifier, files_max);
    let started = Pool::start(Start {
        listen: options.listen,
        settings,
        metrics,
        traces: traces.clone(),
        asks: keys.asks.clone(),
        house,
        echo: options.conformance_echo,
    });
    let Started { pool, address, threads } = match started {
        Ok(started) => started,
        Err(error) => {
            error!(event = "bind_failed", address = %options.listen, %error, "cannot listen");
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    essential.spawn(apply(pool.clone(), config.clone(), keys.verifier.clone(), files_max));
    essential.spawn(alive(pool.clone()));
    running.send_replace(Some(Running {
        pool: pool.clone(),
        config: config.clone(),
        public: address,
        keys: keys.state.clone(),
    }));
    phase.send_replace(Phase::Serving);
    info!(
        event = "listening",
        public = %address,
        internal = %internal_address,
        workers = threads.len(),
        "listening"
    );
    info!(event = "ready", "ready");
    if let Some(console) = &console {
        info!(event = "console", url = console.url(), "open this page in a browser");
    }

    tokio::select! {
        () = drain::signalled() => {}
        _ = essential.join_next() => {
            error!(event = "failed", "a task that must not end has ended");
            return ExitCode::from(exit::INTERNAL);
        }
    }
    let config = config.borrow().clone();
    drain::drain(&pool, &phase, &config.spec).await;
    for thread in threads {
        // Joining waits, so it is done where waiting is allowed; a panic was logged by its hook.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    finish(traces, pool, running, sending).await;
    info!(event = "stopped", "stopped");
    ExitCode::SUCCESS
}

/// Lets the last spans out: the sender ends when nobody makes any more.
async fn finish(
    traces: Traces,
    pool: Pool,
    running: watch::Sender<Option<Running>>,
    sending: tokio::task::JoinHandle<()>,
) {
    running.send_replace(None);
    drop((traces, pool));
    let _ = tokio::time::timeout(LAST_SPANS, sending).await;
}

async fn bind(options: &Serve) -> Option<TcpListener> {
    let address = options.internal_listen;
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            error!(event = "bind_failed", %address, %error, "cannot listen");
            None
        }
    }
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

/// A signal stream that cannot be had never signals.
fn stream(kind: SignalKind) -> Option<tokio::signal::unix::Signal> {
    signal(kind).inspect_err(|error| error!(event = "signal_failed", %error, "cannot listen")).ok()
}
