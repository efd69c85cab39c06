//! What pods ask each other, and what they answer.
//!
//! ```text
//! {"v":1,"pod":"00a1b2c3","what":"presence","body":{"topic":"room.1"}}
//! ```
//!
//! A reader ignores fields that it does not know. A question that it does not know, of the next
//! version, is answered by saying so, so that nobody waits for the answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    pods::Told,
    wire::{Dropped, VERSION, check_version},
};
use crate::{
    broker::roster::{self, MEMBERS_SHOWN_MAX},
    protocol::data,
};

/// About what one answer may hold, whatever the server's `max_payload` is: that is 1 MiB by default.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Which connections are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Whom {
    /// All of a user's.
    User(String),
    /// The one of this name.
    Connection(String),
}

/// What is no longer good.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Revoked {
    /// The token of this `jti`.
    Jti(String),
    /// Every token of this user.
    User(String),
}

/// A part of a list, in the order of the names' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Only what comes after this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many at most; an answer holds no more than [`ANSWER_BYTES_MAX`] whatever this is.
    pub limit: usize,
}

/// How connections are closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Which ones.
    pub whom: Whom,
    /// The application's own close code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// What the close frame says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Something for one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub connection: String,
    /// JSON.
    pub data: Box<RawValue>,
}

/// A user and a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Whose connections.
    pub user: String,
    /// The channel's name.
    pub channel: String,
}

/// Something to refuse from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What.
    pub revoked: Revoked,
    /// Until when, in seconds since 1970.
    pub expires: u64,
    /// Its place in the stream of revocations; 0 where that is not known.
    #[serde(default)]
    pub sequence: u64,
}

/// What a pod is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Who is in the topic of this key?
    Presence(String),
    /// Which connections are there?
    Connections(Part),
    /// Which channels are there?
    Channels(Part),
    /// What are the figures since the start?
    Stats,
    /// Close connections: how many?
    Disconnect(Disconnect),
    /// Send this to a connection: is it there?
    Message(Message),
    /// Subscribe a user's connections: how many?
    Subscribe(Subscription),
    /// End a user's subscriptions: how many connections?
    Unsubscribe(Subscription),
    /// Refuse these, and close what they have: how many?
    Revoke(Vec<Revocation>),
    /// Who has how many connections, after the user of this name?
    Counts(Option<String>),
}

/// Who is in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// At most [`MEMBERS_SHOWN_MAX`].
    pub members: Vec<Member>,
    /// How many there are.
    pub total: usize,
}

/// One connection in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its name.
    pub connection: String,
    /// What its token says beside: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
}

/// JSON as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Info(pub Box<RawValue>);

impl PartialEq for Info {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Info {}

/// A part of a pod's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// In the order of their names' bytes.
    pub list: Vec<T>,
    /// Whether there are more after these.
    pub more: bool,
    /// How many there are in all.
    pub total: u64,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// How long it has lived.
    pub age_ms: u64,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Connections of the pod that are subscribed.
    pub subscribers: u64,
    /// The epoch and the offset of the newest publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<(u64, u64)>,
}

/// The figures of a pod since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stats {
    /// Connections now.
    pub active_connections: u64,
    /// Connections ever.
    pub total_connections: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Channels now.
    pub channels: u64,
    /// Envelopes from clients.
    pub messages_received: u64,
    /// Publications written to clients.
    pub messages_delivered: u64,
    /// Errors told to clients.
    pub errors: u64,
    /// The time from published to written, summed up, in seconds.
    pub delivery_seconds_sum: f64,
    /// How many were timed.
    pub delivery_seconds_count: u64,
}

/// Connections of users: a part of all that a pod has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The number of the last beat that the pod has made: what comes later than this page is newer.
    pub seq: u64,
    /// In the order of the users' names.
    pub users: Vec<Told>,
    /// Whether there are more after these.
    pub more: bool,
}

/// What a pod answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Presence`].
    Presence(Presence),
    /// To [`Question::Connections`].
    Connections(List<Connection>),
    /// To [`Question::Channels`].
    Channels(List<Channel>),
    /// To [`Question::Stats`].
    Stats(Stats),
    /// How many connections were meant.
    Count(u64),
    /// To [`Question::Counts`].
    Counts(Counts),
    /// It could not do it: a worker does not answer, or something is full.
    Failed(String),
    /// It does not know the question.
    Unknown,
}

impl Answer {
    /// Whether the pod did what it was asked.
    pub const fn is_one(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Unknown)
    }
}

/// What goes between pods.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u32,
    #[serde(borrow)]
    pod: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    what: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// Who says something, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<T> {
    /// The pod.
    pub pod: Arc<str>,
    /// What it says; `None` for what only the next version knows.
    pub said: Option<T>,
}

