//! Every envelope, to the byte: what `serde_json` writes of the same fields in the same order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::position::Epoch;

const AT: Position = Position { epoch: Epoch(0xabc), offset: 7 };

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn check(write: impl FnOnce(&mut Vec<u8>), expected: &Value) {
    assert_eq!(written(write), expected.to_string());
}

#[test]
fn replies_carry_the_id_as_it_came() {
    for (id, expected) in [("1.50", r#","id":1.50,"#), ("\"\\u0061\"", r#","id":"\u0061","#)] {
        let text = written(|out| pong(out, Some(id)));
        assert_eq!(text, format!(r#"{{"type":"pong"{expected}"payload":null}}"#));
    }
    check(|out| pong(out, None), &json!({"type": "pong", "payload": null}));
}

#[test]
fn subscriptions_are_answered() {
    let epoch = "0000000000000abc";
    check(
        |out| subscribed(out, Some("1"), "r", Some(AT), Some(true)),
        &json!({"type": "subscribed", "id": 1, "payload":
            {"channel": "r", "epoch": epoch, "offset": 7, "recovered": true}}),
    );
    check(
        |out| subscribed(out, None, "r", None, None),
        &json!({"type": "subscribed", "payload": {"channel": "r"}}),
    );
    check(
        |out| unsubscribed(out, Some("1"), "r"),
        &json!({"type": "unsubscribed", "id": 1, "payload": {"channel": "r"}}),
    );
    check(
        |out| subscription_ended(out, "r", SubscriptionEnd::Forbidden),
        &json!({"type": "unsubscribed", "payload":
            {"channel": "r", "code": "forbidden", "reason": "no longer allowed"}}),
    );
    check(
        |out| gap(out, "r", Some(AT)),
        &json!({"type": "gap", "payload": {"channel": "r", "epoch": epoch, "offset": 7}}),
    );
    check(|out| gap(out, "r", None), &json!({"type": "gap", "payload": {"channel": "r"}}));
}

#[test]
fn publishing_is_answered_and_delivered() {
    check(
        |out| published(out, Some("1"), "r", Some(7)),
        &json!({"type": "published", "id": 1, "payload": {"channel": "r", "offset": 7}}),
    );
    check(
        |out| published(out, Some("1"), "r", None),
        &json!({"type": "published", "id": 1, "payload": {"channel": "r"}}),
    );
    let data = br#"{"a":[1]}"#;
    let full = Message { channel: Some("r"), data, offset: Some(7), user: Some("al") };
    check(
        |out| message(out, &full),
        &json!({"type": "message", "payload":
            {"channel": "r", "data": {"a": [1]}, "offset": 7, "user": "al"}}),
    );
    let least = Message { channel: None, data, offset: None, user: None };
    check(|out| message(out, &least), &json!({"type": "message", "payload": {"data": {"a": [1]}}}));
}

#[test]
fn history_holds_the_payloads_of_its_messages() {
    let stored = ["1", "2"].map(|data| {
        let (channel, data) = (Some("r"), data.as_bytes());
        written(|out| message(out, &Message { channel, data, offset: Some(7), user: None }))
    });
    let payloads = || stored.iter().map(|envelope| message_payload(envelope.as_bytes()));

    check(
        |out| history(out, Some("1"), "r", AT, payloads(), false),
        &json!({"type": "history", "id": 1, "payload": {
            "channel": "r", "epoch": "0000000000000abc", "offset": 7,
            "messages": [
                {"channel": "r", "data": 1, "offset": 7},
                {"channel": "r", "data": 2, "offset": 7},
            ],
            "more": false}}),
    );
    check(
        |out| history(out, None, "r", AT, [], true),
        &json!({"type": "history", "payload": {"channel": "r", "epoch": "0000000000000abc",
            "offset": 7, "messages": [], "more": true}}),
    );
}

#[test]
fn presence_names_connections() {
    let full = Member { user: Some("al"), connection: "c1", info: Some("{\"n\":1}") };
    let least = Member { user: None, connection: "c2", info: None };
    check(
        |out| presence(out, Some("1"), "r", [full, least], 5, false),
        &json!({"type": "presence", "id": 1, "payload": {
            "channel": "r",
            "members": [
                {"user": "al", "connection": "c1", "info": {"n": 1}},
                {"connection": "c2"},
            ],
            "total": 5,
            "complete": false}}),
    );
    check(
        |out| join(out, "r", &full),
        &json!({"type": "join", "payload":
            {"channel": "r", "user": "al", "connection": "c1", "info": {"n": 1}}}),
    );
    check(
        |out| leave(out, "r", &least),
        &json!({"type": "leave", "payload": {"channel": "r", "connection": "c2"}}),
    );
    check(
        |out| presence_changed(out, "r", Some(1001)),
        &json!({"type": "presence_changed", "payload": {"channel": "r", "total": 1001}}),
    );
    check(
        |out| presence_changed(out, "r", None),
        &json!({"type": "presence_changed", "payload": {"channel": "r"}}),
    );
}

#[test]
fn a_connection_is_told_of_itself() {
    let full = Welcome {
        connection: "c1",
        user: Some("al"),
        ping_period_ms: 54_000,
        max_message_bytes: 524_288,
        expires: Some(1_767_225_600),
        features: &["one", "two"],
        subscriptions: &[("@all", None), ("r", Some(AT))],
    };
    check(
        |out| welcome(out, &full),
        &json!({"type": "welcome", "payload": {
        "connection": "c1", "user": "al", "pingPeriodMs": 54000, "maxMessageBytes": 524_288,
        "expires": 1_767_225_600, "features": ["one", "two"],
        "subscriptions": [
            {"channel": "@all"},
            {"channel": "r", "epoch": "0000000000000abc", "offset": 7},
        ]}}),
    );
    let least = Welcome { user: None, expires: None, features: &[], subscriptions: &[], ..full };
    check(
        |out| welcome(out, &least),
        &json!({"type": "welcome", "payload": {
            "connection": "c1", "pingPeriodMs": 54000, "maxMessageBytes": 524_288,
            "features": [], "subscriptions": []}}),
    );
    check(
        |out| authenticated(out, Some("1"), Some("al"), 5),
        &json!({"type": "authenticated", "id": 1, "payload": {"user": "al", "expires": 5}}),
    );
    check(
        |out| reconnect(out, "draining", 5000, 1200),
        &json!({"type": "reconnect", "payload":
            {"reason": "draining", "closesInMs": 5000, "delayMs": 1200}}),
    );
}

#[test]
fn errors_have_their_fixed_words() {
    check(
        |out| request_error(out, None, &RequestError::BadRequest),
        &json!({"type": "error", "payload":
            {"code": "bad_request", "message": "Invalid message format"}}),
    );
    check(
        |out| request_error(out, Some("1"), &RequestError::UnknownType("a\"b".into())),
        &json!({"type": "error", "id": 1, "payload":
            {"code": "unknown_type", "message": "Unknown message type: a\"b"}}),
    );
    for code in ErrorCode::ALL {
        check(
            |out| error(out, None, code, code.words()),
            &json!({"type": "error", "payload": {"code": code.code(), "message": code.words()}}),
        );
    }
}

proptest! {
    #[test]
    fn any_name_survives_the_trip_to_the_client(name: String, offset in 0..=(1_u64 << 53)) {
        let expected = json!({"type": "published", "payload": {"channel": name, "offset": offset}});

        prop_assert_eq!(
            written(|out| published(out, None, &name, Some(offset))),
            expected.to_string()
        );
    }
}
