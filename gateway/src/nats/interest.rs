//! Which topics this pod listens to, made true.
//!
//! What is wanted is a state: this task takes all that changed since it looked last, subscribes and
//! unsubscribes, and says of each new topic when the server has heard of it. After a loss the client
//! subscribes again by itself; what changed meanwhile waits here.
//!
//! A server that refuses a subscription for a limit does not say which, and what it says does not come
//! with the echo. So what was subscribed within the last second is subscribed again in halves then, until
//! it is known which.

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

use super::{arrive::Arrivals, client::is_clustered, echo::Echo, until};
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
pub const SETTLES: Duration = Duration::from_secs(1);

/// How long what the server says against a subscription may take from its echo to here, amply.
const LATE: Duration = Duration::from_millis(5);

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

/// What the server said against subscriptions so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    /// How often.
    pub count: u64,
    /// The last time it was for a limit, and not for a right.
    pub is_limit: bool,
}

/// What was subscribed together.
#[derive(Debug)]
pub struct Young {
    until: Instant,
    topics: Wanted,
    /// Not by the client itself, after a loss.
    is_new: bool,
}

/// Topics, and which wishes they are.
type Wanted = Vec<(Topic, u64)>;

/// Keeps the subscriptions as they are wanted.
#[derive(Debug)]
pub struct Interest {
    pub wishes: Wishes,
    pub echo: Echo,
    pub wire: watch::Receiver<Wire>,
    /// What the server says against subscriptions.
    pub refusals: watch::Receiver<Refusals>,
    pub listeners: Listeners,
    /// How many of them were looked into.
    pub counted: u64,
    /// What was subscribed of late, in the order in which it was.
    pub young: VecDeque<Young>,
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
            let due = [self.young.front().map(|it| it.until), self.refused.as_ref().map(|it| it.0)];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                // What was here before counts before what is new.
                biased;
                changed = self.wire.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.wire.mark_changed();
                    self.look_at_wire();
                }
                changed = self.refusals.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.listen(Vec::new()).await;
                }
                changed = self.wishes.changed() => {
                    if self.wire.clone().wait_for(|it| *it == Wire::Up).await.is_err() {
                        return;
                    }
                    let new = self.note(changed);
                    self.listen(new).await;
                }
                () = until(due) => self.tend(Instant::now()).await,
            }
        }
    }

    /// After a loss the client subscribes to all of it again, and any of that may be refused.
    fn look_at_wire(&mut self) {
        if self.wire.has_changed().unwrap_or(false) && *self.wire.borrow_and_update() == Wire::Up {
            let (until, topics) = (Instant::now() + SETTLES, self.listeners.wanted());
            self.young = [Young { until, topics, is_new: false }].into();
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
        self.look_at_wire();
        let refusals = self.subscribe(&wanted).await;
        if refusals == 0 {
            return self.are_taken(wanted);
        }
        self.look_at_wire();
        self.end(&wanted).await;
        let its_own = self.subscribe_surely(&wanted).await;
        let mut parts = Vec::new();
        if its_own == 0 {
            self.are_taken(wanted);
        } else {
            self.end(&wanted).await;
            parts.extend(halves(wanted));
        }
        if its_own < refusals {
            // They were of something that was subscribed of late.
            let young = self.take_young();
            self.end(&young).await;
            parts.push(young);
        }
        self.search(parts).await;
    }

    /// Subscribes to the last part first, and to less of it until it is known what is refused.
    async fn search(&mut self, mut parts: Vec<Wanted>) {
        let mut is_full = false;
        while let Some(part) = parts.pop() {
            if is_full {
                self.is_refused(part);
            } else if self.subscribe_surely(&part).await == 0 {
                self.are_taken(part);
            } else {
                self.end(&part).await;
                if part.len() > 1 {
                    parts.extend(halves(part));
                } else {
                    // Beyond a limit what comes behind it will fare no better.
                    is_full = self.refusals.borrow().is_limit;
                    self.is_refused(part);
                }
            }
        }
    }

    /// Subscribes; how many subscriptions the server has refused since that was asked last, as far as is
    /// known so soon.
    async fn subscribe(&mut self, part: &Wanted) -> u64 {
        for (topic, wish) in part {
            self.listeners.begin(topic, *wish).await;
        }
        while !part.is_empty() && !self.echo.comes_back().await {
            debug!(event = "broker_silent", "NATS does not answer yet");
            sleep(ASK_AGAIN).await;
        }
        // It said so before the echo, so the task that hears of it has its turn first; what is late all the
        // same is looked for then, among all that is young.
        yield_now().await;
        self.take_refusals()
    }

    /// The same with time for what is late, so that nothing else is taken for it.
    async fn subscribe_surely(&mut self, part: &Wanted) -> u64 {
        if part.is_empty() {
            return 0;
        }
        let refusals = self.subscribe(part).await;
        sleep(LATE).await;
        refusals + self.take_refusals()
    }

    fn take_refusals(&mut self) -> u64 {
        let count = self.refusals.borrow_and_update().count;
        count - mem::replace(&mut self.counted, count)
    }

    fn are_taken(&mut self, topics: Wanted) {
        for (topic, wish) in &topics {
            self.listeners.route.tell(Notice::Listening(topic.clone(), *wish));
        }
        if !topics.is_empty() {
            let until = Instant::now() + SETTLES;
            self.young.push_back(Young { until, topics, is_new: true });
        }
    }

    /// What was subscribed of late, and still is.
    fn take_young(&mut self) -> Wanted {
        let here = &self.listeners.here;
        let is_here =
            |(topic, wish): &(Topic, u64)| here.get(topic).is_some_and(|it| it.0 == *wish);
        mem::take(&mut self.young).into_iter().flat_map(|it| it.topics).filter(is_here).collect()
    }

    /// Ends subscriptions; back when nothing that the server is told later comes before that.
    async fn end(&mut self, part: &Wanted) {
        let ends: Vec<_> = part.iter().filter_map(|(topic, _)| self.listeners.end(topic)).collect();
        for end in ends {
            end.closed().await;
        }
    }

    fn is_refused(&mut self, part: Wanted) {
        for (topic, wish) in &part {
            self.listeners.route.tell(Notice::Refused(topic.clone(), *wish));
        }
        let again = Instant::now() + TRY_AGAIN;
        self.refused.get_or_insert_with(|| (again, AHashMap::new())).1.extend(part);
    }

    /// Does what is due.
    async fn tend(&mut self, now: Instant) {
        while let Some(young) = self.young.pop_front_if(|it| it.until <= now) {
            // After a return everything asks anyway.
            if young.is_new && is_clustered(&self.listeners.client) {
                for (topic, wish) in young.topics {
                    self.listeners.route.tell(Notice::Settled(topic, wish));
                }
            }
        }
        if *self.wire.borrow() == Wire::Up
            && let Some((_, refused)) = self.refused.take_if(|it| it.0 <= now)
        {
            self.listen(refused.into_iter().collect()).await;
        }
    }
}

/// The second half and the first, which is taken from the end.
fn halves(mut part: Wanted) -> [Wanted; 2] {
    let second = part.split_off(part.len().div_ceil(2));
    [second, part]
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
