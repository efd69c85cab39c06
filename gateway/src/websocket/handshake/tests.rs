use http::Request;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a request must have, as RFC 6455 section 1.2 shows it.
const HEADERS: [(&str, &str); 5] = [
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-version", "13"),
];

fn parts(headers: &[(&str, &[u8])]) -> Parts {
    let mut request = Request::get("/ws").body(()).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    request.into_parts().0
}

/// A good request without one header, and with some others instead.
fn request(without: &str, with: &[(&str, &[u8])]) -> Parts {
    let kept = HEADERS.iter().filter(|(name, _)| *name != without);
    let kept: Vec<_> = kept.map(|(name, value)| (*name, value.as_bytes())).collect();
    parts(&[&kept, with].concat())
}

fn good() -> Parts {
    request("", &[])
}

#[track_caller]
fn refused(request: &Parts, expected: HandshakeError) {
    assert_eq!(check(request, "/ws", true), Err(expected));
}

#[track_caller]
fn bad(request: &Parts, words: &'static str) {
    refused(request, HandshakeError::BadHandshake(words));
}

#[test]
fn the_rfcs_example_is_accepted() {
    let expected = Upgrade {
        dialect: Dialect::Plain,
        echo: None,
        accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        agreement: None,
        token: None,
    };

    assert_eq!(check(&good(), "/ws", true), Ok(expected));
}

#[test]
fn what_is_offered_is_answered() {
    let offers: [(&str, &[u8]); 2] = [
        ("sec-websocket-protocol", b"headgate.v1, headgate.token.a.b.c"),
        ("sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
    ];
    let request = request("", &offers);

    let upgrade = check(&request, "/ws", true).unwrap();

    assert_eq!((upgrade.dialect, upgrade.echo), (Dialect::V1, Some("headgate.v1")));
    assert_eq!(upgrade.token, Some(Token("a.b.c".to_owned())));
    assert!(upgrade.agreement.is_some());
    assert!(!format!("{upgrade:?}").contains("a.b.c"));
    assert_eq!(check(&request, "/ws", false).unwrap().agreement, None);
}

#[test]
fn words_are_found_in_lists_in_any_case() {
    for (name, value) in [
        ("connection", "keep-alive, uPGRADE"),
        ("connection", "Upgrade,"),
        ("upgrade", "WebSocket"),
        ("upgrade", "h2c , websocket"),
        ("host", "[::1]:8080"),
    ] {
        let request = request(name, &[(name, value.as_bytes())]);

        assert!(check(&request, "/ws", true).is_ok(), "{name}: {value}");
    }
    let two_lines = request("connection", &[("connection", b"close"), ("connection", b"upgrade")]);
    assert!(check(&two_lines, "/ws", true).is_ok());
}

#[test]
fn a_header_that_must_be_there_once_is_there_once() {
    for (name, missing, twice) in [
        ("host", "Host is missing", "Host is there twice"),
        ("sec-websocket-key", "Sec-WebSocket-Key is missing", "Sec-WebSocket-Key is there twice"),
    ] {
        let value = HEADERS.iter().find(|(it, _)| *it == name).unwrap().1.as_bytes();

        bad(&request(name, &[]), missing);
        bad(&request("", &[(name, value)]), twice);
    }
}

#[test]
fn a_version_is_there_once_and_who_names_none_is_told_it() {
    let refused = check(&request("sec-websocket-version", &[]), "/ws", true);
    assert_eq!(refused, Err(HandshakeError::Version));
    let twice = ("sec-websocket-version", b"13".as_slice());
    bad(&request("", &[twice]), "Sec-WebSocket-Version is there twice");
}

#[test]
fn values_that_the_rfc_forbids_are_refused() {
    let connection = "Connection is not Upgrade";
    let upgrade = "Upgrade is not websocket";
    let key = "Sec-WebSocket-Key is not 16 bytes in base64";
    let host = "Host is not valid";
    for (name, value, words) in [
        ("connection", b"keep-alive".as_slice(), connection),
        ("connection", b"upgraded", connection),
        ("connection", b"\x80\xff", connection),
        ("upgrade", b"h2c", upgrade),
        ("upgrade", b"websocket/13", upgrade),
        ("sec-websocket-key", b"", key),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ", key),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZTE=", key),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25j-Q==", key),
        ("sec-websocket-key", b"\x80\xff", key),
        ("host", b"", host),
        ("host", b"a b", host),
        ("host", b"user@server.example.com", host),
        ("host", b"\x80\xff", host),
    ] {
        bad(&request(name, &[(name, value)]), words);
    }
    bad(&request("connection", &[]), connection);
    bad(&request("upgrade", &[]), upgrade);
    let extensions = [("sec-websocket-extensions", b"\xff".as_slice())];
    bad(&request("", &extensions), "Sec-WebSocket-Extensions is malformed");
    let chat = [("sec-websocket-protocol", b"chat".as_slice())];
    refused(&request("", &chat), HandshakeError::Subprotocol);
}

#[test]
fn any_body_framing_is_refused() {
    for (name, value) in [("content-length", b"0".as_slice()), ("transfer-encoding", b"chunked")] {
        bad(&request("", &[(name, value)]), "upgrade request has a body");
    }
}

#[test]
fn another_version_is_told_so() {
    for version in ["8", "14", "013", "13, 8", ""] {
        let header = [("sec-websocket-version", version.as_bytes())];
        refused(&request("sec-websocket-version", &header), HandshakeError::Version);
    }
}

#[test]
fn the_request_line_is_checked() {
    let with = |change: fn(&mut Parts)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let not_a_path = "request target is not a path";

    bad(&with(|it| it.version = Version::HTTP_10), "request is not HTTP/1.1");
    bad(&with(|it| it.version = Version::HTTP_2), "request is not HTTP/1.1");
    bad(&with(|it| it.uri = "http://a/ws".parse().unwrap()), not_a_path);
    bad(&with(|it| it.uri = "a:80".parse().unwrap()), not_a_path);
    bad(&with(|it| it.uri = "*".parse().unwrap()), not_a_path);
    refused(&with(|it| it.method = Method::POST), HandshakeError::Method);
    for path in ["/", "/ws/", "/WS", "//ws", "/%77s"] {
        let mut request = good();
        request.uri = path.parse().unwrap();
        refused(&request, HandshakeError::NotFound);
    }
    assert!(check(&with(|it| it.uri = "/ws?token=x".parse().unwrap()), "/ws", true).is_ok());
}

#[test]
fn sizes_are_bounded() {
    let uri = |bytes| {
        let mut request = good();
        request.uri = format!("/ws?{}", "x".repeat(bytes - 4)).parse().unwrap();
        request
    };
    assert!(check(&uri(TARGET_BYTES_MAX), "/ws", true).is_ok());
    refused(&uri(TARGET_BYTES_MAX + 1), HandshakeError::Uri);

    let headers = |count| request("", &vec![("a", b"b".as_slice()); count - HEADERS.len()]);
    assert!(check(&headers(HEADERS_MAX), "/ws", true).is_ok());
    refused(&headers(HEADERS_MAX + 1), HandshakeError::Headers);

    let others: usize = HEADERS.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let long = |bytes| request("", &[("a", vec![b'x'; bytes - others - 5].as_slice())]);
    assert!(check(&long(HEADERS_BYTES_MAX), "/ws", true).is_ok());
    refused(&long(HEADERS_BYTES_MAX + 1), HandshakeError::Headers);
}
