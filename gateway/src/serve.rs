//! Wires the rooms: configuration, workers, the internal port, signals and the drain.

use std::{process::ExitCode, sync::Arc, time::Duration};

use headgate_crds::v1alpha1::LogLevel;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::{
    api::{router::{Phase, Router}, server},
    cli::{Serve, exit},
    config::load::{self, LoadError, Source, State},
    telemetry::log::Log,
    worker::pool::Pool,
};

/// Files that are not connections: listeners, runtimes, logs.
const FILES_RESERVED: u64 = 128;

/// With the Memory broker who has moved is in another hub, so nobody is kept waiting.
const MEMORY_DRAIN_MS: u64 = 10_000;

/// Serves until a signal has drained it.
pub async fn serve(options: Serve, log: Log) -> ExitCode {
    let source = Source { manifest: options.manifest.clone(), secrets: options.secrets.clone() };
    let mut first = State::default();
    let loaded = load::load(&source);
    // A Secret may appear later; a manifest that is wrong at start is somebody's mistake now.
    if let Err(refused @ (LoadError::Manifest(..) | LoadError::Refused(_))) = &loaded {
        error!(event = "config_refused", error = %refused, "cannot start");
        return ExitCode::from(exit::REFUSED);
    }
    load::apply(&mut first, loaded);
    let files_max = raise_files();
    let (state_tx, state) = watch::channel(first);
    let (phase_tx, phase) = watch::channel(Phase::Starting);
    let (pool_tx, pool) = watch::channel(None);
    let internal = match TcpListener::bind(options.internal_listen).await {
        Ok(internal) => internal,
        Err(error) => {
            error!(event = "bind_failed", address = %options.internal_listen, %error, "cannot listen");
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    let internal_address = internal.local_addr().unwrap_or(options.internal_listen);
    let router = Router { pool, state: state.clone(), phase, files_max };
    tokio::spawn(server::serve(internal, Arc::new(router)));
    tokio::spawn(load::watch(source, state_tx));
    tokio::spawn(follow_level(state.clone(), log));

    let mut ready = state.clone();
    let settings = tokio::select! {
        settings = ready.wait_for(|state| state.settings.is_some()) => match settings {
            Ok(state) => state.settings.clone(),
            Err(_) => None,
        },
        () = stop_signal() => return ExitCode::SUCCESS,
    };
    let Some(settings) = settings else { return ExitCode::from(exit::INTERNAL) };
    if settings.spec.max_connections as usize > files_max {
        warn!(event = "files_limit", files_max, wanted = settings.spec.max_connections, "the limit of open files is below maxConnections");
    }
    let (pool, public, threads) = match Pool::start(options.listen, settings, options.conformance_echo) {
        Ok(started) => started,
        Err(error) => {
            error!(event = "bind_failed", address = %options.listen, %error, "cannot listen");
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    tokio::spawn(pool.clone().follow(state.clone()));
    pool_tx.send_replace(Some(pool.clone()));
    phase_tx.send_replace(Phase::Serving);
    info!(event = "listening", %public, internal = %internal_address, workers = threads.len(), "listening");

    tokio::select! {
        () = stop_signal() => {}
        () = dead(&pool) => {
            error!(event = "worker_dead", "a worker has stopped; the process ends");
            return ExitCode::from(exit::INTERNAL);
        }
    }
    drain(&pool, &phase_tx, &state).await;
    for thread in threads {
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    info!(event = "stopped", "stopped");
    ExitCode::SUCCESS
}

/// Stays ready through the grace, then closes everybody.
async fn drain(pool: &Pool, phase: &watch::Sender<Phase>, state: &watch::Receiver<State>) {
    let settings = state.borrow().settings.clone();
    let (grace, period_ms) = settings.map_or((Duration::ZERO, 0), |it| {
        (it.spec.drain.endpoint_grace.get(), it.spec.drain.period.millis())
    });
    let period_ms = period_ms.min(MEMORY_DRAIN_MS);
    info!(event = "drain_grace", grace_ms = grace.as_millis(), "going away: still accepting");
    phase.send_replace(Phase::Leaving);
    if pool.shared.load.connections() > 0 || pool.shared.load.pending() > 0 || !grace.is_zero() {
        interruptible(tokio::time::sleep(grace)).await;
    }
    phase.send_replace(Phase::Draining);
    info!(event = "drain_started", connections = pool.shared.load.connections(), period_ms, "draining");
    interruptible(pool.drain(period_ms, |_| {})).await;
    info!(event = "drain_done", "drained");
}

/// Another SIGTERM changes nothing, another Ctrl-C ends the wait.
async fn interruptible(work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn stop_signal() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    // The handler stays: a repeated SIGTERM must not end the process.
    tokio::spawn(async move { while terminate.recv().await.is_some() {} });
}

async fn dead(pool: &Pool) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if pool.shared.has_dead_worker() {
            return;
        }
    }
}

async fn follow_level(mut state: watch::Receiver<State>, log: Log) {
    let level = |state: &State| state.settings.as_ref().map_or(LogLevel::info, |it| it.spec.telemetry.log_level);
    let mut current = LogLevel::info;
    loop {
        let wanted = level(&state.borrow_and_update());
        if wanted != current {
            current = wanted;
            log.set_level(wanted);
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Raises the limit of open files as far as it goes; returns how many connections that allows.
fn raise_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    usize::try_from(files.unwrap_or(u64::MAX).saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX)
}
