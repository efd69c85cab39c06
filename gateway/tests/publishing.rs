//! What publishing promises while NATS, or one of its streams, is slow or silent, with a real NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod real_nats;

use std::{
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use async_nats::jetstream::{self, stream::Config};
use headgate_gateway::broker::{
    Position,
    nats::link::{Done, Lost, Order},
};
use real_nats::{
    BOUND, Server,
    pod::{Pod, STREAM, publish},
};
use tokio::time::{Instant, sleep, timeout};

/// Has the stream of `mute.**` store, and never say so.
async fn silence(server: &Server) {
    let context = jetstream::new(async_nats::connect(&server.url).await.unwrap());
    let stream = context.get_stream(STREAM.replace("kept", "mute")).await.unwrap();
    let config = stream.cached_info().config.clone();
    context.update_stream(Config { no_ack: true, ..config }).await.unwrap();
}

/// Publishes to `mute.**`; what is answered comes to the receiver.
fn flood(pod: &Pod, count: usize, bytes: usize) -> Receiver<Result<Option<Position>, Lost>> {
    let (tell, told) = mpsc::channel();
    let data = format!("\"{}\"", "x".repeat(bytes));
    for _ in 0..count {
        let tell = tell.clone();
        let done = Done::new(move |answer| tell.send(answer).unwrap_or_default());
        pod.link
            .order(Order::Publish(publish("mute.x", &data), Some(pod.mute()), Some(done)))
            .expect("room for it");
    }
    told
}

#[tokio::test]
async fn a_silent_stream_holds_up_nothing_else() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    pod.store("kept.x", "1").await.unwrap();
    silence(&server).await;

    let told = flood(&pod, 6_000, 1);

    let others = async {
        pod.hand_on("public.x").await.unwrap();
        pod.store("kept.x", "2").await.unwrap();
        assert_eq!(pod.newest("kept.x", 10).await.len(), 2);
    };
    timeout(Duration::from_secs(3), others).await.expect("the others go on");
    assert!(told.try_recv().is_err(), "nobody said that it is stored, or that it is not");
    let all = tokio::task::spawn_blocking(move || {
        (0..6_000).map(|_| told.recv_timeout(BOUND).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(all.await.unwrap(), vec![Err(Lost); 6_000]);
}

#[tokio::test]
async fn a_silent_stream_takes_no_more_than_its_share() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    silence(&server).await;

    let told = flood(&pod, 200, 100_000);
    // Its orders are before this one.
    pod.hand_on("public.x").await.unwrap();

    // 8 MiB have room for 83 of them.
    assert_eq!(told.try_iter().collect::<Vec<_>>(), vec![Err(Lost); 117]);
    flood(&pod, 10, 100_000);
    timeout(Duration::from_secs(3), pod.store("kept.x", &"1".repeat(100_000)))
        .await
        .expect("another stream has its own")
        .unwrap();
}

#[tokio::test]
async fn what_is_stored_late_is_published() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    let first = pod.store("kept.x", "1").await.unwrap();
    server.signal("STOP");

    let began = Instant::now();
    let late = async {
        sleep(Duration::from_millis(2_500)).await;
        server.signal("CONT");
    };
    let (stored, ()) = tokio::join!(pod.store("kept.x", "2"), late);

    assert_eq!(stored.map(|it| it.offset), Ok(first.offset + 1));
    assert!(began.elapsed() > Duration::from_secs(2));
}

#[tokio::test]
async fn an_answer_that_fails_to_be_told_ends_no_other() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    let (tell, told) = mpsc::channel::<()>();
    let done = Done::new(move |_: Result<_, Lost>| {
        drop(tell);
        panic!("this answer cannot be told");
    });
    let order = Order::Publish(publish("kept.x", "1"), Some(pod.kept()), Some(done));
    pod.link.order(order).unwrap();
    tokio::task::spawn_blocking(move || told.recv_timeout(BOUND)).await.unwrap().unwrap_err();

    let stored = timeout(BOUND, async {
        // Who comes before its end is seen hears that the outcome is not known.
        loop {
            if let Ok(stored) = pod.store("kept.x", "2").await {
                return stored;
            }
        }
    });
    assert!(stored.await.expect("it is stored").offset > 1);
}
