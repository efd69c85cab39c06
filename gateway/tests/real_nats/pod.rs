//! A pod that is nothing but its broker: what the workers would ask, a test asks.

use std::{fs, sync::Arc, time::Duration};

use headgate_gateway::{
    broker::{
        Position, Publish,
        nats::{
            follow::Found,
            link::{Done, Kept, Link, Lost, Notice, Order, Read, Route, What, link},
            names::Names,
        },
    },
    config::{Config, Source, open},
    nats::{self, Broker, Start, State},
    protocol::{channel::ChannelName, topic::Topic},
    telemetry::metrics::Metrics,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{BOUND, Server};

/// The stream of the rule `kept.**`.
pub const STREAM: &str = "headgate_default_chat_kept_2E_2A_2A";

pub struct Pod {
    pub link: Link,
    pub broker: Broker,
    pub notices: mpsc::Receiver<Notice>,
    url: String,
    config: watch::Sender<Arc<Config>>,
    _tasks: JoinSet<()>,
}

impl Pod {
    /// One whose manifest says how many messages `kept.**` has. There is `mute.**` besides.
    pub async fn start(server: &Server, name: &str, messages: usize) -> Self {
        let (config, config_seen) = watch::channel(config(&server.url, messages).await);
        let (link, orders) = link();
        let (tell, notices) = mpsc::channel(10_000);
        let route = Route::new(move |notice| {
            let _ = tell.try_send(notice);
        });
        let start = Start {
            names: Names::new("default", "chat"),
            pod: name.into(),
            config: config_seen,
            orders,
            route,
            metrics: Arc::new(Metrics::new()),
            began: Instant::now(),
        };
        let mut tasks = JoinSet::new();
        let broker = nats::start(start, &mut tasks).await.unwrap();
        let pod = Self { link, broker, notices, url: server.url.clone(), config, _tasks: tasks };
        pod.is_connected().await;
        pod
    }

    pub async fn is_connected(&self) {
        let mut state = self.broker.state.clone();
        let there = state.wait_for(|it| *it == State::Connected);
        timeout(BOUND, there).await.expect("connected").unwrap();
    }

    /// Has another manifest, as a process does: the streams first.
    pub async fn change(&self, messages: usize) {
        let config = config(&self.url, messages).await;
        self.config.send_replace(Arc::clone(&config));
        self.broker.prepare(&config).await;
    }

    /// What `kept.**` keeps, as this pod has it.
    pub fn kept(&self) -> Kept {
        Kept::of(&self.config.borrow().rules[0]).unwrap()
    }

    /// What `mute.**` keeps.
    pub fn mute(&self) -> Kept {
        Kept::of(&self.config.borrow().rules[1]).unwrap()
    }

    /// Gives an order, and waits for what is told.
    pub async fn ask<T: Send + 'static>(
        &self,
        order: impl FnOnce(Done<Result<T, Lost>>) -> Order,
    ) -> Result<T, Lost> {
        let (tell, told) = oneshot::channel();
        let done = Done::new(move |answer| {
            let _ = tell.send(answer);
        });
        if let Err(order) = self.link.order(order(done)) {
            order.refuse();
        }
        timeout(BOUND, told).await.expect("an answer").expect("an answer")
    }

    pub async fn read(
        &self,
        topic: &str,
        what: impl FnOnce(Done<Result<Found, Lost>>) -> What,
    ) -> Result<Found, Lost> {
        let (topic, kept) = (channel(topic), self.kept());
        self.ask(|done| match what(done) {
            what @ What::Newest(..) => Order::History(Read { topic, kept, what }),
            what => Order::Read(Read { topic, kept, what }),
        })
        .await
    }

    pub async fn after(&self, topic: &str, since: Position) -> Result<Found, Lost> {
        let since = since.into();
        self.read(topic, |done| What::After { since, is_own: false, limit: 256, done }).await
    }

    /// The places of the newest.
    pub async fn newest(&self, topic: &str, limit: usize) -> Vec<u64> {
        let found = self.read(topic, |done| What::Newest(limit, done)).await.unwrap();
        found.messages.iter().map(|it| it.position.unwrap().offset).collect()
    }

    /// Publishes to a topic that is kept.
    pub async fn store(&self, topic: &str, data: &str) -> Result<Position, Lost> {
        let (publish, kept) = (publish(topic, data), self.kept());
        let stored = self.ask(|done| Order::Publish(publish, Some(kept), Some(done))).await;
        stored.map(|it| it.expect("a place"))
    }

    /// Publishes to a topic that is not.
    pub async fn hand_on(&self, topic: &str) -> Result<(), Lost> {
        let publish = publish(topic, "1");
        self.ask(|done| Order::Publish(publish, None, Some(done))).await.map(drop)
    }
}

pub fn publish(topic: &str, data: &str) -> Publish {
    let data = data.to_owned().into();
    Publish { topic: channel(topic), data, user: None, key: None, exclude: None }
}

pub fn channel(name: &str) -> Topic {
    Topic::channel(ChannelName::parse(name).unwrap())
}

/// What a manifest with this rule becomes.
async fn config(url: &str, messages: usize) -> Arc<Config> {
    let folder = tempfile::tempdir().unwrap();
    let source =
        Source { manifest: folder.path().join("gateway.yaml"), secrets: folder.path().to_owned() };
    let text = format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: chat}}\n\
         spec:\n  auth: {{mode: Disabled}}\n  broker: {{type: NATS, nats: {{url: \"{url}\"}}}}\n  \
         channels:\n  - {{match: \"kept.**\", history: {{messages: {messages}, maxAge: 5m}}}}\n  \
         - {{match: \"mute.**\", history: {{messages: 1000, maxAge: 5m}}}}\n"
    );
    fs::write(&source.manifest, text).unwrap();
    let (watcher, watched) = open(source).unwrap();
    let running = tokio::spawn(watcher.run());
    let config = timeout(Duration::from_secs(10), watched.complete()).await.unwrap().unwrap();
    running.abort();
    let now = config.borrow();
    Arc::clone(&now)
}
