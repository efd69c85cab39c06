//! The way out: signals, the grace, the closes.

use std::time::{Duration, SystemTime};

use headgate_crds::v1alpha1::{BrokerKind, RealtimeGatewaySpec};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{error, info};

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

/// The signals that end the process. Made once, before anything else: one that comes while nobody
/// waits for it is not lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> Self {
        // A stream that cannot be had never signals.
        let stream = |kind| {
            signal(kind)
                .inspect_err(|error| error!(event = "signal_failed", %error, "cannot listen"))
                .ok()
        };
        Self {
            terminate: stream(SignalKind::terminate()),
            interrupt: stream(SignalKind::interrupt()),
        }
    }

    /// Waits for SIGTERM or Ctrl-C.
    pub async fn any(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

async fn next(stream: &mut Option<Signal>) {
    match stream {
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}

/// Stays ready through the grace, then closes everybody; a Ctrl-C meanwhile ends at once.
///
/// Another SIGTERM changes nothing: kubelet may repeat it, and tokio's handler stays.
pub async fn drain(
    pool: &Pool,
    phase: &watch::Sender<Phase>,
    spec: &RealtimeGatewaySpec,
    signals: &mut Signals,
) {
    let grace = spec.drain.endpoint_grace.get();
    let period = match spec.broker.kind {
        BrokerKind::Memory => spec.drain.period.get().min(MEMORY_PERIOD),
        BrokerKind::Nats => spec.drain.period.get(),
    };
    tokio::select! {
        () = close(pool, phase, grace, period) => {}
        () = next(&mut signals.interrupt) => info!(event = "drain_cut_short", "Ctrl-C: the rest is closed now"),
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

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_while_nobody_waits_is_not_lost() {
        let mut signals = Signals::listen();
        drop(signals.any());

        kill_process(getpid(), Signal::TERM).unwrap();
        tokio::task::yield_now().await;

        let told = timeout(Duration::from_secs(5), signals.any()).await;
        assert!(told.is_ok(), "SIGTERM was not told within 5 s");
    }
}
