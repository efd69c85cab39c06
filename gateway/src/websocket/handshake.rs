//! Checks an upgrade request (RFC 6455, section 4.2.1).
//!
//! hyper has parsed it, and lets through what an edge should refuse: bodies, two hosts, HTTP/1.0,
//! targets for a proxy. What is refused here never becomes a connection. Header values are bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
    request::Parts,
    uri::Authority,
};
use sha1::{Digest, Sha1};

pub use super::subprotocol::{Dialect, Token};
use super::{
    extension::{Agreement, negotiate},
    head::{HEADERS_BYTES_MAX, TARGET_BYTES_MAX},
    subprotocol::{Offered, offered},
};

/// The most headers of a request.
const HEADERS_MAX: usize = 100;

/// What the server appends to the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that may become a connection, as far as its form says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How the client will speak.
    pub dialect: Dialect,
    /// The response's `Sec-WebSocket-Protocol`, if it has one.
    pub echo: Option<&'static str>,
    /// The response's `Sec-WebSocket-Accept`.
    pub accept: String,
    /// What was agreed on about compression; it has the response's `Sec-WebSocket-Extensions`.
    pub agreement: Option<Agreement>,
    /// The token among the subprotocols.
    pub token: Option<Token>,
}

/// Why a request is refused. The words never quote the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not a request that section 4.2.1 allows (400 `bad_handshake`).
    #[error("{0}")]
    BadHandshake(&'static str),
    /// Subprotocols are offered and none is known (400 `subprotocol`).
    #[error("no offered subprotocol is known")]
    Subprotocol,
    /// Another path (404 `not_found`).
    #[error("there is nothing at this path")]
    NotFound,
    /// Another method than GET (405 `method`).
    #[error("method is not GET")]
    Method,
    /// The target is longer than 8 KiB (414 `uri`).
    #[error("request target is longer than 8 KiB")]
    Uri,
    /// More than 100 headers or 16 KiB of them (431 `headers`).
    #[error("request has more than 100 headers or 16 KiB of them")]
    Headers,
    /// A `Sec-WebSocket-Version` that is not 13 (426 `version`; the answer names 13).
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
}

/// Checks a request for a WebSocket at `path`, cheapest first, and works out the answer.
pub fn check(
    request: &Parts,
    path: &str,
    is_compression_enabled: bool,
) -> Result<Upgrade, HandshakeError> {
    check_size(request)?;
    check_target(request, path)?;
    let headers = &request.headers;
    check_host(headers)?;
    check_no_body(headers)?;
    check_upgrade(headers)?;
    let key = check_key(headers)?;
    let Offered { dialect, token } = offered(headers.get_all(SEC_WEBSOCKET_PROTOCOL))?;
    let agreement = negotiate(headers.get_all(SEC_WEBSOCKET_EXTENSIONS), is_compression_enabled)
        .map_err(|_| HandshakeError::BadHandshake("Sec-WebSocket-Extensions is malformed"))?;
    Ok(Upgrade {
        dialect: dialect.unwrap_or_default(),
        echo: dialect.map(Dialect::name),
        accept: accept_key(key),
        agreement,
        token,
    })
}

/// What proves that the server has read the client's key (RFC 6455, section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

fn check_size(request: &Parts) -> Result<(), HandshakeError> {
    let target_bytes = request.uri.path_and_query().map_or(0, |it| it.as_str().len());
    if target_bytes > TARGET_BYTES_MAX {
        return Err(HandshakeError::Uri);
    }
    let headers = &request.headers;
    // As on the wire: `name: value`, CR, LF.
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if headers.len() > HEADERS_MAX || headers.iter().map(bytes).sum::<usize>() > HEADERS_BYTES_MAX {
        return Err(HandshakeError::Headers);
    }
    Ok(())
}

fn check_target(request: &Parts, path: &str) -> Result<(), HandshakeError> {
    let uri = &request.uri;
    if request.version != Version::HTTP_11 {
        return Err(HandshakeError::BadHandshake("request is not HTTP/1.1"));
    }
    if request.method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if uri.scheme().is_some() || uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(HandshakeError::BadHandshake("request target is not a path"));
    }
    if uri.path() != path {
        return Err(HandshakeError::NotFound);
    }
    Ok(())
}

fn check_host(headers: &HeaderMap) -> Result<(), HandshakeError> {
    let host = only(headers, &HOST)?;
    let is_valid = Authority::try_from(host).is_ok() && !host.contains(&b'@');
    is_valid.then_some(()).ok_or(HandshakeError::BadHandshake("Host is not valid"))
}

/// What follows the head belongs to the WebSocket; a proxy that sees a body there would not agree.
fn check_no_body(headers: &HeaderMap) -> Result<(), HandshakeError> {
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return Err(HandshakeError::BadHandshake("upgrade request has a body"));
    }
    Ok(())
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), HandshakeError> {
    if !lists(headers, &CONNECTION, b"upgrade") {
        return Err(HandshakeError::BadHandshake("Connection is not Upgrade"));
    }
    if !lists(headers, &UPGRADE, b"websocket") {
        return Err(HandshakeError::BadHandshake("Upgrade is not websocket"));
    }
    // Who names no version is told the one there is, as who names another.
    let is_missing = !headers.contains_key(SEC_WEBSOCKET_VERSION);
    if is_missing || only(headers, &SEC_WEBSOCKET_VERSION)? != b"13" {
        return Err(HandshakeError::Version);
    }
    Ok(())
}

/// The key, which is 16 bytes in base64. What they are is of no interest.
fn check_key(headers: &HeaderMap) -> Result<&[u8], HandshakeError> {
    let key = only(headers, &SEC_WEBSOCKET_KEY)?;
    let digits = key.strip_suffix(b"==").unwrap_or_default();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if digits.len() == 22 && digits.iter().all(is_digit) {
        Ok(key)
    } else {
        Err(HandshakeError::BadHandshake("Sec-WebSocket-Key is not 16 bytes in base64"))
    }
}

/// The value of a header that must be there, once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], HandshakeError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes().trim_ascii()),
        (None, _) => Err(HandshakeError::BadHandshake(match *name {
            HOST => "Host is missing",
            _ => "Sec-WebSocket-Key is missing",
        })),
        (Some(_), Some(_)) => Err(HandshakeError::BadHandshake(match *name {
            HOST => "Host is there twice",
            SEC_WEBSOCKET_VERSION => "Sec-WebSocket-Version is there twice",
            _ => "Sec-WebSocket-Key is there twice",
        })),
    }
}

/// Whether a list, over all its lines, has this word in it.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    let mut words = headers.get_all(name).iter().flat_map(|it| it.as_bytes().split(|b| *b == b','));
    words.any(|it| it.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
