//! The broker between pods, from the first attempt to reach it.

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use async_nats::SubscribeError;
use headgate_crds::v1alpha1::BrokerKind;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::error;

use super::{fleet, local::Local};
use crate::{
    broker::nats::{
        link::{Link, Notice, Route, link},
        names,
        wire::Dropped,
    },
    cli::exit,
    config::Config,
    nats::{self, Start, State, plane::Plane},
    telemetry::metrics::Metrics,
    worker::key::Names,
};

/// A broker that is there, and what the workers need of it.
#[derive(Debug)]
pub struct Shared {
    /// How it is asked.
    pub broker: nats::Broker,
    /// What the workers' homes ask.
    pub link: Link,
    /// When the time of both began.
    pub began: Instant,
    route: Arc<OnceLock<Route>>,
}

impl Shared {
    /// The workers are there: from now on they are told what comes, and this pod is one of the
    /// gateway's. It is ready when it has [met](Plane::meet) the others.
    ///
    /// # Errors
    ///
    /// Where the connection was closed for good.
    pub async fn join(
        &self,
        local: &Local,
        tasks: &mut JoinSet<()>,
    ) -> Result<Plane, SubscribeError> {
        let route = local.pool.route();
        // Nobody is subscribed before that, so nothing came.
        let _ = self.route.set(route.clone());
        let nats::Broker { client, names, plane: joined, .. } = &self.broker;
        let counts = Arc::clone(&local.metrics);
        let dropped = Arc::new(move |it: Dropped| counts.broker_drop(it.label()));
        let plane = fleet::join(client.clone(), names.clone(), local, dropped, tasks).await?;
        let _ = joined.set(plane.clone());
        tasks.spawn(watch_holes(plane.holes(), Arc::clone(&self.broker.missed)));
        let state = self.broker.state.clone();
        tasks.spawn(watch_pods(plane.alive(), state, route, Arc::clone(&local.metrics)));
        Ok(plane)
    }
}

/// Tells the workers which pods are lost, and counts those that can be reached.
async fn watch_pods(
    mut alive: watch::Receiver<Vec<Arc<str>>>,
    mut state: watch::Receiver<State>,
    route: Route,
    metrics: Arc<Metrics>,
) {
    let mut before = Vec::new();
    loop {
        let now = alive.borrow_and_update().clone();
        // Without the broker nothing is known of the others, and each pod is alone with its clients.
        let is_connected = *state.borrow_and_update() == State::Connected;
        let others = if is_connected { now.len() } else { 0 };
        metrics.broker_pods.set(i64::try_from(others + 1).unwrap_or(i64::MAX));
        for lost in before.iter().filter(|it| !now.contains(it)) {
            route.tell(Notice::PodLost(Arc::clone(lost)));
        }
        before = now;
        let changed = tokio::select! {
            changed = alive.changed() => changed,
            changed = state.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Has everything asked for again where beats of another pod are missing: what it published then may be
/// missing too.
async fn watch_holes(mut holes: watch::Receiver<u64>, missed: Arc<Notify>) {
    while holes.changed().await.is_ok() {
        missed.notify_one();
    }
}

/// Connects where pods share a broker; back when it was there once. `None` with the Memory broker.
///
/// Safe to cancel: what was begun ends with `tasks`.
///
/// # Errors
///
/// With the code to exit with, where the broker cannot even be tried.
pub async fn start(
    config: &watch::Receiver<Arc<Config>>,
    pod: Names,
    metrics: &Arc<Metrics>,
    told: &watch::Sender<Option<nats::Broker>>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<Shared>, ExitCode> {
    let now = Arc::clone(&config.borrow());
    if now.spec.broker.kind == BrokerKind::Memory {
        return Ok(None);
    }
    let began = Instant::now();
    let (link, orders) = link();
    let route = Arc::new(OnceLock::<Route>::new());
    let to = Arc::clone(&route);
    let start = Start {
        names: names::Names::new(&now.namespace, &now.name),
        pod: pod.process(),
        config: config.clone(),
        orders,
        route: Route::new(move |notice| {
            if let Some(route) = to.get() {
                route.tell(notice);
            }
        }),
        metrics: Arc::clone(metrics),
        began,
    };
    let broker = nats::start(start, tasks).await.map_err(|error| {
        // Only what is no address at all, which `check` refuses.
        error!(event = "broker_unusable", %error, "NATS cannot be connected to");
        ExitCode::from(exit::INTERNAL)
    })?;
    told.send_replace(Some(broker.clone()));
    let mut state = broker.state.clone();
    // The sender lives as long as the process.
    let _ = state.wait_for(|it| *it == State::Connected).await;
    Ok(Some(Shared { broker, link, began, route }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    async fn becomes(metrics: &Metrics, pods: i64) {
        let seen = async {
            while metrics.broker_pods.get() != pods {
                tokio::task::yield_now().await;
            }
        };
        let seen = timeout(Duration::from_secs(5), seen).await;
        assert!(seen.is_ok(), "{} pods instead of {pods} after 5 s", metrics.broker_pods.get());
    }

    #[tokio::test]
    async fn a_pod_without_the_broker_counts_itself_alone_and_takes_nobody_for_lost() {
        let others: Vec<Arc<str>> = vec!["a".into(), "b".into()];
        let (alive, alive_seen) = watch::channel(others);
        let (state, state_seen) = watch::channel(State::Connected);
        let (told, mut notices) = mpsc::channel(8);
        let route = Route::new(move |notice| told.try_send(notice).unwrap());
        let metrics = Arc::new(Metrics::new());
        let watching = watch_pods(alive_seen, state_seen, route, Arc::clone(&metrics));
        let watching = tokio::spawn(watching);
        becomes(&metrics, 3).await;

        state.send_replace(State::Lost);
        becomes(&metrics, 1).await;
        state.send_replace(State::Connected);
        becomes(&metrics, 3).await;
        assert!(notices.try_recv().is_err());

        alive.send_replace(vec!["b".into()]);
        becomes(&metrics, 2).await;
        assert!(matches!(notices.try_recv(), Ok(Notice::PodLost(pod)) if *pod == *"a"));

        drop(alive);
        assert!(timeout(Duration::from_secs(5), watching).await.is_ok(), "it ends within 5 s");
    }
}
