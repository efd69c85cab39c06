//! The server, from its first file to its last client.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::cli::{
    Serve, exit,
    start::{Base, follow, start},
};

/// Serves until SIGTERM or Ctrl-C.
pub async fn serve(options: Serve) -> ExitCode {
    let Base { log, watched, otlp, mut essential, traces, sending, .. } = match start(&options) {
        Ok(base) => base,
        Err(code) => return code,
    };
    let handle = log.handle();
    essential.spawn(async move {
        if let Some(config) = watched.complete().await {
            follow(config, handle, otlp).await;
        }
    });
    let code = tokio::select! {
        () = stop() => ExitCode::SUCCESS,
        _ = essential.join_next() => {
            error!(event = "failed", "a task that must not end has ended");
            ExitCode::from(exit::INTERNAL)
        }
    };
    drop(traces);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), sending).await;
    info!(event = "stopped", "stopped");
    code
}

async fn stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
