//! Pods that know of each other through a real NATS server.
//!
//! `real_nats` says which server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod real_nats;

use std::{sync::Arc, time::Duration};

use async_nats::Client;
use headgate_gateway::{
    broker::nats::{
        names::Names,
        pods::{Beat, Opening, Told},
        talk::{Answer, Question, Revocation, Revoked, Stats},
        users::Verdict,
    },
    nats::plane::{Here, Plane, Start},
};
use real_nats::{BOUND, Server};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{interval, timeout},
};

fn revocation(user: &str) -> Revocation {
    // In the year 2096.
    Revocation { revoked: Revoked::User(user.into()), expires: 4_000_000_000, sequence: 0 }
}

/// What lies between one pod and the server, and can be cut.
struct Way {
    url: String,
    is_open: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Way {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let to = server.url.trim_start_matches("nats://").to_owned();
        let is_open = watch::Sender::new(true);
        let mut open = is_open.subscribe();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut pipes = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (mut from, _) = accepted.unwrap();
                        if *open.borrow() {
                            let mut to = TcpStream::connect(&to).await.unwrap();
                            pipes.spawn(async move {
                                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                            });
                        }
                    }
                    changed = open.changed() => {
                        changed.unwrap();
                        pipes.abort_all();
                    }
                }
            }
        });
        Self { url, is_open, _task: task }
    }

    async fn cut(&self, pod: &Pod) {
        self.is_open.send_replace(false);
        pod.beat_until("the broker is lost", |_| !pod.plane.is_connected()).await;
    }

    async fn mend(&self, pod: &Pod) {
        self.is_open.send_replace(true);
        pod.beat_until("the broker is back", |_| pod.plane.is_connected()).await;
    }
}

/// A pod that is nothing but a plane.
struct Pod {
    plane: Plane,
    client: Client,
    revoked: mpsc::Receiver<Revocation>,
    _tasks: JoinSet<()>,
}

impl Pod {
    async fn start(server: &Server, name: &str) -> Self {
        Self::start_at(&server.url, name).await
    }

    async fn start_at(url: &str, name: &str) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let (revoke, revoked) = mpsc::channel(100);
        let answer = move |question| {
            let answer = match question {
                Question::Stats => {
                    Answer::Stats(Stats { active_connections: 1, ..Stats::default() })
                }
                Question::Revoke(revocations) => {
                    let count = revocations.len();
                    for it in revocations {
                        revoke.try_send(it).unwrap();
                    }
                    Answer::Count(count as u64)
                }
                _ => Answer::Unknown,
            };
            Box::pin(std::future::ready(answer)) as futures_util::future::BoxFuture<'static, Answer>
        };
        let mut tasks = JoinSet::new();
        let start = Start {
            client: client.clone(),
            names: Names::new("demo", "chat"),
            pod: name.into(),
            answer: Arc::new(answer),
            dropped: Arc::new(|dropped| panic!("dropped: {dropped}")),
        };
        let plane = Plane::start(start, &mut tasks).await.unwrap();
        // An answer of the server means that it knows what was subscribed before.
        async_nats::jetstream::new(client.clone()).query_account().await.unwrap();
        Self { plane, client, revoked, _tasks: tasks }
    }

    async fn beat(&self, changed: &[(&str, &[Opening])]) -> Verdict {
        let changed = changed.iter().map(|(user, opened)| Told::new((*user).into(), opened));
        let changed = changed.collect();
        self.plane.beat(Here { now: 0, connections: 1, limit: 1, changed }).await
    }

    /// Beats until a verdict is as expected.
    async fn beat_until(&self, what: &str, is_it: impl Fn(&Verdict) -> bool) {
        let mut ticks = interval(Duration::from_millis(20));
        let beats = async {
            while !is_it(&self.beat(&[]).await) {
                ticks.tick().await;
            }
        };
        timeout(BOUND, beats).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Beats until somebody is refused here; says who.
    async fn beat_until_revoked(&mut self) -> Revocation {
        let mut ticks = interval(Duration::from_millis(20));
        let told = async {
            loop {
                if let Ok(it) = self.revoked.try_recv() {
                    return it;
                }
                self.beat(&[]).await;
                ticks.tick().await;
            }
        };
        timeout(BOUND, told).await.expect("somebody is refused")
    }

    async fn alive(&self, pods: &[&str]) {
        let mut alive = self.plane.alive();
        let is_it = alive.wait_for(|alive| alive.iter().map(|it| &**it).eq(pods.iter().copied()));
        timeout(BOUND, is_it).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_is_alive_answers_and_who_is_silent_is_counted() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start(&server, "0000000b").await;
    b.beat(&[]).await;
    a.alive(&["0000000b"]).await;

    let both = a.plane.ask(Question::Stats).await;
    assert!(both.is_complete() && both.asked == 2, "{both:?}");
    let unknown = a.plane.ask(Question::Presence("room".into())).await;
    assert!(!unknown.is_complete() && unknown.asked == 2, "{unknown:?}");
    let one = a.plane.ask_pod("0000000b", Question::Stats).await.unwrap();
    assert!(one.is_complete() && one.asked == 1, "{one:?}");
    assert!(a.plane.ask_pod("0000000c", Question::Stats).await.is_none());

    // It is killed: it says nothing more.
    drop(b);
    let alone = a.plane.ask(Question::Stats).await;
    assert!(alone.answers.len() == 1 && alone.asked == 2, "{alone:?}");
    a.beat_until("the pod is lost", |_| a.plane.alive().borrow().is_empty()).await;
    let alone = a.plane.ask(Question::Stats).await;
    assert!(alone.is_complete() && alone.asked == 1, "{alone:?}");
}

#[tokio::test]
async fn who_says_goodbye_is_gone_at_once_and_stays_so() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start(&server, "0000000b").await;
    b.beat(&[]).await;
    a.alive(&["0000000b"]).await;
    let last = Beat::new("0000000c".into(), 1);

    b.plane.bye().await;

    a.alive(&[]).await;
    // What it does after that brings it back to nobody. NATS keeps the order of what one sends.
    b.beat(&[]).await;
    b.client.publish(Names::new("demo", "chat").own("pods"), last.encode().into()).await.unwrap();
    a.alive(&["0000000c"]).await;
}

