//! Requests that are refused: the status, the code, and words that say what, where and what would
//! be right.

use super::*;

async fn check(method: &str, target: &str, body: &str, expected: (u16, &str, &str)) {
    let (status, code, words) = expected;
    check_refused(Fake::default(), request(method, target, body), status, code, words).await;
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let not_found = (404, "not_found", "there is no such path");
    for target in ["/", "/livez/", "/api/v1/", "/api/v1/users", "/api/v1/Publish", "/api//v1/stats"]
    {
        check("GET", target, "", not_found).await;
        check("POST", target, "", not_found).await;
    }
    check("GET", "/api/v1/publish", "", (405, "method", "this path takes POST")).await;
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"] {
        let get = (405, "method", "this path takes GET, HEAD");
        check(method, "/api/v1/channels/a/presence", "", get).await;
        check(method, "/livez", "", get).await;
    }
}

#[tokio::test]
async fn a_refused_method_is_told_which_there_are() {
    for (target, methods) in [("/api/v1/batch", "POST"), ("/status", "GET, HEAD")] {
        let answer =
            Internal::new(Fake::default().into()).answer(request("PATCH", target, "")).await;
        assert_eq!(answer.headers()[header::ALLOW], methods, "{target}");
    }
}

#[tokio::test]
async fn names_that_cannot_be() {
    let encoding = (400, "bad_request", "the URL has a percent encoding that is not UTF-8");
    for name in ["%", "%4", "%zz", "%ff", "%C3", "a%00%C3%28"] {
        check("POST", &format!("/api/v1/users/{name}/disconnect"), "", encoding).await;
        check("GET", &format!("/api/v1/channels/{name}/history"), "", encoding).await;
    }
    let long = (400, "bad_request", "a user has 256 bytes, must have 1 to 255");
    check("POST", &format!("/api/v1/users/{}/disconnect", "x".repeat(256)), "", long).await;
    let empty = (400, "bad_request", "a connection has 0 bytes, must have 1 to 64");
    check("POST", "/api/v1/connections//disconnect", "", empty).await;
    let reserved = (400, "channel_invalid", "channel name begins with @");
    check("GET", "/api/v1/channels/%40all/presence", "", reserved).await;
    let control = (400, "channel_invalid", "channel name has a control character");
    check("GET", "/api/v1/channels/%00/presence", "", control).await;
    let length = (400, "channel_invalid", "channel name has 0 bytes, must have 1 to 255");
    check("GET", "/api/v1/channels//presence", "", length).await;
}

#[tokio::test]
async fn queries_that_say_nothing_or_too_much() {
    let table = [
        ("stats?scop=pod", "unknown parameter \"scop\"; there are: scope"),
        ("stats?scope=all", "scope must be gateway or pod"),
        ("stats?scope=pod&scope=pod", "scope is there twice"),
        ("channels/a/presence?limit=1", "unknown parameter \"limit\"; this path takes none"),
        ("channels?limit=0", "limit must be 1 to 1000"),
        ("channels?limit=1e1", "limit must be 1 to 1000"),
        ("channels?cursor=", "cursor has 0 bytes, must have 1 to 255"),
        ("channels/a/history?limit=101", "limit must be 1 to 100"),
        (
            "channels/a/history?since=41",
            "since must be <epoch>:<offset>, as an earlier answer gave them",
        ),
        ("channels?cursor=%ff", "the URL has a percent encoding that is not UTF-8"),
    ];
    for (target, words) in table {
        check("GET", &format!("/api/v1/{target}"), "", (400, "bad_request", words)).await;
    }
    let words = "unknown parameter \"channel\"; this path takes none";
    for path in ["publish", "batch"] {
        check("POST", &format!("/api/v1/{path}?channel=a"), "{}", (400, "bad_request", words))
            .await;
    }
}

#[tokio::test]
async fn what_is_not_there() {
    let no_rule = (404, "no_rule", "no rule in spec.channels matches \"none.1\"");
    check("POST", "/api/v1/publish", r#"{"channel":"none.1","data":1}"#, no_rule).await;
    check("GET", "/api/v1/channels/none.1/history", "", no_rule).await;
    let no_connection = (404, "not_found", "there is no such connection");
    check("POST", "/api/v1/connections/c9/disconnect", "", no_connection).await;
    let no_history =
        (404, "not_found", "there is no such history: the rule of this channel has none");
    check("GET", "/api/v1/channels/news/history", "", no_history).await;
    let no_presence =
        (404, "not_found", "there is no such presence: the rule of this channel has none");
    check("GET", "/api/v1/channels/news/presence", "", no_presence).await;
    let changed = (409, "epoch_changed", "the channel's history began anew since this epoch");
    check("GET", "/api/v1/channels/room.1/history?since=other:1", "", changed).await;
}

#[tokio::test]
async fn what_the_gateway_cannot_do_now() {
    for (target, body) in [("/api/v1/broadcast", r#"{"data":1}"#), ("/api/v1/stats", "")] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let error = ApiError::Unavailable("the broker is away".to_owned());
        let fake = Fake { mood: Mood::Refuses(error), ..Fake::default() };
        let internal = Internal::new(fake.into());

        let answer = internal.answer(request(method, target, body)).await;

        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        let expected = serde_json::json!(
            {"error": {"code": "unavailable", "message": "the broker is away"}}
        );
        assert_eq!(json(answer).await, (StatusCode::SERVICE_UNAVAILABLE, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_silent_is_given_up() {
    for (target, body) in [("/api/v1/broadcast", r#"{"data":1}"#), ("/api/v1/stats", "")] {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let fake = Fake { mood: Mood::IsSilent, ..Fake::default() };
        let words = "no answer within 10 s: the outcome is not known";
        check_refused(fake, request(method, target, body), 503, "unavailable", words).await;
    }
}
