//! What is read from a frame, and what is refused.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::protocol::position::Epoch;

const BAD: Result<Request<'_>, RequestError<'_>> = Err(RequestError::BadRequest);

/// The only envelope of a frame.
fn one(text: &str) -> Envelope<'_> {
    let mut all = envelopes(text);
    let one = all.next().unwrap();
    assert!(all.next().is_none(), "{text}");
    one
}

#[allow(clippy::needless_pass_by_value, reason = "a table reads better without `&`")]
fn check(text: &str, expected: Result<Request<'_>, RequestError<'_>>) {
    assert_eq!(one(text).request, expected, "{text}");
}

/// A `message` to channel `r` with `data` as it stands.
fn message_with(data: &str) -> String {
    format!(r#"{{"type":"message","payload":{{"channel":"r","data":{data}}}}}"#)
}

fn says(data: &str) -> Request<'_> {
    Request::Message { channel: "r".into(), data, key: None, echo: true }
}

fn unknown(kind: &str) -> Result<Request<'_>, RequestError<'_>> {
    Err(RequestError::UnknownType(kind.into()))
}

#[test]
fn each_type_is_read() {
    let channel = || Cow::Borrowed("r");
    let position = Some(ClientPosition { epoch: Some(Epoch(255)), offset: OFFSET_MAX });
    check(r#"{"type":"ping"}"#, Ok(Request::Ping));
    check(
        r#"{"type":"subscribe","payload":{"channel":"r"}}"#,
        Ok(Request::Subscribe { channel: channel(), recover: None }),
    );
    check(
        r#"{"type":"subscribe","payload":{"channel":"r","recover":{"epoch":"00000000000000ff","offset":9007199254740991}}}"#,
        Ok(Request::Subscribe { channel: channel(), recover: position }),
    );
    check(
        r#"{"type":"unsubscribe","payload":{"channel":"r"}}"#,
        Ok(Request::Unsubscribe { channel: channel() }),
    );
    check(r#"{"type":"message","payload":{"channel":"r","data": [1, 2] }}"#, Ok(says("[1, 2]")));
    check(
        r#"{"type":"message","payload":{"echo":false,"key":"k","data":null,"channel":"r"}}"#,
        Ok(Request::Message {
            channel: channel(),
            data: "null",
            key: Some("k".into()),
            echo: false,
        }),
    );
    check(
        r#"{"type":"history","payload":{"channel":"r","limit":5,"since":{"epoch":"x","offset":0}}}"#,
        Ok(Request::History {
            channel: channel(),
            since: Some(ClientPosition { epoch: None, offset: 0 }),
            limit: 5,
        }),
    );
    check(
        r#"{"type":"presence","payload":{"channel":"r"}}"#,
        Ok(Request::Presence { channel: channel() }),
    );
    check(
        r#"{"type":"authenticate","payload":{"token":"t"}}"#,
        Ok(Request::Authenticate { token: Token("t".into()) }),
    );
}

#[test]
fn the_order_of_fields_and_fields_of_other_versions_do_not_matter() {
    check(
        r#"{"x":{"type":1},"payload":{"x":[],"channel":"r"},"y":null,"type":"presence"}"#,
        Ok(Request::Presence { channel: "r".into() }),
    );
}

#[test]
fn escapes_are_read() {
    check(
        r#"{"t\u0079pe":"presen\u0063e","payload":{"\u0063hannel":"a\"\n\u00e9"}}"#,
        Ok(Request::Presence { channel: "a\"\n\u{e9}".into() }),
    );
}

#[test]
fn an_optional_field_may_be_null() {
    check(
        r#"{"type":"message","payload":{"channel":"r","data":1,"key":null,"echo":null}}"#,
        Ok(says("1")),
    );
    check(
        r#"{"type":"history","payload":{"channel":"r","since":null,"limit":null}}"#,
        Ok(Request::History { channel: "r".into(), since: None, limit: 100 }),
    );
}

#[test]
fn a_limit_beyond_the_bound_is_the_bound() {
    for limit in ["101", "18446744073709551615"] {
        let text = format!(r#"{{"type":"history","payload":{{"channel":"r","limit":{limit}}}}}"#);
        check(&text, Ok(Request::History { channel: "r".into(), since: None, limit: 100 }));
    }
}

#[test]
fn what_is_no_envelope_is_a_bad_request() {
    let table = [
        "",
        " \n",
        "nonsense",
        "{",
        "[]",
        "[[[1]]]",
        "1",
        "-1",
        "1.5",
        "1e999",
        "true",
        "null",
        "\"ping\"",
        "{}",
        r#"{"type":1}"#,
        r#"{"type":null}"#,
        r#"{"type":["ping"]}"#,
        r#"{"Type":"ping"}"#,
        r#"{"type":"\ud800"}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"ping","\u0074ype":"ping"}"#,
        r#"{"type":"ping","x":1,"y":2,"x":1}"#,
        r#"{"type":"ping","payload":1,"payload":1}"#,
        "{\"type\":\"ping\u{1}\"}",
    ];
    for text in table {
        check(text, BAD);
    }
}

#[test]
fn a_payload_that_its_type_does_not_have_is_a_bad_request() {
    let table = [
        ("subscribe", "{}"),
        ("subscribe", "null"),
        ("subscribe", "[\"r\"]"),
        ("subscribe", "\"r\""),
        ("subscribe", r#"{"channel":1}"#),
        ("subscribe", r#"{"channel":null}"#),
        ("subscribe", r#"{"channel":"r","channel":"r"}"#),
        ("subscribe", r#"{"channel":"r","x":1,"x":1}"#),
        ("subscribe", r#"{"channel":"\ud800"}"#),
        ("subscribe", r#"{"channel":"r","recover":{}}"#),
        ("subscribe", r#"{"channel":"r","recover":["e",1]}"#),
        ("subscribe", r#"{"channel":"r","recover":{"epoch":1,"offset":1}}"#),
        ("subscribe", r#"{"channel":"r","recover":{"epoch":"e","offset":-1}}"#),
        ("subscribe", r#"{"channel":"r","recover":{"epoch":"e","offset":1.0}}"#),
        ("subscribe", r#"{"channel":"r","recover":{"epoch":"e","offset":9007199254740992}}"#),
        ("unsubscribe", "{}"),
        ("message", r#"{"channel":"r"}"#),
        ("message", r#"{"data":1}"#),
        ("message", r#"{"channel":"r","data":1,"data":1}"#),
        ("message", r#"{"channel":"r","data":1,"key":1}"#),
        ("message", r#"{"channel":"r","data":1,"echo":"false"}"#),
        ("history", r#"{"channel":"r","limit":0}"#),
        ("history", r#"{"channel":"r","limit":"1"}"#),
        ("history", r#"{"channel":"r","since":1}"#),
        ("presence", "{}"),
        ("authenticate", "{}"),
        ("authenticate", r#"{"token":1}"#),
    ];
    for (kind, payload) in table {
        let text = format!(r#"{{"type":"{kind}","payload":{payload},"id":7}}"#);
        assert_eq!(one(&text), Envelope { id: Some("7"), request: BAD }, "{text}");
    }
    for kind in ["subscribe", "unsubscribe", "message", "history", "presence", "authenticate"] {
        check(&format!(r#"{{"type":"{kind}"}}"#), BAD);
    }
}

#[test]
fn a_key_has_at_most_64_bytes() {
    for (bytes, is_fine) in [(0, true), (64, true), (65, false)] {
        let key = "k".repeat(bytes);
        let payload = format!(r#"{{"channel":"r","data":1,"key":"{key}"}}"#);

        let text = format!(r#"{{"type":"message","payload":{payload}}}"#);

        assert_eq!(one(&text).request.is_ok(), is_fine, "{bytes}");
    }
}

#[test]
fn data_passes_as_it_was_written() {
    let table = [
        r#"{"a":1,"a":{"b":2,"b":2}}"#,
        r#""\ud800""#,
        r#""\u0000""#,
        "1e999",
        "-0.0",
        "123456789012345678901234567890",
    ];
    for data in table {
        check(&message_with(data), Ok(says(data)));
    }
}

#[test]
fn data_that_would_break_a_line_is_no_json() {
    for data in ["\"a\nb\"", "\"a\rb\""] {
        check(&message_with(data), BAD);
    }
}

#[test]
fn an_id_stands_as_it_was_written() {
    let long = format!("\"{}\"", "x".repeat(64));
    for id in ["1", "-0", "1.50e+3", "\"\"", "\"a\\u0062\\\"\"", &long] {
        let text = format!(r#"{{"id": {id} ,"type":"ping"}}"#);
        assert_eq!(one(&text), Envelope { id: Some(id), request: Ok(Request::Ping) });
    }
}

#[test]
fn an_id_that_is_too_long_or_no_scalar_is_a_bad_request() {
    let long = format!("\"{}\"", "x".repeat(65));
    let digits = "1".repeat(65);
    for id in ["null", "true", "[]", "{}", &long, &digits] {
        let text = format!(r#"{{"id":{id},"type":"ping"}}"#);
        assert_eq!(one(&text), Envelope { id: None, request: BAD }, "{text}");
    }
}

#[test]
fn of_two_ids_the_first_is_answered() {
    let text = r#"{"id":1,"type":"ping","id":2}"#;
    assert_eq!(one(text), Envelope { id: Some("1"), request: BAD });
}

#[test]
fn an_unknown_type_is_quoted_up_to_64_bytes_of_whole_characters() {
    let exact = "x".repeat(64);
    let long = "x".repeat(65);
    let wide = format!("{}\u{20ac}", "x".repeat(62));
    for (kind, quoted) in [
        ("pong", "pong"),
        ("call", "call"),
        ("result", "result"),
        ("", ""),
        (&exact, &exact),
        (&long, &exact),
        (&wide, &wide[..62]),
    ] {
        check(&format!(r#"{{"type":"{kind}"}}"#), unknown(quoted));
    }
    check(r#"{"type":"a\"b"}"#, unknown("a\"b"));
    assert_eq!(unknown("a").unwrap_err().to_string(), "Unknown message type: a");
    assert_eq!(BAD.unwrap_err().to_string(), ErrorCode::BadRequest.words());
}

#[test]
fn a_frame_may_hold_several_envelopes() {
    let text =
        " {\"type\":\"ping\"}\n\n{\"type\":\"x\",\"id\":2}\t{\"type\":\"ping\",\n \"id\":3} ";

    let all: Vec<_> = envelopes(text).map(|envelope| (envelope.id, envelope.request)).collect();

    let ping = || Ok(Request::Ping);
    assert_eq!(all, [(None, ping()), (Some("2"), unknown("x")), (Some("3"), ping())]);
}

#[test]
fn from_where_it_is_no_json_the_rest_is_dropped_with_one_error() {
    for tail in ["x", "{", "}", "{\"type\"}", "{'type':'ping'}", ", {\"type\":\"ping\"}"] {
        let text = format!("{{\"type\":\"ping\"}} {tail} {{\"type\":\"ping\"}} x");

        let all: Vec<_> = envelopes(&text).map(|envelope| envelope.request).collect();

        assert_eq!(all, [Ok(Request::Ping), BAD], "{text}");
    }
}

#[test]
fn a_mistake_costs_its_own_envelope_only() {
    for wrong in ["{}", "[1]", "null ", "{\"type\":\"ping\",\"id\":{}}", "{\"a\":1,\"a\":1}"] {
        let text = format!("{wrong}{{\"type\":\"ping\"}}");

        let all: Vec<_> = envelopes(&text).map(|envelope| envelope.request).collect();

        assert_eq!(all, [BAD, Ok(Request::Ping)], "{text}");
    }
}

#[test]
fn a_frame_has_at_most_256_envelopes() {
    for (sent, read, errors) in [(255, 255, 0), (256, 256, 0), (257, 256, 1), (1000, 256, 1)] {
        let text = "{\"type\":\"ping\"}\n".repeat(sent);

        let is_error = |envelope: &Envelope<'_>| envelope.request.is_err();
        let (wrong, fine): (Vec<_>, Vec<_>) = envelopes(&text).partition(is_error);

        assert_eq!((fine.len(), wrong.len()), (read, errors), "{sent}");
    }
}

#[test]
fn deep_nesting_passes_in_data_and_is_refused_elsewhere() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check(&message_with(&deep), Ok(says(&deep)));

    check(&deep, BAD);
    for field in ["id", "type"] {
        check(&format!(r#"{{"{field}":{deep}}}"#), BAD);
    }
    check(&format!(r#"{{"type":"subscribe","payload":{deep}}}"#), BAD);
    let recover = format!(r#"{{"channel":"r","recover":{deep}}}"#);
    check(&format!(r#"{{"type":"subscribe","payload":{recover}}}"#), BAD);
    check(&format!(r#"{{"type":"ping","ignored":{deep}}}"#), Ok(Request::Ping));
    check(&"[".repeat(100_000), BAD);
    check(&"{\"a\":".repeat(100_000), BAD);
}

#[test]
fn a_token_is_never_printed() {
    let request = one(r#"{"type":"authenticate","payload":{"token":"secret"}}"#).request;

    assert!(!format!("{request:?}").contains("secret"));
}

/// JSON with the words of the protocol in it, so that much of it nearly is an envelope.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn word() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "type",
        "id",
        "payload",
        "channel",
        "data",
        "key",
        "since",
        "limit",
        "token",
        "ping",
        "subscribe",
        "message",
        "history",
        "presence",
        "authenticate",
    ];
    prop_oneof![4 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => "\\PC{0,3}"]
}

/// A `message` with any values in its fields, or without them.
fn message() -> impl Strategy<Value = Value> {
    let field = || prop::option::weighted(0.9, value());
    let text = || prop::option::weighted(0.9, word().prop_map(Value::from));
    (text(), field(), prop::option::of(field()), field()).prop_map(|(channel, data, key, id)| {
        let object = |fields: [(&str, Option<Value>); 3]| -> Value {
            let there = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            there.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
        };
        let payload = object([("channel", channel), ("data", data), ("key", key.flatten())]);
        object([("payload", Some(payload)), ("id", id), ("type", Some(json!("message")))])
    })
}

/// What a reader with a whole value tree makes of a `message`: its id, channel and data.
fn naive(value: &Value) -> Option<(Option<String>, String, Value)> {
    let id = match value.get("id") {
        None => None,
        Some(id @ (Value::String(_) | Value::Number(_))) => Some(id.to_string()),
        Some(_) => return None,
    };
    let payload = value.get("payload")?;
    let key = payload.get("key");
    let channel = payload.get("channel")?.as_str()?.to_owned();
    let is_key = key.is_none_or(|key| key.is_null() || key.is_string());
    is_key.then_some((id, channel, payload.get("data")?.clone()))
}

proptest! {
    #[test]
    fn any_message_is_read_as_serde_json_reads_it(value in message()) {
        let text = serde_json::to_string_pretty(&value).unwrap();

        let Envelope { id, request } = one(&text);

        match (request, naive(&value)) {
            (Ok(Request::Message { channel, data, .. }), Some(expected)) => {
                let data: Value = serde_json::from_str(data).unwrap();
                prop_assert_eq!((id.map(str::to_owned), channel.into_owned(), data), expected);
            }
            (request, expected) => prop_assert_eq!((request, expected), (BAD, None)),
        }
    }

    #[test]
    fn any_json_is_one_envelope(value in value()) {
        let text = value.to_string();

        let envelope = one(&text);

        let is_typed = value.get("type").is_some_and(Value::is_string);
        prop_assert!(is_typed || envelope.request == BAD);
    }

    #[test]
    fn any_text_ends_and_its_mistakes_are_told(
        text in "([{}\\[\\]:,\" \n]|\"type\"|\"ping\"|1|\\PC){0,60}",
    ) {
        let all: Vec<_> = envelopes(&text).collect();

        prop_assert!((1..=ENVELOPES_MAX + 1).contains(&all.len()));
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let is_json = values.all(|value| value.is_ok());
        prop_assert!(is_json || all.last().is_some_and(|last| last.request == BAD));
    }
}
