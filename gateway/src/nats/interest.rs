//! Which topics this pod listens to, made true.
//!
//! What is wanted is a state: this task takes all that changed since it looked last, subscribes and
//! unsubscribes, and says of each new topic when the server has heard of it. After a loss the client
//! subscribes again by itself; what changed meanwhile waits here.
//!
//! A server that refuses a subscription does not say which, or only later. So what was subscribed since
//! the server was last known to take everything is subscribed again in halves, until it is known.

use std::{collections::VecDeque, mem, sync::Arc, time::Duration};

use ahash::AHashMap;
use async_nats::{Client, Subscriber};
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    task::{JoinSet, yield_now},
    time::{Instant, sleep},
};
use tracing::debug;

use super::{arrive::Arrivals, echo::Echo, until};
use crate::{
    broker::nats::{
        link::{Notice, Route, Wishes},
        names::Names,
    },
    protocol::topic::Topic,
};

/// How long to wait before the server is asked again whether it has heard.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long servers of a cluster take to tell each other of a subscription, and a server to refuse one,
/// amply.
const SETTLES: Duration = Duration::from_secs(1);

/// How long to wait before what was refused is tried again: a limit may be another one by then.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Whether the server can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing goes through.
    Down,
    /// It takes commands.
    Up,
}

/// Topics, and which wishes they are.
type Wanted = Vec<(Topic, u64)>;

/// Keeps the subscriptions as they are wanted.
#[derive(Debug)]
pub struct Interest {
    pub client: Client,
    pub route: Route,
    pub wishes: Wishes,
    pub echo: Echo,
    pub wire: watch::Receiver<Wire>,
    /// Counts what the server says against subscriptions.
    pub refusals: watch::Receiver<u64>,
    pub listeners: Listeners,
    /// What was subscribed of late, and when it is no longer new; ascending.
    pub young: VecDeque<(Instant, Wanted)>,
    /// What the server refused, and when it is tried again.
    pub refused: Option<(Instant, AHashMap<Topic, u64>)>,
}

/// The subscriptions that there are.
#[derive(Debug)]
pub struct Listeners {
    pub client: Client,
    pub names: Names,
    pub arrivals: Arc<Arrivals>,
    pub route: Route,
    pub tasks: JoinSet<()>,
    /// Which wish it is, and what ends it.
    pub here: AHashMap<Topic, (u64, watch::Sender<bool>)>,
}

