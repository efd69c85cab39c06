//! All pods of the gateway as one: who is asked, and what their answers come to.
//!
//! With the Memory broker this pod is all there is, and its answer goes the same way.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use async_nats::{Client, SubscribeError};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::debug;

use super::local::{self, Local};
use crate::{
    api::{
        error::ApiError,
        gateway::Scope,
        views::{self, Pods},
    },
    broker::nats::{
        names as subjects,
        pods::Told,
        talk::{Answer, Channel, Connection, List, Question, Revocation, Stats},
        wire::Dropped,
    },
    nats::plane::{BEAT_EVERY, Gathered, Here, Plane, Start},
    protocol::position::{Epoch, Position},
    worker::{
        key::Names,
        pool::Pool,
        shared::{unix_now, unix_now_us},
    },
};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// This pod.
    pub local: Local,
    /// The others, where there may be some.
    pub plane: Option<Plane>,
}

impl Fleet {
    /// Asks all pods, or this one alone.
    pub async fn ask(&self, scope: Scope, question: Question) -> Gathered {
        match &self.plane {
            Some(plane) if scope == Scope::Gateway => plane.ask(question).await,
            _ => Gathered::one(self.local.clone().answer(question).await),
        }
    }

    /// Has all pods do something to connections; how many there were.
    ///
    /// # Errors
    ///
    /// [`ApiError::Unavailable`] where the others cannot be reached: it is done on this pod then.
    pub async fn have_done(&self, question: Question) -> Result<views::Counted, ApiError> {
        let gathered = self.ask(Scope::Gateway, question).await;
        self.check_reached(&gathered)?;
        let pods = pods(&gathered)?;
        Ok(views::Counted { connections: counted(gathered), pods })
    }

    /// Has the pod of a connection do something to it.
    ///
    /// # Errors
    ///
    /// [`ApiError::NotFound`]; [`ApiError::Unavailable`] where its pod does not answer.
    pub async fn have_done_to(
        &self,
        connection: &str,
        question: Question,
    ) -> Result<views::Counted, ApiError> {
        let not_found = ApiError::NotFound("connection");
        let own = self.local.pool.shared.names.process();
        let pod = Names::process_of(connection).ok_or_else(|| not_found.clone())?;
        let gathered = match &self.plane {
            _ if *pod == *own => Gathered::one(self.local.clone().answer(question).await),
            Some(plane) => plane.ask_pod(pod, question).await.ok_or_else(|| not_found.clone())?,
            None => return Err(not_found),
        };
        let pods = pods(&gathered)?;
        match counted(gathered) {
            0 => Err(not_found),
            connections => Ok(views::Counted { connections, pods }),
        }
    }

    /// Refuses somebody from now on: here at once, then stored, then told to all.
    ///
    /// # Errors
    ///
    /// [`ApiError::Full`]; [`ApiError::Unavailable`] where it is not stored: it is done on this pod
    /// then.
    pub async fn revoke(&self, revocation: Revocation) -> Result<views::Counted, ApiError> {
        let pool = &self.local.pool;
        let revoked = local::revoked(revocation.revoked.clone());
        let ended = pool.revoke(&revoked, revocation.expires, unix_now()).await?;
        let ended = ended.map_err(|_| {
            ApiError::Full("as many revocations as may be kept; revoke users rather than tokens")
        })?;
        let Some(plane) = &self.plane else {
            return Ok(views::Counted { connections: ended as u64, pods: Pods::ONE });
        };
        let told = plane.revoke(revocation).await.map_err(|error| {
            debug!(event = "revocation_not_stored", %error, "cannot store a revocation");
            cut_off()
        })?;
        let pods = pods(&told)?;
        Ok(views::Counted { connections: counted(told).saturating_add(ended as u64), pods })
    }

    fn check_reached(&self, gathered: &Gathered) -> Result<(), ApiError> {
        let is_cut_off = self.plane.as_ref().is_some_and(|it| !it.is_connected());
        if is_cut_off && !gathered.is_complete() {
            return Err(cut_off());
        }
        Ok(())
    }
}

