//! What clients send: envelopes, one or more in a text frame.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    error::{ClientError, ErrorCode},
    position::{ClientPosition, Epoch, OFFSET_MAX},
};

/// Envelopes in one frame at most; what comes after them is dropped.
pub const ENVELOPES_MAX: usize = 256;

/// The longest `id`, in bytes of its JSON text.
const ID_BYTES_MAX: usize = 64;

/// The longest `key` of a publication, in bytes.
const KEY_BYTES_MAX: usize = 64;

/// The most publications in one answer to `history`.
pub const HISTORY_MAX: usize = 100;

/// One envelope: who asks for the answer, and what is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The verbatim JSON of the client's `id`, a string or a number.
    pub id: Option<&'a str>,
    /// What is asked, or what is wrong with it.
    pub request: Result<Request<'a>, ClientError>,
}

/// A request of a client.
#[derive(PartialEq, Eq)]
pub enum Request<'a> {
    /// Is the connection alive?
    Ping,
    /// Receive what is published to a channel.
    Subscribe {
        /// The channel's name, not yet checked.
        channel: Cow<'a, str>,
        /// Where the client left off.
        recover: Option<ClientPosition>,
    },
    /// No longer receive it.
    Unsubscribe {
        /// The channel's name, not yet checked.
        channel: Cow<'a, str>,
    },
    /// Publish to a channel.
    Message {
        /// The channel's name, not yet checked.
        channel: Cow<'a, str>,
        /// Any JSON, as it came.
        data: &'a str,
        /// Makes a retry harmless in a channel with history.
        key: Option<Cow<'a, str>>,
        /// Whether the publisher gets its own message.
        echo: bool,
    },
    /// Read what a channel keeps.
    History {
        /// The channel's name, not yet checked.
        channel: Cow<'a, str>,
        /// Only what came after it.
        since: Option<ClientPosition>,
        /// 1 to [`HISTORY_MAX`].
        limit: usize,
    },
    /// Who is subscribed?
    Presence {
        /// The channel's name, not yet checked.
        channel: Cow<'a, str>,
    },
    /// Here is a token.
    Authenticate {
        /// The token; never to be logged or echoed.
        token: Cow<'a, str>,
    },
}

impl Request<'_> {
    /// The `type`, as the label of `realtime_gateway_messages_received_total`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Message { .. } => "message",
            Self::History { .. } => "history",
            Self::Presence { .. } => "presence",
            Self::Authenticate { .. } => "authenticate",
        }
    }
}

impl fmt::Debug for Request<'_> {
    /// Says the type only: a request holds tokens and what people write to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The rest of a frame is not JSON, or is more than a frame may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the envelopes of one frame; ends after the first [`Malformed`].
pub fn envelopes(text: &str) -> impl Iterator<Item = Result<Envelope<'_>, Malformed>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let mut read = 0;
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let value = values.next()?;
        read += 1;
        match value {
            Ok(value) if read <= ENVELOPES_MAX => Some(Ok(envelope(value.get()))),
            _ => {
                is_over = true;
                Some(Err(Malformed))
            }
        }
    })
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fn envelope(json: &str) -> Envelope<'_> {
    let bad = |id| Envelope { id, request: Err(ErrorCode::BadRequest.into()) };
    let Some(raw) = object::<RawEnvelope<'_>>(json) else { return bad(None) };
    let id = match raw.id.map(RawValue::get) {
        Some(id) if !is_id(id) => return bad(None),
        id => id,
    };
    let Some(kind) = raw.kind.and_then(|it| serde_json::from_str::<Text<'_>>(it.get()).ok()) else {
        return bad(id);
    };
    let payload = raw.payload.map_or("", RawValue::get);
    Envelope { id, request: request(&kind.0, payload) }
}

fn is_id(json: &str) -> bool {
    json.len() <= ID_BYTES_MAX && json.starts_with(|c: char| matches!(c, '"' | '-' | '0'..='9'))
}

/// Text that is borrowed where the JSON has no escapes in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct RawPosition<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

impl RawPosition<'_> {
    fn position(&self) -> Result<ClientPosition, ClientError> {
        if self.offset > OFFSET_MAX {
            return Err(ErrorCode::BadRequest.into());
        }
        Ok(ClientPosition { epoch: Epoch::parse(&self.epoch), offset: self.offset })
    }
}

#[derive(Deserialize)]
struct SubscribePayload<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    recover: Option<RawPosition<'a>>,
}

#[derive(Deserialize)]
struct ChannelPayload<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

#[derive(Deserialize)]
struct MessagePayload<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    echo: Option<bool>,
}

#[derive(Deserialize)]
struct HistoryPayload<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    since: Option<RawPosition<'a>>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct AuthenticatePayload<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

