//! What a pod says of a stream whose bounds are not those of its manifest, with a real NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod real_nats;

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream::Config};
use headgate_gateway::{
    broker::{
        Position,
        nats::{link::Notice, names::Names},
    },
    nats::streams::Streams,
};
use real_nats::{
    BOUND, Server,
    pod::{Pod, STREAM},
};
use tokio::time::{interval, timeout};

async fn context(server: &Server) -> Context {
    jetstream::new(async_nats::connect(&server.url).await.unwrap())
}

async fn bounds(context: &Context) -> Config {
    context.get_stream(STREAM).await.unwrap().cached_info().config.clone()
}

#[tokio::test]
async fn what_a_stream_removed_by_bounds_of_its_own_is_not_recovered() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    let context = context(&server).await;
    let config = bounds(&context).await;
    context.update_stream(Config { max_messages_per_subject: 3, ..config }).await.unwrap();

    // The stream begins before all of them.
    pod.store("kept.oldest", "0").await.unwrap();
    let mut places = Vec::new();
    for _ in 0..10 {
        places.push(pod.store("kept.x", "1").await.unwrap());
    }

    let found = pod.after("kept.x", places[4]).await.unwrap();
    assert!(!found.is_complete && found.messages.len() == 3, "{found:?}");
    let found = pod.after("kept.x", places[7]).await.unwrap();
    assert!(found.is_complete && found.messages.len() == 2, "{found:?}");
}

#[tokio::test]
async fn a_pod_whose_manifest_is_older_does_not_hide_what_is_gone() {
    let server = Server::start();
    let old = Pod::start(&server, "0000000a", 1_000).await;
    let new = Pod::start(&server, "0000000b", 1_000).await;
    new.store("kept.oldest", "0").await.unwrap();
    let since = new.store("kept.x", "0").await.unwrap();
    for _ in 0..10 {
        new.store("kept.x", "1").await.unwrap();
    }

    new.change(3).await;

    for pod in [&old, &new] {
        let found = pod.after("kept.x", since).await.unwrap();
        assert!(!found.is_complete && found.messages.len() == 3, "{found:?}");
    }
}

#[tokio::test]
async fn a_rule_that_changes_while_nats_is_away_reaches_its_stream() {
    let mut server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    server.kill();

    // Twice: the last one counts.
    pod.change(3).await;
    pod.change(7).await;
    server.start_again();

    let context = context(&server).await;
    let changed = async {
        let mut ticks = interval(Duration::from_millis(100));
        while bounds(&context).await.max_messages_per_subject != 7 {
            ticks.tick().await;
        }
    };
    timeout(BOUND, changed).await.expect("the stream has the bounds of the manifest");
}

#[tokio::test]
async fn what_pods_rely_on_is_put_back_and_every_pod_asks_for_what_it_missed() {
    let server = Server::start();
    let mut pods = [
        Pod::start(&server, "0000000a", 100).await,
        Pod::start(&server, "0000000b", 7).await,
        Pod::start(&server, "0000000c", 7).await,
    ];
    let context = context(&server).await;
    let config = bounds(&context).await;
    for pod in &mut pods {
        while pod.notices.try_recv().is_ok() {}
    }

    let changed = Config { republish: None, allow_direct: false, ..config.clone() };
    context.update_stream(changed).await.unwrap();

    for pod in &mut pods {
        let back = async {
            while !matches!(pod.notices.recv().await, Some(Notice::Back { is_break: false })) {}
        };
        timeout(BOUND, back).await.expect("the pod asks its streams");
        let Config { republish, allow_direct, max_messages_per_subject, .. } =
            bounds(&context).await;
        assert_eq!((&republish, allow_direct), (&config.republish, true));
        assert_eq!(max_messages_per_subject, 7, "bounds stay what they were");
    }
}

#[tokio::test]
async fn a_stream_is_given_up_only_if_it_ends_too_early_twice() {
    let server = Server::start();
    let pod = Pod::start(&server, "0000000a", 100).await;
    let client = async_nats::connect(&server.url).await.unwrap();
    let names = Names::new("default", "chat");
    let streams = Streams::new(client, names, 1 << 20);
    let Position { epoch, offset } = pod.store("kept.x", "1").await.unwrap();

    // The place comes while it is looked at a second time.
    let ((), stored) =
        tokio::join!(streams.begin_anew(STREAM, epoch, offset + 1), pod.store("kept.x", "2"),);
    assert_eq!(stored, Ok(Position { epoch, offset: offset + 1 }));
    assert_eq!(pod.newest("kept.x", 10).await, [offset, offset + 1]);

    // It does not.
    streams.begin_anew(STREAM, epoch, offset + 2).await;
    let there = context(&server).await.get_stream(STREAM).await;
    assert!(there.is_err_and(|error| error.to_string().contains("not found")));
}
