//! What clients get: writers that append the text of one envelope, without white space.

use std::io::Write;

use super::{error::ClientError, position::Position};

/// How an envelope's payload begins: `{"type":"…","payload":…` or with the client's `id`.
fn open(out: &mut Vec<u8>, kind: &str, id: Option<&str>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(b",\"payload\":");
}

/// Appends a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // A vector takes everything, and a string has a JSON form: this cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn field(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    string(out, text);
}

fn position(out: &mut Vec<u8>, position: Option<Position>) {
    if let Some(Position { epoch, offset }) = position {
        let _ = write!(out, ",\"epoch\":\"{epoch}\",\"offset\":{offset}");
    }
}

/// The answer to `ping`.
pub fn pong(out: &mut Vec<u8>, id: Option<&str>) {
    open(out, "pong", id);
    out.extend_from_slice(b"null}");
}

/// The answer to `subscribe`; `recovered` where the client asked to recover.
pub fn subscribed(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    at: Option<Position>,
    recovered: Option<bool>,
) {
    open(out, "subscribed", id);
    out.push(b'{');
    field(out, "channel", channel);
    position(out, at);
    if let Some(recovered) = recovered {
        let _ = write!(out, ",\"recovered\":{recovered}");
    }
    out.extend_from_slice(b"}}");
}

/// The answer to `unsubscribe`.
pub fn unsubscribed(out: &mut Vec<u8>, id: Option<&str>, channel: &str) {
    open(out, "unsubscribed", id);
    out.push(b'{');
    field(out, "channel", channel);
    out.extend_from_slice(b"}}");
}

/// The gateway ended a subscription.
pub fn ended(out: &mut Vec<u8>, channel: &str, code: &str, reason: &str) {
    open(out, "unsubscribed", None);
    out.push(b'{');
    field(out, "channel", channel);
    out.push(b',');
    field(out, "code", code);
    out.push(b',');
    field(out, "reason", reason);
    out.extend_from_slice(b"}}");
}

/// The answer to `message`.
pub fn published(out: &mut Vec<u8>, id: &str, channel: &str, at: Option<Position>) {
    open(out, "published", Some(id));
    out.push(b'{');
    field(out, "channel", channel);
    if let Some(at) = at {
        let _ = write!(out, ",\"offset\":{}", at.offset);
    }
    out.extend_from_slice(b"}}");
}

/// A publication, live or recovered. Returns where in `out` the data stands.
///
/// `channel` is left out for broadcasts and messages to the user in the plain dialect.
pub fn message(
    out: &mut Vec<u8>,
    channel: Option<&str>,
    data: &[u8],
    offset: Option<u64>,
    user: Option<&str>,
) -> std::ops::Range<usize> {
    open(out, "message", None);
    out.push(b'{');
    if let Some(channel) = channel {
        field(out, "channel", channel);
        out.push(b',');
    }
    let range = message_fields(out, data, offset, user);
    out.extend_from_slice(b"}}");
    range
}

fn message_fields(
    out: &mut Vec<u8>,
    data: &[u8],
    offset: Option<u64>,
    user: Option<&str>,
) -> std::ops::Range<usize> {
    out.extend_from_slice(b"\"data\":");
    let start = out.len();
    out.extend_from_slice(data);
    let range = start..out.len();
    if let Some(offset) = offset {
        out.extend_from_slice(b",\"offset\":");
        number(out, offset);
    }
    if let Some(user) = user {
        out.push(b',');
        field(out, "user", user);
    }
    range
}

/// One publication in an answer about history.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// JSON.
    pub data: &'a [u8],
    /// Its offset.
    pub offset: u64,
    /// Who published it.
    pub user: Option<&'a str>,
}

