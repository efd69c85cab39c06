//! Bodies: what is read, what is refused and with which words, and what never comes.

use std::{convert::Infallible, io};

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::*;

async fn check(path: &str, body: &str, words: &str) {
    let request = request("POST", &format!("/api/v1/{path}"), body);
    check_refused(Fake::default(), request, 400, "bad_request", words).await;
}

#[tokio::test]
async fn a_body_that_is_not_what_the_path_takes() {
    let table = [
        ("broadcast", "", "EOF while parsing a value at line 1 column 0"),
        ("broadcast", "hi", "expected value at line 1 column 1"),
        ("broadcast", "{}", "missing field `data` at line 1 column 2"),
        ("broadcast", "[1]", "invalid type: sequence, expected an object at line 1 column 0"),
        ("broadcast", "null", "invalid type: null, expected an object at line 1 column 4"),
        ("broadcast", r#"{"data":1}{}"#, "trailing characters at line 1 column 11"),
        ("broadcast", r#"{"data":1,"data":2}"#, "duplicate field `data` at line 1 column 16"),
        ("broadcast", r#"{"data":1,}"#, "trailing comma at line 1 column 11"),
        ("broadcast", r#"{"data":01}"#, "invalid number at line 1 column 10"),
        ("broadcast", r#"{"Data":1}"#, "unknown field `Data`, expected `data` at line 1 column 7"),
        (
            "publish",
            r#"{"channel":null,"data":1}"#,
            "invalid type: null, expected a string at line 1 column 15",
        ),
        (
            "publish",
            r#"{"chanel":"a","data":1}"#,
            "unknown field `chanel`, expected one of `channel`, `channels`, `data`, `key`, \
             `exclude` at line 1 column 9",
        ),
        (
            "users/alice/disconnect",
            r#"{"code":-1}"#,
            "invalid value: `-1`, expected a whole number from 0 to 2^53-1 at line 1 column 11",
        ),
        (
            "revocations",
            r#"{"jti":"a","expires":9007199254740992}"#,
            "invalid value: `9007199254740992`, expected a whole number from 0 to 2^53-1 at line 1 column 38",
        ),
        (
            "revocations",
            r#"{"jti":"a","expires":"1"}"#,
            "invalid type: string \"1\", expected a JSON number at line 1 column 24",
        ),
    ];
    for (path, body, words) in table {
        check(path, body, &format!("the body is not right: {words}")).await;
    }
}

#[tokio::test]
async fn fields_that_contradict_or_do_not_fit() {
    let channels = "there must be channel, or channels with 1 to 100 names";
    let code = "code must be 4100 to 4199 (come back) or 4900 to 4999 (do not)";
    let many = format!(r#"{{"channels":[{}"a"],"data":1}}"#, r#""a","#.repeat(100));
    let key = format!(r#"{{"channel":"a","data":1,"key":"{}"}}"#, "é".repeat(33));
    let reason = format!(r#"{{"reason":"{}"}}"#, "x".repeat(124));
    let table = [
        ("publish", r#"{"data":1}"#, channels),
        ("publish", r#"{"channel":"a","channels":["a"],"data":1}"#, channels),
        ("publish", r#"{"channels":[],"data":1}"#, channels),
        ("publish", many.as_str(), channels),
        ("publish", &key, "key has 66 bytes, must have 1 to 64"),
        (
            "publish",
            r#"{"channel":"a","data":1,"exclude":""}"#,
            "exclude has 0 bytes, must have 1 to 64",
        ),
        ("users/alice/disconnect", r#"{"code":4500}"#, code),
        ("users/alice/disconnect", r#"{"code":70000}"#, code),
        ("connections/c1/disconnect", &reason, "reason has 124 bytes, must have 1 to 123"),
        ("revocations", r#"{"expires":1}"#, "there must be jti or user"),
        ("revocations", r#"{"jti":"a","user":"b","expires":1}"#, "there must be jti or user"),
        ("revocations", r#"{"jti":"","expires":1}"#, "jti has 0 bytes, must have 1 to 255"),
    ];
    for (path, body, words) in table {
        check(path, body, words).await;
    }
    let request = request("POST", "/api/v1/publish", r#"{"channels":["a","b.*"],"data":1}"#);
    check_refused(Fake::default(), request, 400, "channel_invalid", "channel name has a *").await;
}

#[tokio::test]
async fn a_long_quotation_is_cut() {
    let body = format!(r#"{{"{}":1}}"#, "é".repeat(600));
    let request = request("POST", "/api/v1/broadcast", &body);

    let (_, answer, _) = exchange(Fake::default(), request).await;

    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.len() < 520, "{message}");
    assert!(message.starts_with("the body is not right: unknown field `éé"), "{message}");
    assert!(message.ends_with("é`, expected `data` at line 1 column 1203"), "{message}");
}

#[tokio::test]
async fn whatever_the_content_type_says_a_body_is_json() {
    let kinds = [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "text/plain;charset=UTF-8",
        "",
    ];
    for kind in kinds {
        let request = request("POST", "/api/v1/broadcast", r#"{"data":1}"#);
        let request = with_header(request, header::CONTENT_TYPE, kind);
        let (status, ..) = exchange(Fake::default(), request).await;
        assert_eq!(status, StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let words = "the body must come as it is: Content-Encoding must be identity or left out";
    for path in ["broadcast", "batch"] {
        let request = request("POST", &format!("/api/v1/{path}"), "");
        let request = with_header(request, header::CONTENT_ENCODING, "identity");
        let request = with_header(request, header::CONTENT_ENCODING, "gzip");
        check_refused(Fake::default(), request, 415, "content_encoding", words).await;
    }
    let request = request("POST", "/api/v1/broadcast", r#"{"data":1}"#);
    let request = with_header(request, header::CONTENT_ENCODING, "Identity");
    assert_eq!(exchange(Fake::default(), request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn messages_and_bodies_are_bounded() {
    let fake = || Fake { message_bytes_max: 10, ..Fake::default() };
    let broadcast = |body: &str| request("POST", "/api/v1/broadcast", body);
    let (status, ..) = exchange(fake(), broadcast(r#"{"data": "12345678" }"#)).await;
    assert_eq!(status, StatusCode::OK);
    let white = format!(r#"{{"data": {}[1, 2] }}"#, " ".repeat(100));
    assert_eq!(exchange(fake(), broadcast(&white)).await.0, StatusCode::OK);
    let words = "data has more than 10 bytes";
    check_refused(fake(), broadcast(r#"{"data":"123456789"}"#), 413, "too_large", words).await;
    let body = " ".repeat(200_000);
    let words = "the body has more than 157106 bytes";
    check_refused(fake(), broadcast(&body), 413, "too_large", words).await;
}

#[tokio::test]
async fn deep_json_is_only_passed_on() {
    let fake = Fake { message_bytes_max: 1 << 20, ..Fake::default() };
    let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(exchange(fake, request("POST", "/api/v1/broadcast", &deep)).await.0, StatusCode::OK);
}

/// Sends the pieces and then nothing, or an error.
async fn send<S>(pieces: S) -> (u16, String)
where
    S: stream::Stream<Item = io::Result<Frame<Bytes>>> + Send + Unpin + 'static,
{
    let (parts, _) = request("POST", "/api/v1/broadcast", "").into_parts();
    let request = Request::from_parts(parts, StreamBody::new(pieces));

    let answer = Internal::new(Fake::default().into()).answer(request).await;

    let (status, body) = json(answer).await;
    (status.as_u16(), body["error"]["message"].as_str().unwrap_or_default().to_owned())
}

fn piece(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let begin = stream::iter([Ok(piece(r#"{"data":"#))]);
    let silent = stream::StreamExt::chain(begin, stream::pending());
    let words = "the body, or its next piece, did not come within 10 s".to_owned();
    assert_eq!(send(silent).await, (408, words));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_too() {
    let trickle = Box::pin(stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(piece(" ")), ()))
    }));
    let words = "the body, or its next piece, did not come within 10 s".to_owned();
    assert_eq!(send(trickle).await, (408, words));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_as_such() {
    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
    let broken = stream::iter([Ok(piece(r#"{"data":1}"#)), Err(error)]);
    assert_eq!(send(broken).await, (400, "the body broke off".to_owned()));
}

#[tokio::test]
async fn what_says_that_it_is_too_long_is_not_awaited() {
    struct Long;
    impl hyper::body::Body for Long {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("the body was read");
        }
        fn size_hint(&self) -> hyper::body::SizeHint {
            hyper::body::SizeHint::with_exact(u64::MAX)
        }
    }
    let request =
        with_header(request("POST", "/api/v1/broadcast", ""), header::EXPECT, "100-continue");
    let (parts, _) = request.into_parts();

    let answer =
        Internal::new(Fake::default().into()).answer(Request::from_parts(parts, Long)).await;

    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
