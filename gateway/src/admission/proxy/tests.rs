//! What proxies send, and what they must not. The fuzz target asks the crate `ppp` for a second opinion.

use std::{cell::Cell, convert::Infallible};

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::websocket::{
    handshake::HandshakeError,
    head::{HeadScan, ScanResult},
};

const V4: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x12\x00\x01\x12\x67\x00\x50";

fn done(used: usize, source: &str) -> Progress {
    Progress::Done { used, source: Some(source.parse().unwrap()) }
}

fn peer_itself(used: usize) -> Progress {
    Progress::Done { used, source: None }
}

/// What is said of a header that comes in pieces of these sizes; `used` counts from its start.
fn in_pieces(bytes: &[u8], sizes: &[usize]) -> Progress {
    let mut reader = ProxyReader::default();
    let mut sizes = sizes.iter().cycle();
    let mut fed = 0;
    while fed < bytes.len() {
        let piece = &bytes[fed..bytes.len().min(fed + sizes.next().unwrap())];
        match reader.feed(piece) {
            Progress::More => fed += piece.len(),
            Progress::Done { used, source } => return Progress::Done { used: fed + used, source },
            refused @ Progress::Refused(_) => return refused,
        }
    }
    Progress::More
}

#[track_caller]
fn check(bytes: &[u8], expected: Progress) {
    assert_eq!(ProxyReader::default().feed(bytes), expected);
    assert_eq!(in_pieces(bytes, &[1]), expected);
}

/// A binary header: version and command, family and transport, and what follows them.
fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [binary::PREFIX, &[version_and_command, family], &bytes, rest].concat()
}

#[test]
fn a_line_names_the_client() {
    let v4 = b"PROXY TCP4 192.0.2.1 198.18.0.1 4711 80\r\nGET / HTTP/1.1\r\n";
    check(v4, done(41, "192.0.2.1:4711"));
    check(b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", done(36, "[2001:db8::1]:65535"));
    check(b"PROXY TCP4 255.255.255.255 255.255.255.255 0 65535\r\n", done(52, "255.255.255.255:0"));
    check(b"PROXY UNKNOWN\r\n\r\n", peer_itself(15));
    check(b"PROXY UNKNOWN \xc3\xa9 1 2 3 4 5 6 7\r\n", peer_itself(32));
}

#[test]
fn a_line_of_another_form_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.18.0.1 4711 80\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 4711 80 \r\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.1  198.18.0.1 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 04711 80\r\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 +4711 80\r\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 4711 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.18.0.1 4711 \r\n",
        "PROXY TCP4 192.0.2.01 198.18.0.1 4711 80\r\n",
        "PROXY TCP4 ::1 ::1 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 ::1 4711 80\r\n",
        "PROXY TCP6 192.0.2.1 198.18.0.1 4711 80\r\n",
        "PROXY TCP5 ::1 ::1 4711 80\r\n",
        "PROXY tcp4 192.0.2.1 198.18.0.1 4711 80\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY \n",
    ] {
        check(line.as_bytes(), Progress::Refused("PROXY line is malformed"));
    }
    check(b"PROXY UNKNOWN \xff\r\n", Progress::Refused("PROXY line is malformed"));
}

#[test]
fn a_line_ends_within_107_bytes() {
    let line = |bytes: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(bytes - 15));

    check(line(107).as_bytes(), peer_itself(107));
    check(line(108).as_bytes(), Progress::Refused("PROXY line is longer than 107 bytes"));
}

#[test]
fn bytes_name_the_client() {
    check(V4, done(28, "192.0.2.1:4711"));
    let v6 = [&[0x20, 0x01, 0x0d, 0xb8], [0; 28].as_slice(), &[0x12, 0x67, 0, 80]].concat();
    check(&binary(0x21, 0x21, &v6), done(52, "[2001:db8::]:4711"));
    check(&binary(0x21, 0x12, &V4[16..]), done(28, "192.0.2.1:4711"));

    let with_tlvs = [&V4[16..], &[0x04; 2_000]].concat();
    check(
        &[&binary(0x21, 0x11, &with_tlvs), b"GET".as_slice()].concat(),
        done(2_028, "192.0.2.1:4711"),
    );
}

