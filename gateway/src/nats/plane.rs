//! Pods that know of each other: beats, questions and answers.
//!
//! Who is asked is who is alive; who does not answer within a second is silent, and the answer says
//! how many were. This pod answers for itself without the broker.

mod ask;
mod catch_up;
mod confirm;
mod hear;
mod reply;
mod revoke;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ahash::AHashMap;
use async_nats::{Client, connection::State};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

pub use self::ask::{ANSWER_DEADLINE, Gathered};
use self::{
    ask::Waiting,
    confirm::{Ear, Unconfirmed},
    hear::Wire,
};
use super::{client::connects, revocations::Revocations};
use crate::broker::nats::{
    names::Names,
    peers::Peers,
    pods::{Beat, Opening, Told},
    talk::{Answer, Question},
    users::{Users, Verdict},
    wire::Dropped,
};

/// How often a pod says that it is alive.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Our own beats come back to us. When one has not for so long the broker is as good as lost, whatever
/// the connection says: sooner than other pods are taken for lost, which are not heard either.
const ECHO_WITHIN: Duration = Duration::from_millis(2_500);

/// How long a pod that starts listens before it knows who is there: a beat, and the way.
const MEET: Duration = Duration::from_millis(1_250);

/// Answers for this pod.
pub type Answerer = Arc<dyn Fn(Question) -> BoxFuture<'static, Answer> + Send + Sync>;

/// What a plane begins with.
pub struct Start {
    /// The connection to NATS; its inbox prefix is of no matter.
    pub client: Client,
    /// How subjects are called.
    pub names: Names,
    /// How this pod is called: eight hexadecimal digits.
    pub pod: Arc<str>,
    /// Answers for this pod.
    pub answer: Answerer,
    /// Counts what is not understood.
    pub dropped: Arc<dyn Fn(Dropped) + Send + Sync>,
}

/// What this pod has to tell in a second.
#[derive(Debug, Default)]
pub struct Here {
    /// The time as an opening: microseconds since 1970.
    pub now: Opening,
    /// Connections of the pod, of users and anonymous ones.
    pub connections: u64,
    /// `limits.connectionsPerUser`; 0 is no limit, and then no users are told.
    pub limit: usize,
    /// Users whose connections changed since the last time, as they are now; each once.
    pub changed: Vec<Told>,
}

/// This pod among the others. Clones are the same one.
#[derive(Clone)]
pub struct Plane(Arc<Inner>);

struct Inner {
    client: Client,
    pod: Arc<str>,
    pods: String,
    ask: String,
    inbox: String,
    began: Instant,
    answer: Answerer,
    dropped: Arc<dyn Fn(Dropped) + Send + Sync>,
    peers: Mutex<Peers>,
    /// Since when a beat of our own is on its way.
    echo_since: Mutex<Option<Instant>>,
    /// What of ours did not come back since the connection was made.
    unconfirmed: watch::Sender<Unconfirmed>,
    users: Mutex<Users>,
    alive: watch::Sender<Vec<Arc<str>>>,
    holes: watch::Sender<u64>,
    waiting: Mutex<AHashMap<u64, Waiting>>,
    tokens: AtomicU64,
    /// Counts of a pod may have to be asked for.
    missed: Notify,
    revocations: Revocations,
    /// Revocations may have to be read.
    unread: Notify,
    /// How the connection was when this pod looked last.
    wire: Mutex<Wire>,
    /// Whether this pod said goodbye: held while anything is told, so that nothing comes after that.
    is_gone: tokio::sync::Mutex<bool>,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plane({})", self.0.pod)
    }
}