/// Writes a question.
pub fn ask(pod: &str, question: &Question) -> Vec<u8> {
    match question {
        Question::Presence(topic) => write(pod, "presence", topic),
        Question::Connections(part) => write(pod, "connections", part),
        Question::Channels(part) => write(pod, "channels", part),
        Question::Stats => write(pod, "stats", &()),
        Question::Disconnect(it) => write(pod, "disconnect", it),
        Question::Message(it) => write(pod, "message", it),
        Question::Subscribe(it) => write(pod, "subscribe", it),
        Question::Unsubscribe(it) => write(pod, "unsubscribe", it),
        Question::Revoke(it) => write(pod, "revoke", it),
        Question::Counts(after) => write(pod, "counts", after),
    }
}

/// Reads a question.
///
/// # Errors
///
/// [`Dropped`]: whoever may write to the subject can write anything.
pub fn question(payload: &[u8]) -> Result<Said<Question>, Dropped> {
    let envelope = envelope(payload)?;
    let body = envelope.body;
    let question = match &*envelope.what {
        "presence" => Question::Presence(read(body)?),
        "connections" => Question::Connections(read(body)?),
        "channels" => Question::Channels(read(body)?),
        "stats" => Question::Stats,
        "disconnect" => Question::Disconnect(read(body)?),
        "message" => Question::Message(read(body)?),
        "subscribe" => Question::Subscribe(read(body)?),
        "unsubscribe" => Question::Unsubscribe(read(body)?),
        "revoke" => Question::Revoke(read(body)?),
        "counts" => Question::Counts(read(body)?),
        _ => return unknown(&envelope),
    };
    Ok(Said { pod: Arc::from(&*envelope.pod), said: Some(question) })
}

/// Writes an answer, and leaves out what is more than [`ANSWER_BYTES_MAX`].
pub fn answer(pod: &str, answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Presence(mut it) => {
            it.members.truncate(fitting(&it.members).min(MEMBERS_SHOWN_MAX));
            write(pod, "presence", &it)
        }
        Answer::Connections(it) => write(pod, "connections", &it.fitting()),
        Answer::Channels(it) => write(pod, "channels", &it.fitting()),
        Answer::Stats(it) => write(pod, "stats", &it),
        Answer::Count(it) => write(pod, "count", &it),
        Answer::Counts(it) => write(pod, "counts", &it),
        Answer::Failed(words) => write(pod, "failed", &words),
        Answer::Unknown => write(pod, "unknown", &()),
    }
}

/// Reads an answer.
///
/// # Errors
///
/// [`Dropped`], as [`question`].
pub fn answered(payload: &[u8]) -> Result<Said<Answer>, Dropped> {
    let envelope = envelope(payload)?;
    let body = envelope.body;
    let answer = match &*envelope.what {
        "presence" => Answer::Presence(read(body)?),
        "connections" => Answer::Connections(read(body)?),
        "channels" => Answer::Channels(read(body)?),
        "stats" => Answer::Stats(read(body)?),
        "count" => Answer::Count(read(body)?),
        "counts" => Answer::Counts(read(body)?),
        "failed" => Answer::Failed(read(body)?),
        "unknown" => Answer::Unknown,
        _ => return unknown(&envelope),
    };
    Ok(Said { pod: Arc::from(&*envelope.pod), said: Some(answer) })
}

impl<T: Serialize> List<T> {
    /// As much of it as one answer holds.
    fn fitting(mut self) -> Self {
        let count = fitting(&self.list);
        self.more |= count < self.list.len();
        self.list.truncate(count);
        self
    }
}

impl From<roster::Members> for Presence {
    fn from(members: roster::Members) -> Self {
        let list = members.members.into_iter().map(|it| Member {
            user: it.user.map(|user| user.to_string()),
            connection: it.connection.to_string(),
            // It was JSON when the token was read.
            info: it.info.and_then(|info| RawValue::from_string(info.to_string()).ok()).map(Info),
        });
        Self { members: list.collect(), total: members.total }
    }
}

impl From<Member> for roster::Member {
    fn from(member: Member) -> Self {
        Self {
            user: member.user.map(Into::into),
            connection: member.connection.into(),
            // What came from elsewhere may have line feeds, and envelopes are told apart by them.
            info: member.info.map(|Info(info)| data::compact(info.get()).into()),
        }
    }
}

/// How many of these one answer holds.
fn fitting<T: Serialize>(list: &[T]) -> usize {
    let mut bytes = 0;
    list.iter()
        .take_while(|it| {
            bytes += serde_json::to_vec(it).map_or(0, |it| it.len() + 1);
            bytes <= ANSWER_BYTES_MAX
        })
        .count()
}

fn write<T: Serialize + ?Sized>(pod: &str, what: &str, body: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Out<'a, T: ?Sized> {
        v: u32,
        pod: &'a str,
        what: &'a str,
        body: &'a T,
    }
    // Strings, numbers and lists of them are always JSON.
    serde_json::to_vec(&Out { v: VERSION, pod, what, body }).unwrap_or_default()
}

