//! Who may use the server API.

use super::super::keys::ApiKeys;
use super::*;

const WORDS: &str = "this needs the header Authorization: Bearer <a key of spec.api.keySecretName>";

fn without_key(target: &str) -> Request<Body> {
    let mut request = request("GET", target, "");
    request.headers_mut().remove(header::AUTHORIZATION);
    request
}

#[tokio::test]
async fn a_stranger_learns_nothing_but_that_a_key_is_missing() {
    for target in ["stats", "publish", "nothing/there", "channels/%ff/history", "", "openapi.json/"]
    {
        let target = format!("/api/v1/{target}");
        check_refused(Fake::default(), without_key(&target), 401, "unauthorized", WORDS).await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_no_key() {
    for key in ["Bearer wrong", "Bearer", "Basic dGhl", &format!("Bearer {KEY}x"), KEY] {
        let request = with_header(without_key("/api/v1/stats"), header::AUTHORIZATION, key);
        check_refused(Fake::default(), request, 401, "unauthorized", WORDS).await;
    }
    let twice = with_header(
        request("GET", "/api/v1/stats", ""),
        header::AUTHORIZATION,
        &format!("Bearer {KEY}"),
    );
    check_refused(Fake::default(), twice, 401, "unauthorized", WORDS).await;
}

#[tokio::test]
async fn a_refusal_names_the_scheme() {
    let internal = Internal::new(Fake::default().into());

    let answer = internal.answer(without_key("/api/v1/stats")).await;

    assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
}

#[tokio::test]
async fn keys_that_are_not_read_yet_are_to_be_waited_for() {
    let fake = || Fake { keys: ApiKeys::Awaited.into(), ..Fake::default() };
    let words = "the gateway is starting or has stopped: /readyz says what it waits for";
    check_refused(fake(), request("GET", "/api/v1/stats", ""), 503, "unavailable", words).await;

    let answer = Internal::new(fake().into()).answer(request("GET", "/api/v1/stats", "")).await;

    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn without_an_api_in_the_manifest_it_is_off_and_says_how_to_switch_it_on() {
    let fake = Fake { keys: ApiKeys::default().into(), ..Fake::default() };
    let words =
        "the server API is off: name a Secret with the key api-key in spec.api.keySecretName";
    check_refused(fake, request("GET", "/api/v1/stats", ""), 404, "api_off", words).await;
}

#[tokio::test]
async fn keys_are_rotated_under_way() {
    let internal = Internal::new(Fake::default().into());
    let status = async || internal.answer(request("GET", "/api/v1/stats", "")).await.status();
    let keys = |keys: &[&str]| *internal.gateway().keys.lock() = ApiKeys::new(keys);

    keys(&["the-next-key-of-all", KEY]);
    let both = status().await;
    keys(&["the-next-key-of-all"]);
    let next = status().await;

    assert_eq!((both, next), (StatusCode::OK, StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn what_is_not_the_server_api_needs_no_key() {
    for target in ["/livez", "/readyz", "/metrics", "/status", "/api/v1/openapi.json"] {
        let answer = Internal::new(Fake::default().into()).answer(without_key(target)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{target}");
    }
}