/// What there is to say where something could be done on this pod only.
pub fn cut_off() -> ApiError {
    ApiError::Unavailable(
        "the broker cannot be reached: it is done on one pod of the gateway only, so try again"
            .to_owned(),
    )
}

/// Who answered, if anybody did.
///
/// # Errors
///
/// [`ApiError::Unavailable`].
pub fn pods(gathered: &Gathered) -> Result<Pods, ApiError> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    match number(gathered.answers.len()) {
        0 => Err(ApiError::Unavailable("no pod that was asked has answered".to_owned())),
        answered => Ok(Pods { asked: number(gathered.asked), answered }),
    }
}

fn counted(gathered: Gathered) -> u64 {
    let count = |answer| if let Answer::Count(count) = answer { count } else { 0 };
    gathered.answers.into_iter().map(count).fold(0, u64::saturating_add)
}

/// The connections of all pods, as one part of a list: at most `limit`.
pub fn connections(gathered: Gathered, limit: usize) -> List<Connection> {
    let lists = gathered.answers.into_iter().filter_map(|it| match it {
        Answer::Connections(list) => Some(list),
        _ => None,
    });
    merged(lists.collect(), limit, |it| &it.name, |_, _| {})
}

/// The channels of all pods, as one part of a list: at most `limit`.
pub fn channels(gathered: Gathered, limit: usize) -> List<Channel> {
    let lists = gathered.answers.into_iter().filter_map(|it| match it {
        Answer::Channels(list) => Some(list),
        _ => None,
    });
    merged(
        lists.collect(),
        limit,
        |it| &it.name,
        |known, more| {
            known.subscribers = known.subscribers.saturating_add(more.subscribers);
            known.top = known.top.max(more.top);
        },
    )
}

/// The figures of all pods.
pub fn stats(gathered: Gathered, uptime: Duration, pods: Pods) -> views::Stats {
    let mut sum = Stats::default();
    for answer in gathered.answers {
        let Answer::Stats(it) = answer else { continue };
        for (sum, more) in [
            (&mut sum.active_connections, it.active_connections),
            (&mut sum.total_connections, it.total_connections),
            (&mut sum.subscriptions, it.subscriptions),
            (&mut sum.channels, it.channels),
            (&mut sum.messages_received, it.messages_received),
            (&mut sum.messages_delivered, it.messages_delivered),
            (&mut sum.errors, it.errors),
            (&mut sum.delivery_seconds_count, it.delivery_seconds_count),
        ] {
            *sum = sum.saturating_add(more);
        }
        sum.delivery_seconds_sum += it.delivery_seconds_sum;
    }
    let mean = match sum.delivery_seconds_count {
        0 => 0.0,
        count => sum.delivery_seconds_sum / count as f64,
    };
    views::Stats {
        active_connections: sum.active_connections,
        total_connections: sum.total_connections,
        subscriptions: sum.subscriptions,
        channels: sum.channels,
        messages_received: sum.messages_received,
        messages_delivered: sum.messages_delivered,
        errors: sum.errors,
        average_latency_ms: mean * 1_000.0,
        delivery_seconds_sum: sum.delivery_seconds_sum,
        delivery_seconds_count: sum.delivery_seconds_count,
        uptime_seconds: uptime.as_secs(),
        pods,
    }
}

/// Where a channel's newest publication is.
pub fn place(top: Option<(u64, u64)>) -> views::Place {
    top.map(|(epoch, offset)| Position { epoch: Epoch(epoch), offset }).into()
}

/// Lists of which each has the beginning, as one with the beginning of all. What is on more than one
/// is `joined`, and counts once in the total where it is seen.
fn merged<T>(
    lists: Vec<List<T>>,
    limit: usize,
    name: impl Fn(&T) -> &str,
    joined: impl Fn(&mut T, &T),
) -> List<T> {
    let mut total = lists.iter().map(|it| it.total).fold(0, u64::saturating_add);
    let cut = lists.iter().filter(|it| it.more).filter_map(|it| it.list.last()).map(&name).min();
    let cut = cut.map(str::to_owned);
    let mut more = cut.is_some();
    let mut all: Vec<T> = lists.into_iter().flat_map(|it| it.list).collect();
    all.sort_by(|a, b| name(a).cmp(name(b)));
    all.dedup_by(|next, known| {
        let is_same = name(next).cmp(name(known)) == Ordering::Equal;
        if is_same {
            joined(known, next);
            total = total.saturating_sub(1);
        }
        is_same
    });
    if let Some(cut) = cut {
        // What a pod did not say is somewhere after this.
        all.truncate(all.partition_point(|it| name(it) <= cut.as_str()));
    }
    more |= all.len() > limit;
    all.truncate(limit);
    List { list: all, more, total }
}

