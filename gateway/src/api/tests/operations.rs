//! What each operation asks of the gateway, and what it answers.

use serde_json::{Value, json};

use super::super::{
    gateway::{Disconnect, Message, Publish, Revocation, Revoked, Target},
    operation::Operation,
    route::channel,
};
use super::*;

async fn check(path: &str, body: &str, asked: Operation, expected: Value) {
    let target = format!("/api/v1/{path}");

    let found = exchange(Fake::default(), request("POST", &target, body)).await;

    assert_eq!(found, (StatusCode::OK, expected, vec![Asked::To(asked)]), "{path} {body}");
}

fn message(data: &'static str) -> Message {
    Message { data: Bytes::from_static(data.as_bytes()), traceparent: None }
}

fn publish(channels: &[&str], data: &'static str) -> Publish {
    Publish {
        channels: channels.iter().map(|name| channel(name).unwrap()).collect(),
        data: Bytes::from_static(data.as_bytes()),
        key: None,
        exclude: None,
        traceparent: None,
    }
}

fn alice() -> Target {
    Target::User("alice".to_owned())
}

fn one() -> Value {
    json!({"asked": 1, "answered": 1})
}

#[tokio::test]
async fn publish_tells_the_place_in_each_channel() {
    let place = json!({"channel": "room.42", "epoch": "0000000000c0ffee", "offset": 43});
    check(
        "publish",
        r#"{"channel": "room.42", "data": {"text" : "a b"}}"#,
        Operation::Publish(publish(&["room.42"], r#"{"text":"a b"}"#)),
        json!({"results": [place]}),
    )
    .await;
    check(
        "publish",
        r#"{"channels":["room.42","news"],"data":null,"key":"k","exclude":"c1"}"#,
        Operation::Publish(Publish {
            key: Some("k".to_owned()),
            exclude: Some("c1".to_owned()),
            ..publish(&["room.42", "news"], "null")
        }),
        json!({"results": [place, {"channel": "news"}]}),
    )
    .await;
}

#[tokio::test]
async fn messages_go_to_everybody_a_user_or_a_connection() {
    let data = r#"{"data":[1.50]}"#;
    let connection = Target::Connection("c1".to_owned());
    let place = json!({"epoch": "0000000000c0ffee", "offset": 7});
    check("broadcast", data, Operation::Broadcast(message("[1.50]")), json!({})).await;
    check("users/alice/messages", data, Operation::Message(alice(), message("[1.50]")), place)
        .await;
    check(
        "connections/c1/messages",
        data,
        Operation::Message(connection, message("[1.50]")),
        json!({}),
    )
    .await;
}

#[tokio::test]
async fn connections_are_closed_with_or_without_a_word() {
    let how = Disconnect { code: Some(4100), reason: Some("moved".to_owned()) };
    let connection = Target::Connection("c3".to_owned());
    let counted = |connections: u64| json!({"connections": connections, "pods": one()});
    for body in ["", " \n", "{}"] {
        let asked = Operation::Disconnect(alice(), Disconnect::default());
        check("users/alice/disconnect", body, asked, counted(2)).await;
    }
    check(
        "connections/c3/disconnect",
        r#"{"code":4100.0,"reason":"moved"}"#,
        Operation::Disconnect(connection, how),
        counted(1),
    )
    .await;
}

#[tokio::test]
async fn users_are_subscribed_and_unsubscribed() {
    let room = || channel("room.42").unwrap();
    let body = r#"{"channel":"room.42"}"#;
    let two = || json!({"connections": 2, "pods": one()});
    let none = json!({"connections": 0, "pods": one()});
    let name = || "alice".to_owned();
    check("users/alice/subscribe", body, Operation::Subscribe(name(), room()), two()).await;
    check("users/alice/unsubscribe", body, Operation::Unsubscribe(name(), room()), two()).await;
    let asked = Operation::Subscribe("b/o%b é".to_owned(), room());
    check("users/b%2Fo%25b%20%C3%A9/subscribe", body, asked, none).await;
}

#[tokio::test]
async fn tokens_and_users_are_revoked() {
    let counted = || json!({"connections": 2, "pods": {"asked": 3, "answered": 2}});
    let revoked = |revoked, expires| Operation::Revoke(Revocation { revoked, expires });
    check(
        "revocations",
        r#"{"jti":"f1c2","expires":0}"#,
        revoked(Revoked::Jti("f1c2".to_owned()), 0),
        counted(),
    )
    .await;
    check(
        "revocations",
        r#"{"user":"mallory","expires":9007199254740991}"#,
        revoked(Revoked::User("mallory".to_owned()), 9_007_199_254_740_991),
        counted(),
    )
    .await;
}

#[tokio::test]
async fn the_trace_goes_along_unless_it_is_none() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (sent, expected) in [(trace, Some(trace)), (&"0".repeat(129), None)] {
        let request = request("POST", "/api/v1/broadcast", r#"{"data":1}"#);
        let request = with_header(request, HeaderName::from_static("traceparent"), sent);

        let (.., asked) = exchange(Fake::default(), request).await;

        let traceparent = expected.map(HeaderValue::from_static);
        let broadcast = Operation::Broadcast(Message { traceparent, ..message("1") });
        assert_eq!(asked, [Asked::To(broadcast)]);
    }
}
