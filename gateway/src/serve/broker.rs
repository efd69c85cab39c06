//! The broker between pods, from the first attempt to reach it.

use std::sync::{Arc, OnceLock};

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

/// Begins to connect where pods share a broker. `None` with the Memory broker.
pub async fn start(
    config: &watch::Receiver<Arc<Config>>,
    pod: Names,
    metrics: &Arc<Metrics>,
    began: Instant,
    tasks: &mut JoinSet<()>,
) -> Option<Shared> {
    let now = Arc::clone(&config.borrow());
    if now.spec.broker.kind == BrokerKind::Memory {
        return None;
    }
    let (link, orders) = link();
    let route = Arc::new(OnceLock::<Route>::new());
    let told = Arc::clone(&route);
    let start = Start {
        names: names::Names::new(&now.namespace, &now.name),
        pod: pod.process(),
        config: config.clone(),
        orders,
        route: Route::new(move |notice| {
            if let Some(route) = told.get() {
                route.tell(notice);
            }
        }),
        metrics: Arc::clone(metrics),
        began,
    };
    match nats::start(start, tasks).await {
        Ok(broker) => Some(Shared { broker, link, route }),
        Err(error) => {
            // Only what is no address at all, which `check` refuses.
            error!(event = "broker_unusable", %error, "NATS cannot be connected to");
            None
        }
    }
}

/// Waits until the broker was there once.
pub async fn reached(shared: &Shared) {
    let mut state = shared.broker.state.clone();
    // The sender lives as long as the process.
    let _ = state.wait_for(|it| *it == State::Connected).await;
}
