//! Checks an upgrade request (RFC 6455, section 4.2.1) and chooses the dialect.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, Version, header, request::Parts};
use sha1::{Digest, Sha1};

use super::{
    deflate::{self, Agreement},
    head::{HEADERS_MAX, URI_BYTES_MAX},
};

/// What is hashed with a client's key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol that carries a token.
const TOKEN_PREFIX: &str = "headgate.token.";

/// How envelopes look to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `headgate.v1`: a welcome, envelopes joined in frames.
    V1,
    /// `headgate.plain`: one envelope in a frame.
    Plain,
}

impl Dialect {
    /// The subprotocol's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "headgate.v1",
            Self::Plain => "headgate.plain",
        }
    }
}

/// Why a request is not an upgrade that this gateway takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not a valid request for WebSocket.
    #[error("{0}")]
    BadHandshake(&'static str),
    /// Another path.
    #[error("unknown path")]
    NotFound,
    /// Another method than GET.
    #[error("method is not GET")]
    Method,
    /// The URI is too long.
    #[error("URI is longer than 8 KiB")]
    Uri,
    /// Too many headers.
    #[error("more than 100 headers or 16 KiB of them")]
    Headers,
    /// Another version than 13.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// Names are offered, but none that is known.
    #[error("no known subprotocol is offered")]
    Subprotocol,
}

/// A token from a request, kept out of everything that is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How envelopes look.
    pub dialect: Dialect,
    /// The value of `Sec-WebSocket-Protocol` in the answer.
    pub echo: Option<&'static str>,
    /// The value of `Sec-WebSocket-Accept` in the answer.
    pub accept: String,
    /// The compression, where it was offered and is switched on.
    pub agreement: Option<Agreement>,
    /// The token among the subprotocols.
    pub token: Option<Token>,
}

/// Checks the form of a request that hyper has read.
pub fn check(parts: &Parts, path: &str, compression: bool) -> Result<Upgrade, HandshakeError> {
    use HandshakeError as E;
    let headers = &parts.headers;
    if parts.uri.path().len() + parts.uri.query().map_or(0, str::len) > URI_BYTES_MAX {
        return Err(E::Uri);
    }
    if headers.len() > HEADERS_MAX {
        return Err(E::Headers);
    }
    if parts.version != Version::HTTP_11 {
        return Err(E::BadHandshake("not HTTP/1.1"));
    }
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        return Err(E::BadHandshake("absolute-form target"));
    }
    if one(headers, header::HOST).is_none() {
        return Err(E::BadHandshake("not exactly one Host"));
    }
    if headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
    {
        return Err(E::BadHandshake("a body in an upgrade request"));
    }
    if parts.uri.path() != path {
        return Err(E::NotFound);
    }
    if parts.method != Method::GET {
        return Err(E::Method);
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(E::BadHandshake("no Upgrade: websocket"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(E::BadHandshake("no Connection: Upgrade"));
    }
    match headers.get_all(header::SEC_WEBSOCKET_VERSION).iter().collect::<Vec<_>>()[..] {
        [version] if version.as_bytes() == b"13" => {}
        _ => return Err(E::Version),
    }
    let key = one(headers, header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
        .ok_or(E::BadHandshake("Sec-WebSocket-Key is not 16 bytes in base64"))?;
    let (dialect, echo, token) = subprotocol(headers)?;
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let agreement = compression
        .then(|| deflate::negotiate(offers.iter().map(http::HeaderValue::as_bytes)))
        .flatten();
    Ok(Upgrade { dialect, echo, accept: accept_key(key), agreement, token })
}

/// The answer to a client's key (RFC 6455, section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&[u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// The items of a header that is a list, over all its lines. What is not visible ASCII is nothing
/// that we know.
fn items<'a>(
    headers: &'a HeaderMap,
    name: &'a header::HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

type Chosen = (Dialect, Option<&'static str>, Option<Token>);

fn subprotocol(headers: &HeaderMap) -> Result<Chosen, HandshakeError> {
    let mut chosen = None;
    let mut token = None;
    for item in items(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        if let Some(jwt) = item.strip_prefix(TOKEN_PREFIX) {
            token.get_or_insert_with(|| Token(jwt.to_owned()));
        } else if chosen.is_none() {
            chosen = [Dialect::V1, Dialect::Plain].into_iter().find(|it| it.name() == item);
        }
    }
    match chosen {
        Some(dialect) => Ok((dialect, Some(dialect.name()), token)),
        None if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) => {
            Err(HandshakeError::Subprotocol)
        }
        None => Ok((Dialect::Plain, None, None)),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(change: impl FnOnce(&mut Parts)) -> Parts {
        let mut parts = Request::get("/ws")
            .header("Host", "a")
            .header("Upgrade", "WebSocket")
            .header("Connection", "keep-alive, Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        change(&mut parts);
        parts
    }

    fn check(change: impl FnOnce(&mut Parts)) -> Result<Upgrade, HandshakeError> {
        super::check(&request(change), "/ws", true)
    }

    fn with(name: &'static str, value: &'static str) -> Result<Upgrade, HandshakeError> {
        check(|it| drop(it.headers.insert(name, value.parse().unwrap())))
    }

    fn more(name: &'static str, value: &'static str) -> Result<Upgrade, HandshakeError> {
        check(|it| {
            it.headers.append(name, value.parse().unwrap());
        })
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let upgrade = check(|_| ()).unwrap();
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((upgrade.dialect, upgrade.echo), (Dialect::Plain, None));
    }

    #[test]
    fn requests_of_another_form_are_refused() {
        use HandshakeError as E;
        let bad = |it: Result<Upgrade, E>| assert!(matches!(it, Err(E::BadHandshake(_))), "{it:?}");
        bad(check(|it| it.version = Version::HTTP_10));
        bad(check(|it| drop(it.headers.remove("host"))));
        bad(more("host", "b"));
        bad(with("content-length", "0"));
        bad(with("transfer-encoding", "chunked"));
        bad(with("upgrade", "h2c"));
        bad(with("connection", "close"));
        bad(with("sec-websocket-key", "c2hvcnQ="));
        bad(more("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="));
        bad(check(|it| it.uri = "http://a/ws".parse().unwrap()));
        assert_eq!(with("sec-websocket-version", "8"), Err(E::Version));
        assert_eq!(check(|it| it.method = Method::POST), Err(E::Method));
        assert_eq!(check(|it| it.uri = "/".parse().unwrap()), Err(E::NotFound));
        assert_eq!(
            check(|it| it.uri = format!("/ws?{}", "a".repeat(8_192)).parse().unwrap()),
            Err(E::Uri)
        );
    }

    #[test]
    fn the_first_known_subprotocol_counts_and_the_token_is_not_one() {
        let choose = |value| with("sec-websocket-protocol", value).map(|it| (it.echo, it.token));
        assert_eq!(choose("x, headgate.plain, headgate.v1"), Ok((Some("headgate.plain"), None)));
        let token = Some(Token("a.b.c".to_owned()));
        assert_eq!(choose("headgate.v1, headgate.token.a.b.c"), Ok((Some("headgate.v1"), token)));
        assert_eq!(choose("headgate.token.a.b.c"), Err(HandshakeError::Subprotocol));
        let odd = check(|it| {
            let value = http::HeaderValue::from_bytes(b"\x80\xff").unwrap();
            it.headers.insert("sec-websocket-protocol", value);
        });
        assert_eq!(odd, Err(HandshakeError::Subprotocol));
    }
}