#[test]
fn a_proxy_that_speaks_for_itself_names_nobody() {
    check(&binary(0x20, 0x00, b""), peer_itself(16));
    check(&binary(0x20, 0xff, b"anything"), peer_itself(24));
    check(&binary(0x21, 0x00, b"..."), peer_itself(19));
    check(&binary(0x21, 0x31, &[0; 216]), peer_itself(232));
}

#[test]
fn bytes_of_another_form_are_refused() {
    check(&binary(0x11, 0x11, &[0; 12]), Progress::Refused("PROXY version is not 2"));
    check(&binary(0x22, 0x11, &[0; 12]), Progress::Refused("PROXY command is unknown"));
    for family in [0x03, 0x13, 0x41, 0xff] {
        let unknown = Progress::Refused("PROXY address family is unknown");
        check(&binary(0x21, family, &[0; 50]), unknown);
    }
    let too_short = Progress::Refused("PROXY header is too short for its addresses");
    check(&binary(0x21, 0x11, &[0; 11]), too_short);
    check(&binary(0x21, 0x21, &[0; 35]), too_short);
}

#[test]
fn what_is_skipped_is_bounded() {
    check(&binary(0x20, 0x00, &[0; 4_096]), peer_itself(16 + 4_096));
    let too_long = Progress::Refused("PROXY header is longer than 4 KiB");
    check(&binary(0x20, 0x00, &[0; 4_097])[..16], too_long);
    assert!(size_of::<ProxyReader>() <= 128);
}

#[test]
fn who_must_send_a_header_and_does_not_is_refused_at_once() {
    let refused = Progress::Refused("connection does not begin with a PROXY header");
    for bytes in [&b"G"[..], b"\x16\x03\x01", b"PRI * HTTP/2.0", b"\r\nGET", b"PROXY\t", b"proxy "]
    {
        check(bytes, refused);
    }
}

/// What a stranger sends goes to the HTTP reader: no version is a request, so it ends as a 400.
#[tokio::test]
async fn for_the_http_reader_a_header_is_no_request() {
    let line = b"PROXY TCP4 192.0.2.1 198.18.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(is_refused_by_hyper(line).await);
    assert!(is_refused_by_hyper(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert!(is_refused_by_hyper(V4).await);
    assert!(!is_refused_by_hyper(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);

    let bare_lf =
        ScanResult::Refused(HandshakeError::BadHandshake("a line of the head ends without CR"));
    assert_eq!(HeadScan::default().feed(V4), bare_lf);
}

async fn is_refused_by_hyper(bytes: &[u8]) -> bool {
    let (mut client, server) = tokio::io::duplex(1_024);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let is_served = Cell::new(false);
    let service = service_fn(|_| {
        is_served.set(true);
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
    let is_no_request = served.is_err_and(|error| error.is_parse());
    assert_ne!(is_no_request, is_served.get());
    is_no_request
}

/// Headers that are sound, or nearly.
fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (TCP4|TCP6|UNKNOWN|TCP)( (1\\.2\\.3\\.4|::1|fe80::2|300\\.1\\.1\\.1)){0,3}( (0|80|65535|65536|07)){0,3}\r?\n?";
    let rest = prop::collection::vec(any::<u8>(), 0..60);
    let family = prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x41]);
    let command = prop::sample::select(vec![0x20, 0x21, 0x21, 0x21, 0x22, 0x11]);
    prop_oneof![
        line.prop_map(String::into_bytes),
        (command, family, rest).prop_map(|(command, family, rest)| binary(command, family, &rest)),
        prop::collection::vec(any::<u8>(), 0..30),
    ]
}

proptest! {
    #[test]
    fn pieces_change_nothing(
        bytes in any_header(),
        sizes in prop::collection::vec(1_usize..20, 1..9),
    ) {
        prop_assert_eq!(in_pieces(&bytes, &sizes), ProxyReader::default().feed(&bytes));
    }
}
