//! The bodies of requests: bounded in bytes and time, and of the kind that the path takes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::timeout;

use super::error::{ApiError, BODY_TIMEOUT};

/// What a body may have beside the message in it: a hundred names of channels with every byte
/// escaped (`\u0041`), and a little.
pub const BESIDE_BYTES_MAX: usize = 100 * 255 * 6 + 4096;

/// Reads a JSON body of at most `bytes_max` bytes.
///
/// # Errors
///
/// [`ApiError::ContentType`], [`ApiError::TooLarge`], [`ApiError::Timeout`], and
/// [`ApiError::Invalid`] where the client breaks off.
pub async fn read<B>(headers: &HeaderMap, body: B, bytes_max: usize) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    check_kind(headers, &["application/json"], "application/json")?;
    let too_large = || ApiError::TooLarge { what: "the body", bytes_max };
    // What says beforehand that it is too long need not be sent.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match collected.map_err(|_| ApiError::Timeout)? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ApiError::Invalid("the body broke off".to_owned())),
    }
}

/// Whether the body is of one of `kinds`, or does not say of which.
pub fn check_kind(
    headers: &HeaderMap,
    kinds: &[&str],
    wanted: &'static str,
) -> Result<(), ApiError> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(ApiError::ContentType(wanted));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = value.to_str().ok().and_then(|value| value.split(';').next()).unwrap_or_default();
    let is_one = kinds.iter().any(|one| one.eq_ignore_ascii_case(kind.trim()));
    if is_one { Ok(()) } else { Err(ApiError::ContentType(wanted)) }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn check(kind: Option<&'static str>, body: &'static str, expected: Result<(), ApiError>) {
        let mut headers = HeaderMap::new();
        headers.extend(kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));

        let read = read(&headers, Full::new(Bytes::from(body)), 4).await;

        assert_eq!(read, expected.map(|()| Bytes::from(body)), "{kind:?} {body}");
    }

    #[tokio::test]
    async fn bodies_are_bounded_and_of_the_right_kind() {
        check(None, "1234", Ok(())).await;
        check(Some("application/json"), "1234", Ok(())).await;
        check(Some("Application/JSON; charset=utf-8"), "1234", Ok(())).await;
        check(None, "12345", Err(ApiError::TooLarge { what: "the body", bytes_max: 4 })).await;
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            check(Some(kind), "1", Err(ApiError::ContentType("application/json"))).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let silent = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<hyper::body::Frame<Bytes>, std::io::Error>,
        >());

        assert_eq!(read(&HeaderMap::new(), silent, 4).await, Err(ApiError::Timeout));
    }
}