/// Appends `{"channel","epoch","offset","messages":[..],"more"}`, also the API's answer.
pub fn history_payload<'a>(
    out: &mut Vec<u8>,
    channel: &str,
    at: Position,
    messages: impl Iterator<Item = Past<'a>>,
    more: bool,
) {
    out.push(b'{');
    field(out, "channel", channel);
    position(out, Some(at));
    out.extend_from_slice(b",\"messages\":[");
    for (i, past) in messages.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'{');
        message_fields(out, past.data, Some(past.offset), past.user);
        out.push(b'}');
    }
    let _ = write!(out, "],\"more\":{more}}}");
}

/// The answer to `history`.
pub fn history<'a>(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    at: Position,
    messages: impl Iterator<Item = Past<'a>>,
    more: bool,
) {
    open(out, "history", id);
    history_payload(out, channel, at, messages, more);
    out.push(b'}');
}

/// One connection that is present in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The user; anonymous connections have none.
    pub user: Option<&'a str>,
    /// The connection's name.
    pub connection: &'a str,
    /// JSON that the token carried.
    pub info: Option<&'a str>,
}

fn present(out: &mut Vec<u8>, it: Present<'_>) {
    if let Some(user) = it.user {
        field(out, "user", user);
        out.push(b',');
    }
    field(out, "connection", it.connection);
    if let Some(info) = it.info {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info.as_bytes());
    }
}

/// Appends `{"channel","members":[..],"total","complete"}`, also the API's answer.
pub fn presence_payload<'a>(
    out: &mut Vec<u8>,
    channel: &str,
    members: impl Iterator<Item = Present<'a>>,
    total: usize,
) {
    out.push(b'{');
    field(out, "channel", channel);
    out.extend_from_slice(b",\"members\":[");
    for (i, member) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'{');
        present(out, member);
        out.push(b'}');
    }
    let _ = write!(out, "],\"total\":{total},\"complete\":true}}");
}

/// The answer to `presence`.
pub fn presence<'a>(
    out: &mut Vec<u8>,
    id: Option<&str>,
    channel: &str,
    members: impl Iterator<Item = Present<'a>>,
    total: usize,
) {
    open(out, "presence", id);
    presence_payload(out, channel, members, total);
    out.push(b'}');
}

/// Somebody joined (`join`) or left (`leave`) a channel that announces presence.
pub fn announcement(out: &mut Vec<u8>, kind: &str, channel: &str, member: Present<'_>) {
    open(out, kind, None);
    out.push(b'{');
    field(out, "channel", channel);
    out.push(b',');
    present(out, member);
    out.extend_from_slice(b"}}");
}

/// Presence changed in a channel with too many members to announce each.
pub fn presence_changed(out: &mut Vec<u8>, channel: &str, total: usize) {
    open(out, "presence_changed", None);
    out.push(b'{');
    field(out, "channel", channel);
    let _ = write!(out, ",\"total\":{total}}}}}");
}

/// The answer to `authenticate`; `expires` is in seconds since 1970.
pub fn authenticated(out: &mut Vec<u8>, id: Option<&str>, user: Option<&str>, expires: u64) {
    open(out, "authenticated", id);
    out.push(b'{');
    if let Some(user) = user {
        field(out, "user", user);
        out.push(b',');
    }
    let _ = write!(out, "\"expires\":{expires}}}}}");
}

/// What `welcome` says.
#[derive(Debug)]
pub struct Welcome<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The user, where there is one.
    pub user: Option<&'a str>,
    /// How often the gateway pings, in milliseconds.
    pub ping_period_ms: u64,
    /// The longest message it takes, in bytes.
    pub message_bytes_max: u64,
    /// When the token ends, in seconds since 1970.
    pub expires: Option<u64>,
    /// What is subscribed from the start.
    pub subscriptions: &'a [(String, Option<Position>)],
}

/// The first envelope of the `headgate.v1` dialect.
pub fn welcome(out: &mut Vec<u8>, it: &Welcome<'_>) {
    open(out, "welcome", None);
    out.push(b'{');
    field(out, "connection", it.connection);
    if let Some(user) = it.user {
        out.push(b',');
        field(out, "user", user);
    }
    let _ = write!(
        out,
        ",\"pingPeriodMs\":{},\"maxMessageBytes\":{}",
        it.ping_period_ms, it.message_bytes_max
    );
    if let Some(expires) = it.expires {
        let _ = write!(out, ",\"expires\":{expires}");
    }
    out.extend_from_slice(b",\"features\":[],\"subscriptions\":[");
    for (i, (channel, at)) in it.subscriptions.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.push(b'{');
        field(out, "channel", channel);
        position(out, *at);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}}");
}