impl Interest {
    /// Keeps them for as long as the process lives.
    pub async fn run(mut self) {
        loop {
            let due = [self.young.front().map(|it| it.0), self.refused.as_ref().map(|it| it.0)];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                changed = self.wishes.changed() => {
                    // That it is up is a change all the same.
                    if self.wire.clone().wait_for(|it| *it == Wire::Up).await.is_err() {
                        return;
                    }
                    let new = self.note(changed);
                    self.listen(new).await;
                }
                changed = self.wire.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if *self.wire.borrow_and_update() == Wire::Up {
                        // The client subscribes to all of it again.
                        self.young.clear();
                        self.young.push_back((Instant::now() + SETTLES, self.listeners.wanted()));
                    }
                }
                changed = self.refusals.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.listen_anew().await;
                }
                () = until(due) => self.tend(Instant::now()).await,
            }
        }
    }

    /// Ends what is not wanted any more; what is.
    fn note(&mut self, changed: AHashMap<Topic, Option<u64>>) -> Wanted {
        let mut new = Vec::new();
        for (topic, wish) in changed {
            if let Some((_, refused)) = &mut self.refused {
                refused.remove(&topic);
            }
            match wish {
                Some(wish) => new.push((topic, wish)),
                None => drop(self.listeners.end(&topic)),
            }
        }
        new
    }

    /// Subscribes to what is not yet, and says of each topic whether what is published comes here.
    async fn listen(&mut self, wanted: Wanted) {
        let mut parts = vec![wanted];
        let mut is_full = false;
        while let Some(mut part) = parts.pop() {
            if is_full {
                self.is_refused(part);
            } else if part.is_empty() {
                // Only ends.
            } else if self.is_taken(&part).await {
                for (topic, wish) in &part {
                    self.route.tell(Notice::Listening(topic.clone(), *wish));
                }
                self.young.push_back((Instant::now() + SETTLES, part));
            } else {
                self.end(&part).await;
                // Where one alone is refused, what comes behind it will fare no better.
                is_full = part.len() == 1;
                let behind = part.split_off(part.len() / 2);
                parts.extend([behind, part]);
            }
        }
    }

    /// Subscribes; whether the server took every subscription.
    async fn is_taken(&mut self, part: &Wanted) -> bool {
        self.refusals.mark_unchanged();
        for (topic, wish) in part {
            self.listeners.begin(topic, *wish).await;
        }
        while !self.echo.comes_back().await {
            debug!(event = "broker_silent", "NATS does not answer yet");
            sleep(ASK_AGAIN).await;
        }
        // It said so before the echo, so the task that hears of it has its turn first; where it is late all
        // the same, `listen_anew` sees to it.
        yield_now().await;
        let is_refused = self.refusals.has_changed().unwrap_or(false);
        self.refusals.mark_unchanged();
        !is_refused
    }

    /// Ends subscriptions; back when nothing that the server is told later comes before that.
    async fn end(&mut self, part: &Wanted) {
        let ends: Vec<_> = part.iter().filter_map(|(topic, _)| self.listeners.end(topic)).collect();
        for end in ends {
            end.closed().await;
        }
    }

    /// The server has refused something of late: subscribes again to everything that is new.
    async fn listen_anew(&mut self) {
        let here = &self.listeners.here;
        let young: Wanted = mem::take(&mut self.young)
            .into_iter()
            .flat_map(|it| it.1)
            .filter(|(topic, wish)| here.get(topic).is_some_and(|it| it.0 == *wish))
            .collect();
        if young.is_empty() {
            return;
        }
        self.end(&young).await;
        self.listen(young).await;
    }

    fn is_refused(&mut self, part: Wanted) {
        for (topic, wish) in &part {
            self.route.tell(Notice::Refused(topic.clone(), *wish));
        }
        let again = Instant::now() + TRY_AGAIN;
        self.refused.get_or_insert_with(|| (again, AHashMap::new())).1.extend(part);
    }

    /// Does what is due.
    async fn tend(&mut self, now: Instant) {
        while let Some((_, young)) = self.young.pop_front_if(|it| it.0 <= now) {
            if self.client.server_info().cluster.is_none() {
                continue;
            }
            for (topic, wish) in young {
                self.route.tell(Notice::Settled(topic, wish));
            }
        }
        if *self.wire.borrow() == Wire::Up
            && let Some((_, refused)) = self.refused.take_if(|it| it.0 <= now)
        {
            self.listen(refused.into_iter().collect()).await;
        }
    }
}

impl Listeners {
    /// No subscriptions.
    pub fn new(client: Client, names: Names, arrivals: Arc<Arrivals>, route: Route) -> Self {
        Self { client, names, arrivals, route, tasks: JoinSet::new(), here: AHashMap::new() }
    }

    fn wanted(&self) -> Wanted {
        self.here.iter().map(|(topic, (wish, _))| (topic.clone(), *wish)).collect()
    }

    /// Subscribes to what is published to a topic, if that was not done yet; a task of its own passes it
    /// on, so that the order within the topic is kept.
    async fn begin(&mut self, topic: &Topic, wish: u64) {
        while self.tasks.try_join_next().is_some() {}
        if let Some((is, end)) = self.here.get_mut(topic)
            && !end.is_closed()
        {
            *is = wish;
            return;
        }
        // Refused only when the client is closed, with the process.
        let Ok(messages) = self.client.subscribe(self.names.live(topic)).await else { return };
        let arrivals = Arc::clone(&self.arrivals);
        let (end, ends) = watch::channel(false);
        self.tasks.spawn(pass_on(messages, topic.clone(), arrivals, self.route.clone(), ends));
        self.here.insert(topic.clone(), (wish, end));
    }

    /// Ends a subscription; what comes back is closed when the server is as good as told.
    fn end(&mut self, topic: &Topic) -> Option<watch::Sender<bool>> {
        let (_, end) = self.here.remove(topic)?;
        end.send_replace(true);
        Some(end)
    }
}

async fn pass_on(
    mut messages: Subscriber,
    topic: Topic,
    arrivals: Arc<Arrivals>,
    route: Route,
    mut ends: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            biased;
            // Also where nobody is there any more to say so.
            _ = ends.changed() => {
                // The client is closed otherwise.
                let _ = messages.unsubscribe().await;
                return;
            }
            message = messages.next() => match message {
                None => return,
                Some(message) => {
                    if let Some(notice) = arrivals.arrived(&topic, &message) {
                        route.tell(notice);
                    }
                }
            },
        }
    }
}
