//! The way out: signals, the grace, the closes.

use std::time::{Duration, SystemTime};

use headgate_crds::v1alpha1::{BrokerKind, RealtimeGatewaySpec};
use tokio::{signal::unix::SignalKind, sync::watch};
use tracing::info;

use super::stream;
use crate::worker::pool::Pool;

/// With the Memory broker who has moved is in another hub, so nobody is kept waiting.
const MEMORY_PERIOD: Duration = Duration::from_secs(10);

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something that is needed is not there yet.
    Starting,
    /// Connections are taken.
    Serving,
    /// Connections are still taken, until load balancers know.
    Grace {
        /// When what is left is cut off.
        deadline: SystemTime,
    },
    /// Connections are closed.
    Closing {
        /// When what is left is cut off.
        deadline: SystemTime,
    },
    /// Nothing is left.
    Done,
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn signalled() {
    let (Some(mut terminate), Some(mut interrupt)) =
        (stream(SignalKind::terminate()), stream(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Stays ready through the grace, then closes everybody; a Ctrl-C meanwhile ends at once.
///
/// Another SIGTERM changes nothing: kubelet may repeat it, and tokio's handler stays.
pub async fn drain(pool: &Pool, phase: &watch::Sender<Phase>, spec: &RealtimeGatewaySpec) {
    let grace = spec.drain.endpoint_grace.get();
    let period = match spec.broker.kind {
        BrokerKind::Memory => spec.drain.period.get().min(MEMORY_PERIOD),
        BrokerKind::Nats => spec.drain.period.get(),
    };
    let interrupt = async {
        match stream(SignalKind::interrupt()) {
            Some(mut interrupt) => drop(interrupt.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = close(pool, phase, grace, period) => {}
        () = interrupt => info!(event = "drain_cut_short", "Ctrl-C: the rest is closed now"),
    }
    pool.stop().await;
    phase.send_replace(Phase::Done);
    info!(event = "drain_done", "drained");
}

async fn close(pool: &Pool, phase: &watch::Sender<Phase>, grace: Duration, period: Duration) {
    let deadline = SystemTime::now() + grace + period;
    info!(
        event = "drain_grace",
        grace_ms = millis(grace),
        "going away: still accepting (Ctrl-C ends it now)"
    );
    phase.send_replace(Phase::Grace { deadline });
    tokio::time::sleep(grace).await;
    phase.send_replace(Phase::Closing { deadline });
    let connections = pool.shared.load.connections();
    info!(event = "drain_started", connections, period_ms = millis(period), "draining");
    pool.drain(period).await;
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