fn request<'a>(kind: &str, payload: &'a str) -> Result<Request<'a>, ClientError> {
    let bad = || ClientError::from(ErrorCode::BadRequest);
    Ok(match kind {
        "ping" => Request::Ping,
        "subscribe" => {
            let it: SubscribePayload<'_> = object(payload).ok_or_else(bad)?;
            let recover = it.recover.map(|at| at.position()).transpose()?;
            Request::Subscribe { channel: it.channel, recover }
        }
        "unsubscribe" => {
            let it: ChannelPayload<'_> = object(payload).ok_or_else(bad)?;
            Request::Unsubscribe { channel: it.channel }
        }
        "message" => {
            let it: MessagePayload<'_> = object(payload).ok_or_else(bad)?;
            let key = it.key.map(|key| key.0);
            if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
                return Err(bad());
            }
            let echo = it.echo.unwrap_or(true);
            Request::Message { channel: it.channel, data: it.data.get(), key, echo }
        }
        "history" => {
            let it: HistoryPayload<'_> = object(payload).ok_or_else(bad)?;
            let since = it.since.map(|at| at.position()).transpose()?;
            let limit = it.limit.unwrap_or(HISTORY_MAX);
            if limit == 0 {
                return Err(bad());
            }
            Request::History { channel: it.channel, since, limit: limit.min(HISTORY_MAX) }
        }
        "presence" => {
            let it: ChannelPayload<'_> = object(payload).ok_or_else(bad)?;
            Request::Presence { channel: it.channel }
        }
        "authenticate" => {
            let it: AuthenticatePayload<'_> = object(payload).ok_or_else(bad)?;
            Request::Authenticate { token: it.token }
        }
        unknown => return Err(ClientError::unknown_type(unknown)),
    })
}

/// Reads a JSON object; an array would pass for a struct with serde, and is none.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let read: Vec<String> = envelopes(text)
            .map(|it| match it {
                Err(Malformed) => "malformed".to_owned(),
                Ok(Envelope { id, request }) => {
                    let id = id.map(|id| format!("{id} ")).unwrap_or_default();
                    match request {
                        Ok(request) => format!("{id}{request:?}"),
                        Err(error) => format!("{id}{}", error.message),
                    }
                }
            })
            .collect();
        assert_eq!(read, expected, "{}", text.get(..80).unwrap_or(text));
    }

    const BAD: &str = "Invalid message format";

    #[test]
    fn a_frame_holds_envelopes_between_white_space() {
        check("{\"type\":\"ping\"}\n {\n \"type\" : \"ping\", \"id\": 7 }\n", &["ping", "7 ping"]);
        check("", &[]);
        check("{\"type\":\"ping\"} nonsense {\"type\":\"ping\"}", &["ping", "malformed"]);
        check("[{\"type\":\"ping\"}] {\"type\":\"ping\"}", &[BAD, "ping"]);
    }

    #[test]
    fn the_257th_envelope_and_what_follows_is_dropped() {
        let text = "{\"type\":\"ping\"} ".repeat(300);

        let read: Vec<_> = envelopes(&text).collect();

        assert_eq!(read.len(), 257);
        assert_eq!(read[256], Err(Malformed));
    }

    #[test]
    fn errors_carry_the_id_and_the_fixed_words() {
        check(r#"{"id":"a"}"#, &[&format!("\"a\" {BAD}")]);
        check(r#"{"type":5,"id":1}"#, &[&format!("1 {BAD}")]);
        check(r#"{"type":"ping","id":{}}"#, &[BAD]);
        check(&format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(63)), &[BAD]);
        check(r#"{"type":"call"}"#, &["Unknown message type: call"]);
        let long = format!("Unknown message type: {}", "ä".repeat(32));
        check(&format!(r#"{{"type":"{}"}}"#, "ä".repeat(99)), &[&long]);
    }

    #[test]
    fn duplicate_keys_are_refused_but_in_data() {
        check(r#"{"type":"ping","type":"ping"}"#, &[BAD]);
        check(r#"{"type":"subscribe","payload":{"channel":"a","channel":"a"}}"#, &[BAD]);
        check(r#"{"type":"message","payload":{"channel":"a","data":{"b":1,"b":2}}}"#, &["message"]);
    }

    #[test]
    fn payloads_have_their_shape() {
        check(r#"{"type":"subscribe"}"#, &[BAD]);
        check(r#"{"type":"subscribe","payload":["a"]}"#, &[BAD]);
        check(r#"{"type":"subscribe","payload":{"channel":"a","recover":null}}"#, &["subscribe"]);
        check(
            r#"{"type":"subscribe","payload":{"channel":"a","recover":{"epoch":"1","offset":9007199254740992}}}"#,
            &[BAD],
        );
        check(r#"{"type":"message","payload":{"channel":"a"}}"#, &[BAD]);
        check(r#"{"type":"message","payload":{"channel":"a","data":null}}"#, &["message"]);
        check(r#"{"type":"history","payload":{"channel":"a","limit":0}}"#, &[BAD]);
    }

    #[test]
    fn json_10_000_deep_passes_in_data_and_is_harmless_elsewhere() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        check(
            &format!(r#"{{"type":"message","payload":{{"channel":"a","data":{deep}}}}}"#),
            &["message"],
        );
        check(&format!(r#"{{"type":{deep}}}"#), &[BAD]);
        check(&format!(r#"{{"type":"ping","more":{deep}}}"#), &["ping"]);
    }

    #[test]
    fn a_request_does_not_print_what_is_in_it() {
        let text = r#"{"type":"authenticate","payload":{"token":"secret"}}"#;
        let printed = format!("{:?}", envelopes(text).collect::<Vec<_>>());
        assert!(!printed.contains("secret"), "{printed}");
    }

    proptest! {
        #[test]
        fn no_text_is_a_crash(text in "[\\[\\]{}\":,a-z0-9 \\\\]{0,200}") {
            prop_assert!(envelopes(&text).count() <= ENVELOPES_MAX + 1);
        }
    }
}
