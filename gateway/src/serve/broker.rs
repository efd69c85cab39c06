//! The broker between pods, from the first attempt to reach it.

use std::sync::{Arc, OnceLock};

use headgate_crds::v1alpha1::BrokerKind;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::error;

use crate::{
    broker::nats::{
        link::{Link, Route, link},
        names,
    },
    config::Config,
    nats::{self, Start, State},
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
    /// The workers are there: from now on they are told what comes.
    pub fn tell(&self, route: Route) {
        // Nobody is subscribed before that, so nothing came.
        let _ = self.route.set(route);
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
