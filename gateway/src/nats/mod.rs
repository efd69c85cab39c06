//! The broker between pods, carried out: one connection to NATS, and what goes over it.
//!
//! The workers' homes give orders through a [`Link`](crate::broker::nats::link::Link), and hear what
//! comes through a [`Route`]. This room knows no worker. `life` looks after the connection, `streams`
//! after the streams; `interest` makes true what is wanted, `arrive` reads what comes, `read` what is
//! stored, and `publish` sends.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod arrive;
mod client;
mod echo;
mod interest;
mod keeper;
mod life;
mod newest;
mod past;
pub mod plane;
mod publish;
mod read;
pub mod refusal;
pub mod revocations;
mod shape;
mod store;
pub mod streams;
mod tried;

use std::{
    collections::VecDeque,
    future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client, ConnectError};
use futures_util::StreamExt as _;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

pub use self::life::State;
use self::{
    arrive::Arrivals,
    client::{Connecting, Events},
    echo::Echo,
    interest::{Interest, Listeners, Refusals, Wire},
    keeper::Keeper,
    life::Life,
    past::Past,
    plane::Plane,
    publish::Publisher,
    read::Reader,
    streams::{Bounds, Streams},
};
use crate::{
    broker::nats::{
        link::{Connected, Kept, Orders, Route, Wishes},
        names::Names,
    },
    config::Config,
    telemetry::metrics::Metrics,
};

/// How long a change of the configuration waits for its streams. NATS may be away for long, and the
/// rest of the configuration does not need it; what is not done then is not forgotten.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a broker begins with.
#[derive(Debug)]
pub struct Start {
    /// The gateway's names.
    pub names: Names,
    /// Which of its pods this is.
    pub pod: Arc<str>,
    /// The configuration; credentials are looked up in it.
    pub config: watch::Receiver<Arc<Config>>,
    /// What the workers ask.
    pub orders: Orders,
    /// Where to tell them what comes.
    pub route: Route,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// When the process's own time began.
    pub began: Instant,
}

/// A broker that runs.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The connection.
    pub client: Client,
    /// The gateway's names.
    pub names: Names,
    /// Which of its pods this is.
    pub pod: Arc<str>,
    /// How it is.
    pub state: watch::Receiver<State>,
    /// What the server complains of, while it does.
    pub complaint: watch::Receiver<Option<String>>,
    /// To be told when something may not have come although the connection holds.
    pub missed: Arc<Notify>,
    /// Why no server can be used, with the servers that were tried.
    pub unreachable: watch::Receiver<Option<String>>,
    /// The pods, once this one is among them.
    pub plane: Arc<OnceLock<Plane>>,
    streams: Arc<Streams>,
}

impl Broker {
    /// Makes what the rules of a configuration need, if that takes no longer than a moment.
    pub async fn prepare(&self, config: &Config) {
        // What is not done then is done at the next look; until a stream is there publishing answers
        // `unavailable`.
        let prepared = self.streams.ensure(Bounds::Change, || wanted(config));
        let _ = timeout(PREPARE_TIMEOUT, prepared).await;
    }
}

