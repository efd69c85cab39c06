//! Answers of the internal port.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;

/// An answer, whole or as it comes.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Prometheus' text format.
pub const METRICS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// The longest message of a refusal.
const MESSAGE_BYTES_MAX: usize = 512;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Every answer is about this moment, and is what it says it is.
const FIXED: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// An answer of any kind.
pub fn with(
    status: StatusCode,
    kind: HeaderValue,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().extend(FIXED);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// An answer that is here as a whole.
pub fn whole(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    with(status, kind, Full::new(body.into()).boxed_unsync())
}

/// A JSON text.
pub fn text(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    whole(status, JSON, json)
}

/// A value as JSON.
///
/// # Errors
///
/// As [`encode`].
pub fn value(status: StatusCode, value: &impl Serialize) -> Result<Answer, ApiError> {
    Ok(text(status, encode(value)?))
}

/// The JSON text of a value.
///
/// # Errors
///
/// [`ApiError::Internal`] where a text that is passed on is no JSON.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))
}

/// `{"error":{"code","message"}}`, the same for every refusal.
pub fn error_text(error: &ApiError) -> String {
    let message = shortened(error.to_string());
    json!({"error": {"code": error.code(), "message": message}}).to_string()
}

/// Takes the middle out of a message that quotes too much of a request; what is wrong stands in
/// front, and where and what would be right at the end.
fn shortened(message: String) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    let head = message.floor_char_boundary(MESSAGE_BYTES_MAX / 2);
    let tail = message.ceil_char_boundary(message.len() - MESSAGE_BYTES_MAX / 2);
    let (head, tail) = (message.get(..head), message.get(tail..));
    format!("{} ... {}", head.unwrap_or_default(), tail.unwrap_or_default())
}

/// A refusal.
pub fn refusal(error: &ApiError) -> Answer {
    let mut answer = text(error.status(), error_text(error));
    let extra = match error {
        ApiError::Unauthorized => {
            Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
        }
        ApiError::Encoding => Some((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
        ApiError::Method(allow) => Some((header::ALLOW, HeaderValue::from_static(allow))),
        ApiError::Full(_) | ApiError::Unavailable(_) => {
            Some((header::RETRY_AFTER, HeaderValue::from_static("1")))
        }
        _ => None,
    };
    answer.headers_mut().extend(extra);
    answer
}
