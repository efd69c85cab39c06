//! The broker between pods, from the first attempt to reach it.

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use async_nats::SubscribeError;
use headgate_crds::v1alpha1::BrokerKind;
use tokio::{sync::watch, task::JoinSet, time::Instant};
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
        tasks.spawn(watch_pods(plane.alive(), route, Arc::clone(&local.metrics)));
        Ok(plane)
    }
}

/// Tells the workers which pods are lost.
async fn watch_pods(
    mut alive: watch::Receiver<Vec<Arc<str>>>,
    route: Route,
    metrics: Arc<Metrics>,
) {
    let mut before = Vec::new();
    loop {
        let now = alive.borrow_and_update().clone();
        // This one is not among them.
        metrics.broker_pods.set(i64::try_from(now.len() + 1).unwrap_or(i64::MAX));
        for lost in before.iter().filter(|it| !now.contains(it)) {
            route.tell(Notice::PodLost(Arc::clone(lost)));
        }
        before = now;
        if alive.changed().await.is_err() {
            return;
        }
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