/// Begins to connect, and goes on until the tasks are ended.
///
/// # Errors
///
/// Where the connection cannot even be tried.
pub async fn start(start: Start, tasks: &mut JoinSet<()>) -> Result<Broker, ConnectError> {
    let Start { names, pod, config, orders, route, metrics, began } = start;
    let url = config.borrow().spec.broker.nats.as_ref().map(|it| it.url.clone());
    let url = url.unwrap_or_default();
    let history_bytes = config.borrow().spec.broker.history_bytes.bytes();
    let (refusals, refusals_seen) = watch::channel(Refusals::default());
    let Connecting { client, events, unreachable } =
        client::connect(&url, &names, &pod, config.clone(), refusals).await?;
    let streams = Arc::new(Streams::new(client.clone(), names.clone(), history_bytes));
    let reader = Arc::new(Reader::new(
        client.clone(),
        names.clone(),
        &pod,
        Arc::clone(&streams),
        Arc::clone(&metrics),
        began,
    ));
    let echo = Echo::new(client.clone(), &names, &pod);
    let (wire, wire_seen) = watch::channel(Wire::Down);
    let (state, state_seen) = watch::channel(State::Connecting);
    let (complaint, complaint_seen) = watch::channel(None);
    let missed = Arc::new(Notify::new());
    let told = Told { events, wire, state, complaint, missed: Arc::clone(&missed) };
    let plane = Arc::new(OnceLock::new());
    let parts = Parts { client, names, config, streams, reader, echo, route, metrics };
    tasks.spawn(parts.echo.clone().run());
    tasks.spawn(pages(parts.client.clone(), Arc::clone(&parts.reader)));
    tasks.spawn(parts.interest(orders.wishes(), wire_seen, refusals_seen).run());
    tasks.spawn(parts.keeper(state_seen.clone()).run());
    tasks.spawn(parts.life(told, orders.connected()).run());
    tasks.spawn(parts.publisher(Arc::clone(&plane)).run(orders));
    let Parts { client, names, streams, .. } = parts;
    let (state, complaint) = (state_seen, complaint_seen);
    Ok(Broker { client, names, pod, state, complaint, missed, unreachable, plane, streams })
}

/// What the tasks have in common.
struct Parts {
    client: Client,
    names: Names,
    config: watch::Receiver<Arc<Config>>,
    streams: Arc<Streams>,
    reader: Arc<Reader>,
    echo: Echo,
    route: Route,
    metrics: Arc<Metrics>,
}

/// What the life of the connection hears, and whom it tells.
struct Told {
    events: Events,
    wire: watch::Sender<Wire>,
    state: watch::Sender<State>,
    complaint: watch::Sender<Option<String>>,
    missed: Arc<Notify>,
}

impl Parts {
    fn interest(
        &self,
        wishes: Wishes,
        wire: watch::Receiver<Wire>,
        refusals: watch::Receiver<Refusals>,
    ) -> Interest {
        let arrivals = Arc::new(Arrivals {
            client: self.client.clone(),
            streams: Arc::clone(&self.streams),
            metrics: Arc::clone(&self.metrics),
            config: self.config.clone(),
        });
        Interest {
            wishes,
            echo: self.echo.clone(),
            wire,
            refusals,
            counted: 0,
            listeners: Listeners::new(
                self.client.clone(),
                self.names.clone(),
                arrivals,
                self.route.clone(),
            ),
            young: VecDeque::new(),
            refused: None,
        }
    }

    fn keeper(&self, state: watch::Receiver<State>) -> Keeper {
        Keeper {
            config: self.config.clone(),
            streams: Arc::clone(&self.streams),
            reader: Arc::clone(&self.reader),
            echo: self.echo.clone(),
            state,
            route: self.route.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn life(&self, told: Told, connected: Connected) -> Life {
        let Told { events, wire, state, complaint, missed } = told;
        Life {
            client: self.client.clone(),
            config: self.config.clone(),
            events,
            streams: Arc::clone(&self.streams),
            echo: self.echo.clone(),
            connected,
            wire,
            state,
            complaint,
            route: self.route.clone(),
            metrics: Arc::clone(&self.metrics),
            missed,
            past: Past::default(),
        }
    }

    fn publisher(&self, plane: Arc<OnceLock<Plane>>) -> Publisher {
        Publisher::new(
            self.client.clone(),
            self.names.clone(),
            Arc::clone(&self.streams),
            Arc::clone(&self.reader),
            plane,
        )
    }
}

/// Hands the reader what comes for it.
async fn pages(client: Client, reader: Arc<Reader>) {
    let Ok(mut pages) = client.subscribe(reader.store.inbox()).await else { return };
    while let Some(message) = pages.next().await {
        reader.store.page_came(message);
    }
}

/// What every rule with history wants of a stream.
pub fn wanted(config: &Config) -> Vec<Kept> {
    let mut wanted = Vec::<Kept>::new();
    for kept in config.rules.iter().filter_map(Kept::of) {
        // Of rules for the same names the first counts.
        if wanted.iter().all(|it| it.by != kept.by) {
            wanted.push(kept);
        }
    }
    wanted
}

/// Waits until then, or for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}
