//! Pods that know of each other: beats, questions and answers.
//!
//! Who is asked is who is alive; who does not answer within a second is silent, and the answer says
//! how many were. This pod answers for itself without the broker.

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use ahash::{AHashMap, AHashSet};
use async_nats::{Client, StatusCode, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, info, warn};

use super::revocations::{Revocations, Unreachable};
use crate::{
    broker::{
        MEMBERS_SHOWN_MAX, Members,
        nats::{
            names::Names,
            peers::{Heard, Peers},
            pods::{Beat, Opening, Told},
            talk::{self, Answer, Question, Revocation},
            users::{Users, Verdict},
            wire::Dropped,
        },
    },
    protocol::topic::Topic,
};

/// How long pods have for an answer.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// How often a pod says that it is alive.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Our own beats come back to us. When one has not for so long the broker is as good as lost, whatever
/// the connection says: sooner than other pods are taken for lost, which are not heard either.
const ECHO_WITHIN: Duration = Duration::from_millis(2_500);

/// How long the server has to store a revocation.
const STORE_WITHIN: Duration = Duration::from_secs(3);

/// How long a pod that starts listens before it knows who is there: a beat, and the way.
const MEET: Duration = Duration::from_millis(1_250);

/// How long a pod waits before it reads revocations again.
const RETRY: Duration = Duration::from_secs(1);

/// Questions that are answered at once.
const QUESTIONS_MAX: usize = 64;

/// Pods that are asked for their counts at once.
const PODS_ASKED_AT_ONCE: usize = 16;

/// Answers to one question that may wait. More pods than that answer at once in no gateway.
const ANSWERS_MAX: usize = 1_000;

/// Gets the answers of pods to one question.
type Waiting = mpsc::Sender<(Arc<str>, Answer)>;

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

/// Answers of pods.
#[derive(Debug)]
pub struct Gathered {
    /// Who answered what.
    pub answers: Vec<Answer>,
    /// How many pods were asked.
    pub asked: usize,
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

/// How the connection was.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// How often it was made.
    connects: u64,
    is_connected: bool,
}

fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
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
        tasks.spawn(plane.clone().reply(to_all));
        tasks.spawn(plane.clone().reply(to_us));
        tasks.spawn(plane.clone().catch_up());
        tasks.spawn(plane.clone().keep_revocations());
        Ok(plane)
    }

    /// Waits until this pod knows who is there and who is revoked: before that it is not ready.
    pub async fn meet(&self) {
        while let Err(error) = self.read_revocations().await {
            debug!(event = "revocations_not_read", %error, "cannot read revocations yet");
            sleep(RETRY).await;
        }
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
        self.has_connection() && !self.0.echo_since.lock().is_some_and(is_late)
    }

    fn has_connection(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    /// Looks whether the broker came back since the last look: what was sent meanwhile did not come.
    fn look_back(&self) {
        let inner = &self.0;
        let now = Wire { connects: connects(&inner.client), is_connected: self.is_connected() };
        let before = mem::replace(&mut *inner.wire.lock(), now);
        if now.connects != before.connects || now.is_connected && !before.is_connected {
            inner.revocations.reach().miss();
            inner.peers.lock().come_back(self.now());
        }
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

    /// Asks all pods that are alive.
    pub async fn ask(&self, question: Question) -> Gathered {
        let others = self.0.peers.lock().alive();
        let subject = self.0.ask.clone();
        let asked = talk::ask(&self.0.pod, &question);
        let own = (self.0.answer)(question);
        let (own, others) = tokio::join!(own, self.gather(subject, asked, others));
        let Gathered { mut answers, asked } = others;
        answers.extend(Some(own).filter(Answer::is_one));
        Gathered { answers, asked: asked + 1 }
    }

    /// Asks one pod: this one, or one that is alive. `None` where it is not alive.
    pub async fn ask_pod(&self, pod: &str, question: Question) -> Option<Gathered> {
        if *pod == *self.0.pod {
            let own = (self.0.answer)(question).await;
            return Some(Gathered::one(own));
        }
        if !self.0.peers.lock().is_alive(pod) {
            return None;
        }
        let asked = talk::ask(&self.0.pod, &question);
        Some(self.gather(format!("{}.{pod}", self.0.ask), asked, vec![pod.into()]).await)
    }

    /// Who is in a topic, and whether every pod said so.
    pub async fn presence(&self, topic: &Topic) -> (Members, bool) {
        let gathered = self.ask(Question::Presence(topic.key().to_owned())).await;
        let is_complete = gathered.is_complete();
        (gathered.members(), is_complete)
    }

    /// Refuses somebody on all pods: stored first, then told to all.
    ///
    /// # Errors
    ///
    /// [`Unreachable`] where it is not stored. Nobody was told then.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Gathered, Unreachable> {
        if !self.is_connected() {
            return Err(Unreachable::new("the broker is lost"));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |it| it.as_secs());
        let stored = timeout(STORE_WITHIN, self.0.revocations.store(&revocation, now));
        let sequence = stored.await.map_err(Unreachable::new)??;
        let revocation = Revocation { sequence, ..revocation };
        let gathered = self.ask(Question::Revoke(vec![revocation])).await;
        self.learn(&[sequence]);
        Ok(gathered)
    }

    /// These revocations are known now.
    fn learn(&self, sequences: &[u64]) {
        for sequence in sequences {
            self.0.revocations.reach().learn(*sequence);
        }
        self.read_if_behind();
    }

    fn read_if_behind(&self) {
        if self.0.revocations.reach().is_behind() {
            self.0.unread.notify_one();
        }
    }

    /// Publishes a question, and collects answers until all of `others` have answered.
    async fn gather(&self, subject: String, question: Vec<u8>, others: Vec<Arc<str>>) -> Gathered {
        let mut asked: AHashSet<_> = others.into_iter().collect();
        let mut answers = Vec::new();
        if asked.is_empty() || !self.is_connected() {
            return Gathered { answers, asked: asked.len() };
        }
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let (waiter, mut inbox) = Waiter::new(self);
        let reply = format!("{}.{:016x}", self.0.inbox, waiter.token);
        let published = self.0.client.publish_with_reply(subject, reply, question.into());
        if !matches!(timeout_at(deadline, published).await, Ok(Ok(()))) {
            return Gathered { answers, asked: asked.len() };
        }
        let mut silent = asked.clone();
        while !silent.is_empty() {
            let Ok(Some((pod, answer))) = timeout_at(deadline, inbox.recv()).await else { break };
            // One that has just come is asked as well.
            let is_first = silent.remove(&pod) || asked.insert(pod);
            if is_first && answer.is_one() {
                answers.push(answer);
            }
        }
        Gathered { answers, asked: asked.len() }
    }

    fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Looks who is lost.
    fn look(&self, is_connected: bool) {
        let lost = {
            let mut peers = self.0.peers.lock();
            if is_connected {
                peers.resume(self.now());
            } else {
                peers.pause();
            }
            peers.lose(self.now())
        };
        for pod in &lost {
            warn!(event = "pod_lost", %pod, "a pod is not heard any more");
            self.0.users.lock().lose(pod);
            // It may have revoked somebody before it was lost, and says so no more.
            self.0.revocations.reach().miss();
        }
        self.tell_alive();
    }

    fn tell_alive(&self) {
        let mut alive = self.0.peers.lock().alive();
        alive.sort_unstable();
        self.0.alive.send_if_modified(|told| {
            let is_other = *told != alive;
            *told = alive;
            is_other
        });
    }

    async fn hear(self, mut beats: Subscriber) {
        while let Some(message) = beats.next().await {
            match Beat::decode(&message.payload) {
                Ok(beat) => self.heard(&beat),
                Err(dropped) => (self.0.dropped)(dropped),
            }
        }
    }

    fn heard(&self, beat: &Beat) {
        if beat.pod == self.0.pod {
            *self.0.echo_since.lock() = None;
            self.look_back();
            return;
        }
        // First, or what our own connection lost would be taken for a hole.
        self.look_back();
        let heard = self.hear_peer(beat);
        let mut users = self.0.users.lock();
        match heard {
            Heard::Nothing => return,
            Heard::Next => users.hear(beat),
            Heard::Hole => {
                users.miss(&beat.pod);
                users.hear(beat);
                self.0.missed.notify_one();
            }
            Heard::Bye => {
                info!(event = "pod_gone", pod = %beat.pod, "a pod goes away");
                users.lose(&beat.pod);
            }
        }
        drop(users);
        self.0.revocations.reach().tell(beat.revoked_in, beat.revoked);
        self.read_if_behind();
        self.tell_alive();
    }

    fn hear_peer(&self, beat: &Beat) -> Heard {
        let (heard, holes) = {
            let mut peers = self.0.peers.lock();
            (peers.hear(self.now(), beat), peers.holes())
        };
        let is_hole = self.0.holes.send_if_modified(|told| mem::replace(told, holes) != holes);
        if is_hole {
            info!(event = "pod_missed", pod = %beat.pod, "something that a pod sent was lost on the way");
            self.0.revocations.reach().miss();
        }
        heard
    }

    async fn receive(self, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let token = message.subject.rsplit('.').next();
            let Some(token) = token.and_then(|it| u64::from_str_radix(it, 16).ok()) else {
                continue;
            };
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                // Nobody listens, so nobody will answer.
                self.0.waiting.lock().remove(&token);
                continue;
            }
            match talk::answered(&message.payload) {
                Ok(said) => {
                    let answer = said.said.unwrap_or(Answer::Unknown);
                    if let Some(waiter) = self.0.waiting.lock().get(&token) {
                        // It has room for more than there are.
                        let _ = waiter.try_send((said.pod, answer));
                    }
                }
                Err(dropped) => (self.0.dropped)(dropped),
            }
        }
    }

    async fn reply(self, mut questions: Subscriber) {
        let room = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut answers = JoinSet::new();
        while let Some(message) = questions.next().await {
            while answers.try_join_next().is_some() {}
            let said = match talk::question(&message.payload) {
                Ok(said) if said.pod == self.0.pod => continue,
                Ok(said) => said,
                Err(dropped) => {
                    (self.0.dropped)(dropped);
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let plane = self.clone();
            answers.spawn(async move {
                let answer = plane.answer(said.said).await;
                let payload = Bytes::from(talk::answer(&plane.0.pod, answer));
                if let Some(reply) = message.reply {
                    // Who asked will see that this pod was silent.
                    let _ = plane.0.client.publish(reply, payload).await;
                }
                drop(place);
            });
        }
    }

    async fn answer(&self, question: Option<Question>) -> Answer {
        match question {
            None => Answer::Unknown,
            Some(Question::Counts(after)) => {
                Answer::Counts(self.0.users.lock().page(after.as_deref()))
            }
            Some(Question::Revoke(revocations)) => {
                let sequences: Vec<_> = revocations.iter().map(|it| it.sequence).collect();
                let answer = (self.0.answer)(Question::Revoke(revocations)).await;
                self.learn(&sequences);
                answer
            }
            Some(question) => (self.0.answer)(question).await,
        }
    }

    /// Reads revocations whenever there may be one that is not known.
    async fn keep_revocations(self) {
        loop {
            self.0.unread.notified().await;
            if !self.0.revocations.reach().is_behind() {
                continue;
            }
            if let Err(error) = self.read_revocations().await {
                debug!(event = "revocations_not_read", %error, "cannot read revocations now");
            }
            // Whatever others make up, it is not read more often.
            sleep(RETRY).await;
        }
    }

    /// Asks for the counts that were missed, whenever some were.
    async fn catch_up(self) {
        loop {
            self.0.missed.notified().await;
            let holes = self.0.users.lock().holes();
            // Side by side, or pods that are made up would hold up those that answer.
            stream::iter(holes)
                .for_each_concurrent(PODS_ASKED_AT_ONCE, |(pod, hole)| self.fill(pod, hole))
                .await;
        }
    }

    async fn fill(&self, pod: Arc<str>, hole: u64) {
        if self.read_counts(&pod).await {
            self.0.users.lock().filled(&pod, hole);
        }
    }

    /// Reads all that a pod told of users; whether it could. What is not read is asked for again at
    /// the next beat.
    async fn read_counts(&self, pod: &Arc<str>) -> bool {
        let mut after = None;
        loop {
            let question = Question::Counts(after.clone());
            let Some(gathered) = self.ask_pod(pod, question).await else { return false };
            let Some(Answer::Counts(page)) = gathered.answers.into_iter().next() else {
                return false;
            };
            self.0.users.lock().read(pod, after.as_deref(), &page);
            let last = page.users.last().map(|it| it.user.to_string());
            if !page.more || last <= after {
                return !page.more;
            }
            after = last;
        }
    }

    async fn read_revocations(&self) -> Result<(), Unreachable> {
        let take = |revocations| async {
            let _ = (self.0.answer)(Question::Revoke(revocations)).await;
        };
        self.0.revocations.read(take).await
    }
}

impl Gathered {
    /// What one pod alone was asked.
    pub fn one(answer: Answer) -> Self {
        Self { answers: Some(answer).filter(Answer::is_one).into_iter().collect(), asked: 1 }
    }

    /// Whether every pod that was asked has answered.
    pub fn is_complete(&self) -> bool {
        self.answers.len() == self.asked
    }

    /// The members that answers to [`Question::Presence`] name, and the total of all.
    pub fn members(self) -> Members {
        let mut members = Members::default();
        for answer in self.answers {
            let Answer::Presence(it) = answer else { continue };
            members.total = members.total.saturating_add(it.total);
            let room = MEMBERS_SHOWN_MAX.saturating_sub(members.members.len());
            members.members.extend(it.members.into_iter().take(room).map(Into::into));
        }
        members
    }
}

/// A place for answers that is given up when this is dropped.
struct Waiter<'a> {
    plane: &'a Plane,
    token: u64,
}

impl<'a> Waiter<'a> {
    fn new(plane: &'a Plane) -> (Self, mpsc::Receiver<(Arc<str>, Answer)>) {
        let (sender, inbox) = mpsc::channel(ANSWERS_MAX);
        let token = plane.0.tokens.fetch_add(1, Ordering::Relaxed);
        plane.0.waiting.lock().insert(token, sender);
        (Self { plane, token }, inbox)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.plane.0.waiting.lock().remove(&self.token);
    }
}
