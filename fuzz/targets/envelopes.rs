//! Envelopes: what is accepted is what serde_json reads there, what is refused ends in an error, and
//! every answer to it is JSON.
#![no_main]

use headgate_gateway::{
    protocol::{
        data::compact,
        error::ErrorCode,
        reply,
        request::{ENVELOPES_MAX, Envelope, Request, RequestError, envelopes},
    },
    telemetry::metrics::Received,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|text: &str| {
    let ours: Vec<_> = envelopes(text).collect();

    assert!((1..=ENVELOPES_MAX + 1).contains(&ours.len()));
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut is_over = false;
    for envelope in &ours {
        assert!(!is_over, "more envelopes than there are");
        match values.next() {
            Some(Ok(value)) => is_as_serde_reads_it(envelope, &value),
            Some(Err(error)) if is_json_beyond_trees(&error.to_string()) => return,
            Some(Err(_)) | None => {
                assert_eq!(envelope.request, Err(RequestError::BadRequest));
                is_over = true;
            }
        }
        answers_are_json(envelope);
    }
    // The 257th is refused, whatever it is.
    is_over |= ours.len() > ENVELOPES_MAX || values.next().is_none();
    assert!(is_over, "envelopes that nobody read");
});

/// JSON that passes as it came, and that serde_json's trees cannot hold: deep nesting, numbers beyond
/// a double, halves of surrogate pairs.
fn is_json_beyond_trees(error: &str) -> bool {
    ["recursion", "out of range", "surrogate", "hex escape"].iter().any(|it| error.contains(it))
}

fn is_as_serde_reads_it(envelope: &Envelope<'_>, value: &Value) {
    // Of an id that is there twice, the first goes back with the error.
    if let Some(id) = envelope.id.filter(|_| envelope.request != Err(RequestError::BadRequest)) {
        assert_eq!(serde_json::from_str::<Value>(id).ok().as_ref(), value.get("id"), "id");
    }
    let kind = value.get("type").and_then(Value::as_str);
    let payload = value.get("payload").unwrap_or(&Value::Null);
    let field = |name: &str| payload.get(name).filter(|it| !it.is_null());
    let channel_is = |channel: &str| assert_eq!(field("channel"), Some(&json!(channel)), "channel");
    let position_is = |name, position: &Option<_>| {
        assert_eq!(field(name).is_some(), position.is_some(), "{name}")
    };
    let request = match &envelope.request {
        Ok(request) => request,
        Err(RequestError::UnknownType(shown)) => {
            assert!(shown.len() <= 64 && kind.is_some_and(|kind| kind.starts_with(shown.as_ref())));
            return;
        }
        Err(RequestError::BadRequest) => return,
    };
    assert_eq!(kind, Some(Received::from(request).label()));
    match request {
        Request::Ping => {}
        Request::Subscribe { channel, recover } => {
            channel_is(channel);
            position_is("recover", recover);
        }
        Request::Unsubscribe { channel } | Request::Presence { channel } => channel_is(channel),
        Request::Message { channel, data, key, echo } => {
            channel_is(channel);
            assert_eq!(field("key"), key.as_ref().map(|key| json!(key)).as_ref(), "key");
            assert_eq!(*echo, field("echo") != Some(&json!(false)), "echo");
            let data_again: Value = serde_json::from_str(data).expect("data is JSON");
            assert_eq!(Some(&data_again), payload.get("data"));
            let compact = compact(data);
            assert_eq!(serde_json::from_str::<Value>(&compact).ok(), Some(data_again));
            assert!(compact.len() <= data.len());
        }
        Request::History { channel, since, limit } => {
            channel_is(channel);
            position_is("since", since);
            assert!((1..=100).contains(limit));
        }
        Request::Authenticate { token } => {
            assert_eq!(field("token"), Some(&json!(token.0)));
            assert_eq!(format!("{request:?}"), "Authenticate { token: Token(..) }");
        }
    }
}

fn answers_are_json(envelope: &Envelope<'_>) {
    let id = envelope.id;
    let check = |kind: &str, write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        let value: Value = serde_json::from_slice(&out).expect("an answer is JSON");
        assert_eq!(value["type"], kind);
        let id = id.map(|id| serde_json::from_str::<Value>(id).expect("an id is JSON"));
        assert_eq!(value.get("id"), id.as_ref());
        value["payload"].clone()
    };
    match &envelope.request {
        Err(wrong) => {
            let payload = check("error", &|out| reply::request_error(out, id, wrong));
            assert_eq!(payload["message"], wrong.to_string());
        }
        Ok(Request::Ping) => assert!(check("pong", &|out| reply::pong(out, id)).is_null()),
        Ok(Request::Subscribe { channel, .. }) => {
            let write = |out: &mut Vec<u8>| reply::subscribed(out, id, channel, None, Some(true));
            assert_eq!(check("subscribed", &write)["channel"], **channel);
        }
        Ok(Request::Unsubscribe { channel }) => {
            let payload = check("unsubscribed", &|out| reply::unsubscribed(out, id, channel));
            assert_eq!(payload["channel"], **channel);
        }
        Ok(Request::Message { channel, data, .. }) => {
            let payload = check("published", &|out| reply::published(out, id, channel, Some(7)));
            assert_eq!(payload["channel"], **channel);
            delivers(channel, data);
        }
        Ok(_) => {
            let words = ErrorCode::Forbidden;
            check("error", &|out| reply::error(out, id, words, words.words()));
        }
    }
}

fn delivers(channel: &str, data: &str) {
    let data = compact(data);
    let message = reply::Message {
        channel: Some(channel),
        data: data.as_bytes(),
        offset: Some(7),
        user: Some(channel),
    };
    let mut out = Vec::new();
    reply::message(&mut out, &message);
    // Raw, since data may be nested deeper than a tree.
    let raw: &serde_json::value::RawValue = serde_json::from_slice(&out).expect("JSON");
    assert!(raw.get().contains(data.as_ref()));
    assert!(!out.contains(&b'\n'), "lines must stay joinable");
}
