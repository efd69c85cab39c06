//! The bodies of requests: bounded in bytes and time.
//!
//! What a body is follows from the path alone. `Content-Type` is not looked at: what `curl -d` and
//! `fetch` send on their own says nothing about the body, and a request that needs a key in a
//! header is none that a page in a browser can forge.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::{Duration, timeout};

use super::error::{ApiError, BODY_TIMEOUT};

/// What a body may have beside the message in it: a hundred names of channels with every byte
/// escaped (`\u0041`), and a little.
pub const BESIDE_BYTES_MAX: usize = 100 * 255 * 6 + 4096;

/// How much of a refused body is read away.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For how long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a body of at most `bytes_max` bytes.
///
/// # Errors
///
/// [`ApiError::TooLarge`], [`ApiError::Timeout`], and [`ApiError::Invalid`] where the client breaks
/// off.
pub async fn read<B>(body: &mut B, bytes_max: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || ApiError::TooLarge { what: "the body", bytes_max };
    // What says beforehand that it is too long need not be sent.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match collected.map_err(|_| ApiError::Timeout)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(broken_off()),
    }
}

/// The client ended the connection before its body.
pub fn broken_off() -> ApiError {
    ApiError::Invalid("the body broke off".to_owned())
}

/// Reads away what a refused request still sends, up to a bound.
///
/// A connection that is closed with bytes unread is reset, and a reset overtakes the answer: the
/// client would see a broken pipe instead of what it did wrong.
pub async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut rest = Limited::new(body, DRAIN_BYTES_MAX);
    let all = async { while let Some(Ok(_)) = rest.frame().await {} };
    // A client that goes on beyond the bounds has to live with the reset.
    let _ = timeout(DRAIN_TIMEOUT, all).await;
}

/// Whether the client waits to be asked for the body (RFC 9110, section 10.1.1).
pub fn is_held_back(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

/// Whether the body comes as it is.
///
/// # Errors
///
/// [`ApiError::Encoding`] for one that is compressed: a few bytes could become any number.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let all_are = headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain);
    if all_are { Ok(()) } else { Err(ApiError::Encoding) }
}