fn envelope(payload: &[u8]) -> Result<Envelope<'_>, Dropped> {
    let envelope: Envelope<'_> = serde_json::from_slice(payload).map_err(|_| Dropped::Malformed)?;
    check_version(envelope.v)?;
    check_pod(&envelope.pod)?;
    Ok(envelope)
}

fn unknown<T>(envelope: &Envelope<'_>) -> Result<Said<T>, Dropped> {
    if envelope.v == VERSION {
        return Err(Dropped::Malformed);
    }
    Ok(Said { pod: Arc::from(&*envelope.pod), said: None })
}

fn read<T: DeserializeOwned>(body: &RawValue) -> Result<T, Dropped> {
    serde_json::from_str(body.get()).map_err(|_| Dropped::Malformed)
}

/// Whether a text is what pods are called: eight hexadecimal digits. It becomes part of subjects.
pub(super) fn check_pod(text: &str) -> Result<(), Dropped> {
    let is_pod = text.len() == 8 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if is_pod { Ok(()) } else { Err(Dropped::Foreign) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POD: &str = "00a1b2c3";

    fn member(user: &str) -> Member {
        let info = RawValue::from_string("{\"a\": 1}".to_owned()).unwrap();
        Member { user: Some(user.to_owned()), connection: "c".repeat(24), info: Some(Info(info)) }
    }

    #[test]
    fn answers_survive_the_way() {
        let list = vec![Connection { name: "a".into(), user: None, subscriptions: 1, age_ms: 2 }];
        for it in [
            Answer::Presence(Presence { members: vec![member("al")], total: 1 }),
            Answer::Connections(List { list, more: false, total: 1 }),
            Answer::Stats(Stats { active_connections: 3, ..Stats::default() }),
            Answer::Count(7),
            Answer::Failed("no".into()),
            Answer::Unknown,
        ] {
            let said = answered(&answer(POD, it.clone())).unwrap();
            assert_eq!(said, Said { pod: POD.into(), said: Some(it) });
        }
    }

    #[test]
    fn a_question_survives_the_way() {
        let disconnect =
            Disconnect { whom: Whom::User("al".into()), code: Some(4100), reason: None };

        let said = question(&ask(POD, &Question::Disconnect(disconnect.clone()))).unwrap();

        assert!(
            matches!(said.said, Some(Question::Disconnect(it)) if it == disconnect),
            "another question"
        );
    }

    #[test]
    fn neighbours_of_this_version_are_understood_and_others_are_dropped() {
        let check = |text: &str, expected: Result<bool, Dropped>| {
            let is_known = question(text.as_bytes()).map(|it| it.said.is_some());
            assert_eq!(is_known, expected, "{text}");
        };

        check(r#"{"v":1,"pod":"00a1b2c3","what":"stats","body":null}"#, Ok(true));
        check(r#"{"v":2,"pod":"00a1b2c3","what":"stats","body":{"new":1},"more":2}"#, Ok(true));
        check(r#"{"v":2,"pod":"00a1b2c3","what":"new","body":1}"#, Ok(false));
        check(r#"{"v":1,"pod":"00a1b2c3","what":"new","body":1}"#, Err(Dropped::Malformed));
        check(r#"{"v":3,"pod":"00a1b2c3","what":"stats","body":1}"#, Err(Dropped::Version));
        check(r#"{"v":1,"pod":">","what":"stats","body":1}"#, Err(Dropped::Foreign));
        check(r#"{"v":1,"pod":"00a1b2c3","what":"presence","body":1}"#, Err(Dropped::Malformed));
        check("[]", Err(Dropped::Malformed));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "é".repeat(127);
        let list: Vec<_> = (0..2_000)
            .map(|at| Connection {
                name: format!("{at:024}"),
                user: Some(long.clone()),
                subscriptions: 0,
                age_ms: 0,
            })
            .collect();
        let members = (0..2_000).map(|_| member(&long)).collect();

        let connections =
            answer(POD, Answer::Connections(List { list, more: false, total: 2_000 }));
        let presence = answer(POD, Answer::Presence(Presence { members, total: 2_000 }));

        assert!(connections.len() <= ANSWER_BYTES_MAX + 200, "{}", connections.len());
        assert!(presence.len() <= ANSWER_BYTES_MAX + 200, "{}", presence.len());
        let Some(Answer::Connections(it)) = answered(&connections).unwrap().said else {
            panic!("another answer")
        };
        assert!(it.more && it.total == 2_000 && it.list.len() < 2_000);
        let Some(Answer::Presence(it)) = answered(&presence).unwrap().said else {
            panic!("another answer")
        };
        assert!(it.total == 2_000 && it.members.len() < 1_000);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = (question(&payload), answered(&payload));
        }
    }
}