/// Messages of this channel before `at` are lost to this client; without it: some, just now.
pub fn gap(out: &mut Vec<u8>, channel: &str, at: Option<Position>) {
    open(out, "gap", None);
    out.push(b'{');
    field(out, "channel", channel);
    position(out, at);
    out.extend_from_slice(b"}}");
}

/// This connection will be closed; come back after about `delay_ms`.
pub fn reconnect(out: &mut Vec<u8>, reason: &str, closes_in_ms: u64, delay_ms: u64) {
    open(out, "reconnect", None);
    out.push(b'{');
    field(out, "reason", reason);
    let _ = write!(out, ",\"closesInMs\":{closes_in_ms},\"delayMs\":{delay_ms}}}}}");
}

/// Something was not done.
pub fn error(out: &mut Vec<u8>, id: Option<&str>, error: &ClientError) {
    open(out, "error", id);
    out.push(b'{');
    field(out, "code", error.code.code());
    out.push(b',');
    field(out, "message", &error.message);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::{error::ErrorCode, position::Epoch};

    const AT: Position = Position { epoch: Epoch(0xab), offset: 7 };

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &Value) {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *expected);
        assert!(!text.contains([' ', '\n']) || expected.to_string().contains(' '), "{text}");
    }

    #[test]
    fn replies_are_what_the_protocol_says() {
        check(|out| pong(out, Some("\"a\"")), &json!({"type":"pong","id":"a","payload":null}));
        check(
            |out| subscribed(out, Some("1"), "a\"b", Some(AT), Some(false)),
            &json!({"type":"subscribed","id":1,"payload":{"channel":"a\"b","epoch":"ab","offset":7,"recovered":false}}),
        );
        check(
            |out| drop(message(out, Some("a"), b"[1]", Some(3), Some("al"))),
            &json!({"type":"message","payload":{"channel":"a","data":[1],"offset":3,"user":"al"}}),
        );
        check(
            |out| drop(message(out, None, b"null", None, None)),
            &json!({"type":"message","payload":{"data":null}}),
        );
        check(
            |out| error(out, None, &ErrorCode::BadRequest.into()),
            &json!({"type":"error","payload":{"code":"bad_request","message":"Invalid message format"}}),
        );
        check(
            |out| {
                let past = Past { data: b"5", offset: 7, user: None };
                history(out, Some("9"), "c", AT, [past, past].into_iter(), true);
            },
            &json!({"type":"history","id":9,"payload":{"channel":"c","epoch":"ab","offset":7,
                "messages":[{"data":5,"offset":7},{"data":5,"offset":7}],"more":true}}),
        );
        check(
            |out| {
                let member =
                    Present { user: Some("al"), connection: "x", info: Some("{\"name\":1}") };
                presence(out, None, "c", [member].into_iter(), 1);
            },
            &json!({"type":"presence","payload":{"channel":"c","members":
                [{"user":"al","connection":"x","info":{"name":1}}],"total":1,"complete":true}}),
        );
        check(
            |out| presence_changed(out, "c", 4),
            &json!({"type":"presence_changed","payload":{"channel":"c","total":4}}),
        );
        check(|out| gap(out, "c", None), &json!({"type":"gap","payload":{"channel":"c"}}));
        check(
            |out| authenticated(out, None, Some("a"), 5),
            &json!({"type":"authenticated","payload":{"user":"a","expires":5}}),
        );
        check(
            |out| reconnect(out, "drain", 5000, 12),
            &json!({"type":"reconnect","payload":{"reason":"drain","closesInMs":5000,"delayMs":12}}),
        );
    }
}
