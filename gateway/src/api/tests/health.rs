//! Probes, metrics and `/status`.

use serde_json::json;

use super::super::status::Reason;
use super::*;

async fn check(target: &str, reasons: Vec<Reason>, expected: (u16, Value)) {
    let fake = Fake { reasons, ..Fake::default() };

    let (status, answer, _) = exchange(fake, request("GET", target, "")).await;

    assert_eq!((status.as_u16(), answer), expected, "{target}");
}

#[tokio::test]
async fn health_says_why_not() {
    let reason = || Reason { code: "secret_missing", message: "no chat-jwt/hmac".to_owned() };
    let reasons = json!([{"code": "secret_missing", "message": "no chat-jwt/hmac"}]);
    check("/livez", vec![], (200, json!({"live": true, "reasons": []}))).await;
    check("/livez", vec![reason()], (503, json!({"live": false, "reasons": reasons}))).await;
    check("/readyz?verbose", vec![], (200, json!({"ready": true, "reasons": []}))).await;
    check("/readyz", vec![reason()], (503, json!({"ready": false, "reasons": reasons}))).await;
}

#[tokio::test]
async fn metrics_come_in_the_text_format() {
    let internal = Internal::new(Fake::default().into());

    let answer = internal.answer(request("GET", "/metrics", "")).await;

    let kind = &answer.headers()[header::CONTENT_TYPE];
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text(answer).await.ends_with("\nrealtime_gateway_channels 3\n"));
}
