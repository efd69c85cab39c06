//! The newest of a topic, and what it costs to find them, with a real NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod real_nats;

use std::time::Duration;

use async_nats::{Client, jetstream};
use futures_util::future::join_all;
use headgate_gateway::broker::nats::link::What;
use real_nats::{
    BOUND, Server,
    pod::{Pod, STREAM},
};
use tokio::time::{Instant, interval, timeout};

/// Stores publications of so many bytes, in this order: places begin with 1.
async fn store(client: &Client, topics: impl IntoIterator<Item = &str>, bytes: usize) {
    let payload = format!("{{\"v\":1}}\n\"{}\"", "x".repeat(bytes));
    let mut count = 0;
    for topic in topics {
        let subject = format!("headgate.default.chat.hist.kept_2E_2A_2A.kept_2E{topic}");
        client.publish(subject, payload.clone().into()).await.unwrap();
        count += 1;
    }
    client.flush().await.unwrap();
    let stream = jetstream::new(client.clone()).get_stream(STREAM).await.unwrap();
    let all = async {
        let mut ticks = interval(Duration::from_millis(20));
        while stream.get_info().await.unwrap().state.last_sequence < count {
            ticks.tick().await;
        }
    };
    timeout(BOUND, all).await.expect("all are stored");
}

#[tokio::test]
async fn a_long_history_costs_no_more_than_what_is_asked_for() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100_000).await;
    let client = async_nats::connect(&server.url).await.unwrap();
    store(&client, (0..20_000).map(|_| "x"), 10).await;

    let statistics = pod.broker.client.statistics();
    let messages = || statistics.in_messages.load(std::sync::atomic::Ordering::Relaxed);
    let before = messages();
    assert_eq!(pod.newest("kept.x", 1).await, [20_000]);
    let one = messages() - before;
    assert_eq!(pod.newest("kept.x", 100).await, (19_901..=20_000).collect::<Vec<_>>());
    let hundred = messages() - before - one;

    // Beside what is asked for: answers, the ends of pages, and what else a pod hears meanwhile.
    assert!(one < 20 && hundred < 140, "{one} messages for one, {hundred} for a hundred");
}

#[tokio::test]
async fn the_newest_are_found_wherever_they_are() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100_000).await;
    let client = async_nats::connect(&server.url).await.unwrap();
    // At first many at once, then one among a thousand others, and at last only others.
    let order: Vec<_> = (1..=30_000_u64)
        .map(|place| match place {
            ..=3_000 => "x",
            3_001..=27_000 if place % 1_000 == 0 => "x",
            29_999.. => "y",
            _ => "other",
        })
        .collect();
    store(&client, order.iter().copied(), 10).await;
    let places = |topic: &str, limit: usize| {
        let all = (1..).zip(&order).filter(|(_, it)| **it == topic).map(|(place, _)| place);
        let all: Vec<u64> = all.collect();
        all[all.len().saturating_sub(limit)..].to_vec()
    };

    for limit in [1, 2, 3, 7, 23, 24, 25, 26, 50, 99, 100] {
        assert_eq!(pod.newest("kept.x", limit).await, places("x", limit), "the newest {limit}");
    }
    for limit in [1, 2, 3, 100] {
        assert_eq!(pod.newest("kept.y", limit).await, places("y", limit), "the newest {limit}");
    }
    assert!(pod.newest("kept.nobody", 10).await.is_empty());
}

#[tokio::test]
async fn the_newest_are_those_that_fit_into_a_page() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 1_000).await;
    let client = async_nats::connect(&server.url).await.unwrap();
    let order = (1..=300).map(|place| if place % 3 == 0 { "x" } else { "other" });
    store(&client, order, 20_000).await;

    let newest = pod.newest("kept.x", 100).await;

    // 256 KiB have room for 13, and the server ends with the one that is too many.
    let expected: Vec<_> = (1..=100).map(|it| it * 3).skip(100 - newest.len()).collect();
    assert!((12..=14).contains(&newest.len()) && newest == expected, "{newest:?}");
}

#[tokio::test]
async fn reads_that_find_no_place_end_and_history_has_its_own() {
    // Whoever asks a stream for a message is not answered.
    let server = Server::start_with(&format!(
        "mappings: {{\"$JS.API.STREAM.MSG.GET.{STREAM}\": \"nobody.answers\"}}"
    ));
    let client = async_nats::connect(&server.url).await.unwrap();
    let _silent = client.subscribe("nobody.answers").await.unwrap();
    client.flush().await.unwrap();
    let pod = Pod::start(&server, "0000000a", 100).await;
    let since = pod.store("kept.x", "1").await.unwrap();

    let began = Instant::now();
    let reads = join_all((0..400).map(|_| pod.after("kept.x", since)));
    let question = async {
        assert!(pod.read("kept.x", |done| What::Newest(1, done)).await.is_err());
        began.elapsed()
    };
    let (reads, question) = tokio::join!(reads, question);

    assert!(reads.iter().all(Result::is_err));
    // Five seconds for a place, and five for the read.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert!(question < Duration::from_secs(7), "history waited for the others: {question:?}");
}