/// Joins the other pods: begins to listen, to answer and to beat, by tasks among `tasks`. Who joins
/// then waits for [`Plane::meet`] before it is ready.
///
/// # Errors
///
/// Where the client is closed.
pub async fn join(
    client: Client,
    names: subjects::Names,
    local: &Local,
    dropped: Arc<dyn Fn(Dropped) + Send + Sync>,
    tasks: &mut JoinSet<()>,
) -> Result<Plane, SubscribeError> {
    let answering = local.clone();
    let start = Start {
        client,
        names,
        pod: local.pool.shared.names.process(),
        answer: Arc::new(move |question| Box::pin(answering.clone().answer(question))),
        dropped,
    };
    let plane = Plane::start(start, tasks).await?;
    tasks.spawn(beat(plane.clone(), local.pool.clone()));
    Ok(plane)
}

/// Tells the other pods every second that this one is alive and whose connections changed, and closes
/// what is over `limits.connectionsPerUser`.
async fn beat(plane: Plane, pool: Pool) {
    let mut ticks = interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let load = &pool.shared.load;
        let limit = pool.shared.settings.load().spec().limits.connections_per_user as usize;
        let changed = load.take_changed_users(limit > 0).into_iter();
        let here = Here {
            now: unix_now_us(),
            connections: load.connections() as u64,
            limit,
            changed: changed.map(|(user, openings)| Told::new(user, &openings)).collect(),
        };
        let verdict = plane.beat(here).await;
        load.set_elsewhere(verdict.elsewhere);
        pool.close_surplus(verdict.over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, subscribers: u64) -> Channel {
        Channel { name: name.to_owned(), subscribers, top: None }
    }

    fn list(names: &[&str], more: bool, total: u64) -> Answer {
        let list = names.iter().map(|name| channel(name, 1)).collect();
        Answer::Channels(List { list, more, total })
    }

    fn check(answers: Vec<Answer>, limit: usize, expected: (&[(&str, u64)], bool, u64)) {
        let asked = answers.len();
        let merged = channels(Gathered { answers, asked, is_connected: true }, limit);
        let names: Vec<_> = merged.list.iter().map(|it| (&*it.name, it.subscribers)).collect();
        assert_eq!((&names[..], merged.more, merged.total), expected);
    }

    #[test]
    fn lists_of_pods_become_one() {
        check(
            vec![list(&["a", "c"], false, 2), list(&["b", "c"], false, 2)],
            10,
            (&[("a", 1), ("b", 1), ("c", 2)], false, 3),
        );
        check(
            vec![list(&["a", "c"], false, 2), list(&["b"], false, 1)],
            2,
            (&[("a", 1), ("b", 1)], true, 3),
        );
        // The other one may have a `b` as well, which it did not say.
        check(
            vec![list(&["b", "c"], false, 2), list(&["a"], true, 9)],
            10,
            (&[("a", 1)], true, 11),
        );
        check(vec![], 10, (&[], false, 0));
    }

    #[test]
    fn the_mean_of_all_is_not_the_mean_of_means() {
        let one = |sum, count| {
            Answer::Stats(Stats {
                delivery_seconds_sum: sum,
                delivery_seconds_count: count,
                ..Stats::default()
            })
        };
        let gathered =
            Gathered { answers: vec![one(1.0, 1), one(1.0, 3)], asked: 3, is_connected: true };
        let pods = pods(&gathered).unwrap();

        let stats = stats(gathered, Duration::ZERO, pods);

        assert!((stats.average_latency_ms - 500.0).abs() < 1e-9, "{stats:?}");
        assert_eq!(stats.pods, Pods { asked: 3, answered: 2 });
    }
}