#[tokio::test]
async fn a_beat_that_does_not_come_is_told_and_what_our_own_connection_lost_is_not() {
    let server = Server::start();
    let way = Way::to(&server).await;
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start_at(&way.url, "0000000b").await;
    let mut holes = b.plane.holes();
    a.beat(&[]).await;
    b.alive(&["0000000a"]).await;

    way.cut(&b).await;
    for _ in 0..3 {
        a.beat(&[("al", &[1])]).await;
    }
    way.mend(&b).await;
    a.beat(&[]).await;
    b.beat_until("what was missed is read", |it| it.elsewhere == [("al".into(), 1)]).await;
    assert_eq!(*holes.borrow(), 0);

    let pods = Names::new("demo", "chat").own("pods");
    for seq in [1, 3] {
        let beat = Beat::new("0000000c".into(), seq);
        a.client.publish(pods.clone(), beat.encode().into()).await.unwrap();
    }
    timeout(BOUND, holes.wait_for(|it| *it == 1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_of_a_user_are_counted_over_pods() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start(&server, "0000000b").await;

    a.beat(&[("al", &[10])]).await;
    b.beat(&[("al", &[20])]).await;
    b.beat_until("the newer one is over", |it| it.over.contains(&20)).await;
    b.beat(&[("al", &[])]).await;

    // One that comes later reads what was told before, and forgets it with the pod.
    let c = Pod::start(&server, "0000000c").await;
    a.beat(&[]).await;
    c.beat_until("the count is read", |it| it.elsewhere == [("al".into(), 1)]).await;
    a.plane.bye().await;
    c.beat_until("the pod is gone", |it| it.elsewhere == [("al".into(), 0)]).await;
}

#[tokio::test]
async fn many_users_are_read_page_by_page() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let names: Vec<_> = (0..10_000).map(|at| format!("user-{at:05}-{}", "x".repeat(40))).collect();
    let changed: Vec<(&str, &[Opening])> = names.iter().map(|it| (&**it, &[1][..])).collect();
    a.beat(&changed).await;

    let b = Pod::start(&server, "0000000b").await;
    a.beat(&[]).await;

    let known = std::cell::RefCell::new(std::collections::BTreeSet::new());
    b.beat_until("all are read", |it| {
        let mut known = known.borrow_mut();
        known.extend(it.elsewhere.iter().filter(|it| it.1 == 1).map(|it| it.0.to_string()));
        known.len() == names.len()
    })
    .await;
}

#[tokio::test]
async fn a_revocation_is_kept_for_pods_that_come_later() {
    let server = Server::start();
    let mut a = Pod::start(&server, "0000000a").await;
    let mut b = Pod::start(&server, "0000000b").await;
    for pod in [&a, &b] {
        timeout(BOUND, pod.plane.meet()).await.unwrap();
    }
    b.beat(&[]).await;
    a.alive(&["0000000b"]).await;

    let gathered = timeout(BOUND, a.plane.revoke(revocation("al"))).await.unwrap().unwrap();
    assert!(gathered.is_complete() && gathered.asked == 2, "{gathered:?}");
    let revoked = a.revoked.recv().await.unwrap();
    assert_eq!(revoked, Revocation { sequence: 1, ..revocation("al") });
    assert_eq!(b.revoked.recv().await.unwrap(), revoked);

    let mut c = Pod::start(&server, "0000000c").await;
    timeout(BOUND, c.plane.meet()).await.unwrap();
    assert_eq!(c.revoked.recv().await.unwrap(), revoked);

    // One that misses the question hears of it by the next beat.
    let late = Pod::start(&server, "0000000d").await;
    timeout(BOUND, late.plane.meet()).await.unwrap();
    timeout(BOUND, late.plane.revoke(revocation("bo"))).await.unwrap().unwrap();
    late.beat(&[]).await;
    let told = timeout(BOUND, b.revoked.recv()).await.unwrap().unwrap();
    assert_eq!(told, Revocation { sequence: 2, ..revocation("bo") });
    assert_eq!(b.client.connection_state(), async_nats::connection::State::Connected);
}

/// A server, two pods that have met, and the way of the second one to the server.
async fn apart() -> (Server, Way, Pod, Pod) {
    let server = Server::start();
    let way = Way::to(&server).await;
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start_at(&way.url, "0000000b").await;
    for pod in [&a, &b] {
        timeout(BOUND, pod.plane.meet()).await.unwrap();
    }
    (server, way, a, b)
}

#[tokio::test]
async fn who_was_cut_off_reads_what_a_pod_that_died_has_revoked() {
    let (_server, way, a, mut b) = apart().await;

    way.cut(&b).await;
    timeout(BOUND, a.plane.revoke(revocation("al"))).await.unwrap().unwrap();
    // Nobody is left who could say that there is something to read.
    drop(a);
    way.mend(&b).await;

    assert_eq!(b.beat_until_revoked().await.revoked, Revoked::User("al".into()));
}

#[tokio::test]
async fn numbers_of_an_emptied_stream_end_no_catching_up() {
    let (_server, way, a, mut b) = apart().await;
    b.beat(&[]).await;
    a.alive(&["0000000b"]).await;
    for number in 1..=5 {
        let user = format!("old-{number}");
        timeout(BOUND, a.plane.revoke(revocation(&user))).await.unwrap().unwrap();
        assert_eq!(b.revoked.recv().await.unwrap().sequence, number);
    }

    let names = Names::new("demo", "chat");
    let context = async_nats::jetstream::new(a.client.clone());
    context.delete_stream(names.revocations()).await.unwrap();
    way.cut(&b).await;
    timeout(BOUND, a.plane.revoke(revocation("al"))).await.unwrap().unwrap();
    way.mend(&b).await;
    a.beat(&[]).await;

    let told = b.beat_until_revoked().await;
    assert_eq!(told, Revocation { sequence: 1, ..revocation("al") });
}

#[tokio::test]
async fn a_number_that_is_made_up_ends_no_catching_up() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let mut b = Pod::start(&server, "0000000b").await;
    for pod in [&a, &b] {
        timeout(BOUND, pod.plane.meet()).await.unwrap();
    }
    let pods = Names::new("demo", "chat").own("pods");
    let forged = Beat { revoked: u64::MAX, ..Beat::new("0000000f".into(), 1) };
    a.client.publish(pods, forged.encode().into()).await.unwrap();
    b.alive(&["0000000f"]).await;
    timeout(BOUND, a.plane.revoke(revocation("al"))).await.unwrap().unwrap();
    assert_eq!(b.beat_until_revoked().await.sequence, 1);

    // This one is stored, and nobody is asked; only a beat says so.
    let c = Pod::start(&server, "0000000c").await;
    timeout(BOUND, c.plane.meet()).await.unwrap();
    timeout(BOUND, c.plane.revoke(revocation("bo"))).await.unwrap().unwrap();
    c.beat(&[]).await;

    assert_eq!(b.beat_until_revoked().await.sequence, 2);
}

#[tokio::test]
async fn a_part_is_not_taken_for_the_whole_while_the_broker_is_silent() {
    let server = Server::start();
    let a = Pod::start(&server, "0000000a").await;
    let b = Pod::start(&server, "0000000b").await;
    b.beat(&[]).await;
    a.alive(&["0000000b"]).await;

    // The connection stays, so only beats that do not come back say so.
    server.signal("STOP");
    a.beat_until("the broker is lost", |_| !a.plane.is_connected()).await;
    let alone = a.plane.ask(Question::Stats).await;
    assert!(alone.answers.len() == 1 && alone.asked == 2, "{alone:?}");
    assert!(a.plane.revoke(revocation("al")).await.is_err());

    server.signal("CONT");
    a.beat_until("the broker is back", |_| a.plane.is_connected()).await;
    let both = a.plane.ask(Question::Stats).await;
    assert!(both.is_complete() && both.asked == 2, "{both:?}");
}
