//! Many operations in one request.

use std::io;

use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

const BROADCAST: &str = r#"{"broadcast":{"data":1}}"#;
const DONE: &str = r#"{"result":{}}"#;

/// The results of a batch that comes in the given pieces.
async fn results(pieces: impl IntoIterator<Item = String>) -> Vec<String> {
    let pieces: Vec<_> = pieces.into_iter().map(|it| Ok(Frame::data(Bytes::from(it)))).collect();
    let body = StreamBody::new(stream::iter::<Vec<io::Result<_>>>(pieces));
    lines(&text(answer(Fake::default(), body).await).await)
}

async fn answer<B>(fake: Fake, body: B) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, _) = request("POST", "/api/v1/batch", "").into_parts();
    let answer = Internal::new(fake.into()).answer(Request::from_parts(parts, body)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    answer
}

fn lines(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines().map(str::to_owned).collect()
}

fn refusal(code: &str, words: &str) -> String {
    serde_json::json!({"error": {"code": code, "message": words}}).to_string()
}

#[tokio::test]
async fn results_come_in_order_and_a_refused_line_stops_nothing() {
    let batch = [
        r#"{"publish":{"channel":"room.1","data":1}}"#,
        r#"{"publish":{"channel":"none.1","data":1}}"#,
        r#"{"publish":{"channel":"a..b","data":1}}"#,
        r#"{"message":{"user":"alice","data":1}}"#,
        r#"{"message":{"connection":"c9","data":1}}"#,
        r#"{"disconnect":{"connection":"c1","code":4100}}"#,
        BROADCAST,
    ];

    let found = results([batch.join("\n")]).await;

    let place = r#""epoch":"0000000000c0ffee","offset""#;
    let expected = [
        format!(r#"{{"result":{{"results":[{{"channel":"room.1",{place}:43}}]}}}}"#),
        refusal("no_rule", "no rule in spec.channels matches \"none.1\""),
        refusal("channel_invalid", "channel name has an empty part"),
        format!(r#"{{"result":{{{place}:7}}}}"#),
        refusal("not_found", "there is no such connection"),
        r#"{"result":{"connections":1,"pods":{"asked":1,"answered":1}}}"#.to_owned(),
        DONE.to_owned(),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_line_that_is_not_right_says_so() {
    let table = [
        ("hi", "expected value at line 1 column 1"),
        (r#""publish""#, "invalid type: string \"publish\", expected an object at line 1 column 9"),
        (r#"{"broadcast":[1]}"#, "invalid type: sequence, expected an object at line 1 column 13"),
        (
            r#"{"shout":{}}"#,
            "unknown variant `shout`, expected one of `publish`, `broadcast`, `message`, \
             `disconnect`, `subscribe`, `unsubscribe`, `revoke` at line 1 column 8",
        ),
        (
            r#"{"broadcast":{"data":1,"date":1}}"#,
            "unknown field `date`, expected `data` at line 1 column 29",
        ),
    ];
    for (line, words) in table {
        let words = format!("the line is not right: {words}");
        assert_eq!(results([line.to_owned()]).await, [refusal("bad_request", &words)], "{line}");
    }
    for line in [
        r#"{"broadcast":{"data":1},"broadcast":{"data":1}}"#,
        r#"{"broadcast":{"data":1}} {"broadcast":{"data":1}}"#,
        "{}",
        "[]",
    ] {
        let found = results([line.to_owned()]).await;
        assert!(found.len() == 1 && found[0].contains("bad_request"), "{line}: {found:?}");
    }
    let both = r#"{"message":{"user":"a","connection":"c1","data":1}}"#;
    let words = "there must be user or connection";
    assert_eq!(results([both.to_owned()]).await, [refusal("bad_request", words)]);
}

#[tokio::test]
async fn lines_are_found_wherever_the_pieces_end() {
    let text = format!("\n{BROADCAST}\r\n \t\n{BROADCAST}\n\n{BROADCAST}");
    for size in 1..text.len() {
        let pieces = text.as_bytes().chunks(size);
        let pieces = pieces.map(|it| String::from_utf8(it.to_vec()).unwrap());
        assert_eq!(results(pieces).await, [DONE; 3], "pieces of {size}");
    }
    assert_eq!(results([]).await, [""; 0]);
    assert_eq!(results(["\n\n".to_owned()]).await, [""; 0]);
}

#[tokio::test]
async fn a_batch_ends_after_a_thousand_lines() {
    let batch = format!("{BROADCAST}\n\n");
    assert_eq!(results([batch.repeat(1000)]).await, vec![DONE; 1000]);

    let found = results([batch.repeat(1002)]).await;

    let words = "a batch has at most 1000 lines; the rest was not read";
    assert_eq!(found.len(), 1001);
    assert_eq!(found[1000], refusal("bad_request", words));
}

#[tokio::test]
async fn a_line_is_bounded_like_a_body() {
    let data = format!(r#"{{"broadcast":{{"data":"{}"}}}}"#, "x".repeat(1023));
    let endless = std::iter::repeat_n("x".repeat(50_000), 5);
    let batch = [format!("{data}\n{BROADCAST}\n")].into_iter().chain(endless);

    let found = results(batch).await;

    let expected = [
        refusal("too_large", "data has more than 1024 bytes"),
        DONE.to_owned(),
        refusal("too_large", "the line has more than 158120 bytes"),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_was_whole_before_the_body_broke_off_is_done() {
    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
    let begin = Bytes::from(format!("{BROADCAST}\n{BROADCAST}"));
    let pieces = [Ok(Frame::data(begin)), Err(error)];

    let answer = answer(Fake::default(), StreamBody::new(stream::iter(pieces))).await;

    let broken = refusal("bad_request", "the body broke off");
    assert_eq!(lines(&text(answer).await), [DONE.to_owned(), broken]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_falls_silent_ends_with_an_error() {
    let begin = stream::iter([io::Result::Ok(Frame::data(Bytes::from(format!("{BROADCAST}\n"))))]);

    let answer = answer(Fake::default(), StreamBody::new(begin.chain(stream::pending()))).await;

    let words = "the body, or its next piece, did not come within 10 s";
    assert_eq!(lines(&text(answer).await), [DONE.to_owned(), refusal("timeout", words)]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_silent_is_given_up_line_by_line() {
    let fake = Fake { mood: Mood::IsSilent, ..Fake::default() };
    let body = Body::from(format!("{BROADCAST}\n{BROADCAST}\n"));

    let found = lines(&text(answer(fake, body).await).await);

    let words = "no answer within 10 s: the outcome is not known";
    assert_eq!(found, vec![refusal("unavailable", words); 2]);
}

#[tokio::test]
async fn a_result_goes_out_while_the_rest_is_still_to_come() {
    let (pieces, coming) = mpsc::channel::<Bytes>(1);
    let body = StreamBody::new(Box::pin(stream::unfold(coming, async |mut coming| {
        let piece = coming.recv().await?;
        Some((io::Result::Ok(Frame::data(piece)), coming))
    })));
    let mut answer = answer(Fake::default(), body).await;
    let mut next = async || {
        let frame = within("a result", answer.body_mut().frame()).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    };

    for _ in 0..3 {
        pieces.send(Bytes::from(format!("{BROADCAST}\n"))).await.unwrap();
        assert_eq!(next().await.unwrap(), format!("{DONE}\n"));
    }
    drop(pieces);
    assert_eq!(next().await, None);
}