impl Plane {
    /// Begins to listen, by tasks among `tasks` that end when the client is closed.
    ///
    /// # Errors
    ///
    /// Where the client takes no subscription: it is closed.
    pub async fn start(
        start: Start,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, async_nats::SubscribeError> {
        let Start { client, names, pod, answer, dropped } = start;
        let plane = Self(Arc::new(Inner {
            pods: names.own("pods"),
            ask: names.own("ask"),
            inbox: names.own(&format!("inbox.{pod}")),
            began: Instant::now(),
            answer,
            dropped,
            peers: Mutex::new(Peers::new(Arc::clone(&pod))),
            echo_since: Mutex::default(),
            unconfirmed: watch::Sender::new(Unconfirmed::all()),
            users: Mutex::new(Users::new(Arc::clone(&pod))),
            alive: watch::Sender::default(),
            holes: watch::Sender::default(),
            waiting: Mutex::default(),
            // Answers to a process before this one are not taken for answers to this one.
            tokens: AtomicU64::new(fastrand::u64(..)),
            missed: Notify::new(),
            revocations: Revocations::new(client.clone(), &names),
            unread: Notify::new(),
            is_gone: tokio::sync::Mutex::new(false),
            wire: Mutex::new(Wire { connects: connects(&client), is_connected: true }),
            pod,
            client,
        }));
        let inner = &plane.0;
        let beats = inner.client.subscribe(inner.pods.clone()).await?;
        let answers = inner.client.subscribe(format!("{}.*", inner.inbox)).await?;
        let to_all = inner.client.subscribe(inner.ask.clone()).await?;
        let to_us = inner.client.subscribe(format!("{}.{}", inner.ask, inner.pod)).await?;
        tasks.spawn(plane.clone().hear(beats));
        tasks.spawn(plane.clone().receive(answers));
        tasks.spawn(plane.clone().reply(to_all, Ear::All));
        tasks.spawn(plane.clone().reply(to_us, Ear::Us));
        tasks.spawn(plane.clone().catch_up());
        tasks.spawn(plane.clone().keep_revocations());
        Ok(plane)
    }

    /// Waits until this pod knows who is there and who is revoked: before that it is not ready.
    pub async fn meet(&self) {
        self.read_first_revocations().await;
        self.confirmed().await;
        sleep(MEET).await;
    }

    /// The other pods that are alive.
    pub fn alive(&self) -> watch::Receiver<Vec<Arc<str>>> {
        self.0.alive.subscribe()
    }

    /// How many holes there were in the beats of other pods that no loss of our own connection
    /// explains. Each one says that publications may be lost as well, without any other sign.
    pub fn holes(&self) -> watch::Receiver<u64> {
        self.0.holes.subscribe()
    }

    /// Whether the broker can be reached.
    pub fn is_connected(&self) -> bool {
        let is_late = |since: Instant| since.elapsed() > ECHO_WITHIN;
        let is_silent = self.0.echo_since.lock().is_some_and(is_late);
        self.has_connection() && !is_silent && self.0.unconfirmed.borrow().is_well()
    }

    fn has_connection(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    /// Tells what there is to tell, and says what follows from what others told. Once a second; after
    /// [`bye`](Self::bye) nothing.
    pub async fn beat(&self, here: Here) -> Verdict {
        let inner = &self.0;
        let is_gone = inner.is_gone.lock().await;
        if *is_gone {
            return Verdict::default();
        }
        let Here { now, connections, limit, changed } = here;
        self.look_back();
        self.look(self.is_connected());
        // Beats go out as long as there is a connection: it is by them that the broker is found back.
        let is_connected = self.has_connection();
        let (beats, verdict) = {
            let mut users = inner.users.lock();
            users.limit(now, limit);
            users.change(changed);
            // What cannot be told now is told later, as it is then.
            let beats = if is_connected { users.beats(connections) } else { Vec::new() };
            (beats, users.verdict())
        };
        let (revoked_in, revoked) = inner.revocations.reach().known();
        for beat in beats {
            let beat = Beat { revoked, revoked_in, ..beat };
            self.0.echo_since.lock().get_or_insert_with(Instant::now);
            // One that is lost leaves a hole, which the others fill.
            let told = inner.client.publish(inner.pods.clone(), beat.encode().into());
            let _ = timeout(BEAT_EVERY, told).await;
        }
        if is_connected {
            let _ = timeout(BEAT_EVERY, self.check()).await;
            inner.missed.notify_one();
            self.read_if_behind();
        }
        verdict
    }

    /// Says that this pod goes away: nothing that it told of itself counts any more.
    pub async fn bye(&self) {
        let mut is_gone = self.0.is_gone.lock().await;
        *is_gone = true;
        let bye = self.0.users.lock().bye();
        if self.is_connected() {
            let said = async {
                let _ = self.0.client.publish(self.0.pods.clone(), bye.encode().into()).await;
                let _ = self.0.client.flush().await;
            };
            let _ = timeout(BEAT_EVERY, said).await;
        }
    }

    fn now(&self) -> Duration {
        self.0.began.elapsed()
    }
}
