//! Requests to the internal port of a small gateway, and its answers as a whole.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::{Duration, timeout};

use super::{Internal, answer::Answer, error::ApiError, internal::OPENAPI};

mod batch;
mod bodies;
mod fake;
mod health;
mod keys;
mod noise;
mod openapi;
mod operations;
mod questions;
mod refusals;
mod sockets;

use fake::{Asked, Fake, KEY, Mood};

type Body = Full<Bytes>;

/// A request with the key.
fn request(method: &str, target: &str, body: &str) -> Request<Body> {
    let mut request = Request::new(Full::from(body.to_owned()));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = target.parse().unwrap();
    let key = format!("Bearer {KEY}").parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, key);
    request
}

fn with_header(mut request: Request<Body>, name: HeaderName, value: &str) -> Request<Body> {
    request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    request
}

/// The status and the body, which is JSON.
async fn json(answer: Answer) -> (StatusCode, Value) {
    let status = answer.status();
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    (status, serde_json::from_str(&text(answer).await).unwrap())
}

async fn text(answer: Answer) -> String {
    let body = within("the end of an answer", answer.into_body().collect()).await;
    let body = body.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

/// What comes in time, on a clock that may be paused.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let found = timeout(Duration::from_secs(30), future).await;
    found.unwrap_or_else(|_| panic!("{what} did not come within 30 s"))
}

/// What a gateway answers, and what it was asked.
async fn exchange(fake: Fake, request: Request<Body>) -> (StatusCode, Value, Vec<Asked>) {
    let internal = Internal::new(fake.into());
    let answer = within("an answer", internal.answer(request)).await;
    let (status, body) = json(answer).await;
    let asked = std::mem::take(&mut *internal.gateway().asked.lock());
    (status, body, asked)
}

/// Checks that a request is refused, before or by the gateway.
async fn check_refused(fake: Fake, request: Request<Body>, status: u16, code: &str, words: &str) {
    let about = format!("{} {}", request.method(), request.uri());

    let (found, body, _) = exchange(fake, request).await;

    let expected = serde_json::json!({"error": {"code": code, "message": words}});
    assert_eq!((found.as_u16(), body), (status, expected), "{about}");
}
