//! What can be asked, page by page.

use serde_json::{Value, json};

use super::super::{
    gateway::{Page, Scope},
    route::channel,
};
use super::*;
use crate::protocol::position::{ClientPosition, Epoch};

const EPOCH: Epoch = Epoch(0x00c0_ffee);

async fn ask(target: &str) -> (Value, Asked) {
    let request = request("GET", &format!("/api/v1/{target}"), "");

    let (status, answer, mut asked) = exchange(Fake::default(), request).await;

    assert_eq!((status, asked.len()), (StatusCode::OK, 1), "{target}: {answer}");
    (answer, asked.remove(0))
}

async fn check_asked(target: &str, expected: Asked) {
    assert_eq!(ask(target).await.1, expected, "{target}");
}

fn page(after: Option<&str>, limit: usize, scope: Scope) -> Page {
    Page { after: after.map(str::to_owned), limit, scope }
}

#[tokio::test]
async fn questions_are_about_the_gateway_unless_the_pod_is_meant() {
    check_asked("stats", Asked::Stats(Scope::Gateway)).await;
    check_asked("stats?scope=gateway", Asked::Stats(Scope::Gateway)).await;
    check_asked("stats?scope=pod", Asked::Stats(Scope::Pod)).await;
    check_asked("connections", Asked::Connections(page(None, 100, Scope::Gateway))).await;
    let one = page(Some("c1"), 1, Scope::Pod);
    check_asked("connections?cursor=c1&limit=1&scope=pod", Asked::Connections(one)).await;
    let most = page(None, 1000, Scope::Gateway);
    check_asked("channels?limit=1000", Asked::Channels(most)).await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let pods = json!({"asked": 1, "answered": 1});
    let first = json!({
        "channels": [{"channel": "news & more", "subscribers": 2}],
        "total": 3,
        "cursor": "news & more",
        "pods": pods,
    });
    let rest = json!({
        "channels": [
            {"channel": "room.1", "subscribers": 2, "epoch": "0000000000c0ffee", "offset": 43},
            {"channel": "room.2", "subscribers": 2},
        ],
        "total": 3,
        "pods": pods,
    });
    assert_eq!(ask("channels?limit=1").await.0, first);
    assert_eq!(ask("channels?limit=2&cursor=news%20%26+more").await.0, rest);
}

#[tokio::test]
async fn an_anonymous_connection_has_no_user() {
    let expected = json!({
        "connections": [{"connection": "c3", "subscriptions": 2, "ageMs": 60000}],
        "total": 3,
        "pods": {"asked": 1, "answered": 1},
    });
    assert_eq!(ask("connections?cursor=c2").await.0, expected);
}

#[tokio::test]
async fn history_is_read_from_a_position_or_from_the_end() {
    let room = || channel("room.1").unwrap();
    let at = |offset| Some(ClientPosition { epoch: Some(EPOCH), offset });
    check_asked("channels/room.1/history", Asked::History(room(), None, 100)).await;
    let since = "channels/room.1/history?since=0000000000c0ffee:40&limit=2";
    let message = |offset| json!({"channel": "room.1", "data": {"text": "hi"}, "offset": offset});
    let expected = json!({
        "channel": "room.1",
        "epoch": "0000000000c0ffee",
        "offset": 43,
        "messages": [message(41), message(42)],
        "more": true,
    });
    assert_eq!(ask(since).await, (expected, Asked::History(room(), at(40), 2)));
}

#[tokio::test]
async fn names_in_a_path_are_decoded_once() {
    let name = channel("room.a/b%2F c+d").unwrap();
    let (answer, asked) = ask("channels/room.a%2Fb%252F%20c+d/presence").await;
    assert_eq!(
        (answer["channel"].as_str(), asked),
        (Some(name.name()), Asked::Presence(name.clone()))
    );
}

#[tokio::test]
async fn head_is_taken_like_get() {
    let (status, ..) = exchange(Fake::default(), request("HEAD", "/api/v1/stats", "")).await;
    assert_eq!(status, StatusCode::OK);
}
