//! What the server has stored, asked message by message and page by page.
//!
//! Pages come by direct get, which any replica answers and which takes one request for many messages.
//! Everything else is the leader's word.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use async_nats::{Client, Message, StatusCode, datetime::parse_rfc3339, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::{
    shape::{FEWEST, FEWEST_UNTIL},
    streams::Streams,
};
use crate::{broker::nats::names::Names, protocol::position::Epoch};

/// How long one request waits before it is made again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(750);

/// How long a page's next message may take: another replica may have to be asked.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a page holds at most, in bytes and in publications.
const PAGE_BYTES_MAX: usize = 256 * 1024;
pub const PAGE_MAX: usize = 256;

/// The server's code for a message that is not there, and for a stream that is not.
const NO_MESSAGE: u64 = 10_037;
const NO_STREAM: u64 = 10_059;

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nobody answers in time.
    #[error("no answer from NATS")]
    Silent,
    /// The stream is not there.
    #[error("the stream is not there")]
    NoStream,
    /// The server refuses, with this code.
    #[error("NATS answers {0}")]
    Refused(String),
    /// A replica has much less than the leader.
    #[error("a replica of the stream is far behind")]
    Late,
    /// The stream ends before what it had acknowledged.
    #[error("the stream is behind what it had acknowledged")]
    Behind,
}

/// Asks for what is stored.
#[derive(Debug)]
pub struct Store {
    client: Client,
    /// Where pages come, without the number of the question.
    inbox: String,
    streams: Arc<Streams>,
    pages: Mutex<AHashMap<u64, mpsc::Sender<Message>>>,
    next: AtomicU64,
}

/// A stored message.
pub struct Stored {
    /// Its place.
    pub offset: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub stamp_ns: u64,
    /// What was published.
    pub payload: Bytes,
}

/// A part of what a stream has of a subject.
#[derive(Default)]
pub struct Page {
    /// Ascending.
    pub messages: Vec<Stored>,
    /// How many are behind them.
    pub pending: u64,
}

/// How long a stream is.
pub struct Extent {
    /// Its life.
    pub epoch: Epoch,
    /// The first place that is stored.
    pub first: u64,
    /// The last place that was given out.
    pub last: u64,
    /// How many of the subject are stored.
    pub count: u64,
    /// How many messages of a topic are kept.
    per_topic: u64,
    /// How few of them might have been, up to which place.
    fewest: Option<(u64, u64)>,
    /// The server's time, in nanoseconds since 1970.
    pub now_ns: u64,
}

impl Store {
    /// Asks for one pod.
    pub fn new(client: Client, names: &Names, pod: &str, streams: Arc<Streams>) -> Self {
        Self {
            client,
            inbox: names.own(&format!("inbox.{pod}.page")),
            streams,
            pages: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Where pages come, for [`page_came`](Self::page_came).
    pub fn inbox(&self) -> String {
        format!("{}.*", self.inbox)
    }

    /// A message for the inbox came.
    pub fn page_came(&self, message: Message) {
        let number = message.subject.rsplit('.').next().and_then(|it| it.parse::<u64>().ok());
        if let Some(number) = number
            && let Some(sender) = self.pages.lock().get(&number)
        {
            // Who has given up has no use for it, and nobody was asked for more than there is room for.
            let _ = sender.try_send(message);
        }
    }

    /// How long a stream is now and how much it has of a subject, as its leader says.
    pub async fn extent(&self, stream: &str, subject: &str) -> Result<Extent, ReadError> {
        #[derive(Deserialize)]
        struct Info {
            created: String,
            ts: Option<String>,
            state: State,
            config: Config,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            max_msgs_per_subject: i64,
            #[serde(default)]
            metadata: HashMap<String, String>,
        }
        #[derive(Deserialize)]
        struct State {
            first_seq: u64,
            last_seq: u64,
            #[serde(default)]
            subjects: HashMap<String, u64>,
        }
        let question = json!({"subjects_filter": subject}).to_string().into();
        let answer = self.request(format!("$JS.API.STREAM.INFO.{stream}"), question).await?;
        let info: Info = serde_json::from_slice(&answer.payload)
            .map_err(|error| ReadError::Refused(error.to_string()))?;
        let epoch = Epoch(nanos(&info.created));
        self.streams.seen(stream, epoch);
        let number = |name: &str| info.config.metadata.get(name)?.parse().ok();
        Ok(Extent {
            epoch,
            // The server says -1 where there is no bound.
            per_topic: match info.config.max_msgs_per_subject {
                ..=0 => u64::MAX,
                bound => bound.unsigned_abs(),
            },
            fewest: number(FEWEST).zip(number(FEWEST_UNTIL)),
            first: info.state.first_seq,
            last: info.state.last_seq,
            count: info.state.subjects.get(subject).copied().unwrap_or_default(),
            now_ns: info.ts.as_deref().map(nanos).unwrap_or_default(),
        })
    }

    /// The newest message of a subject, as the leader has it.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, ReadError> {
        self.get(stream, &json!({"last_by_subj": subject})).await
    }

    pub async fn get(
        &self,
        stream: &str,
        request: &serde_json::Value,
    ) -> Result<Option<Stored>, ReadError> {
        #[derive(Deserialize)]
        struct Got {
            message: GotMessage,
        }
        #[derive(Deserialize)]
        struct GotMessage {
            seq: u64,
            time: String,
            #[serde(default)]
            data: String,
        }
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let answer = match self.request(subject, request.to_string().into()).await {
            Err(ReadError::Refused(code)) if code == NO_MESSAGE.to_string() => return Ok(None),
            answer => answer?,
        };
        let refused = |error: String| ReadError::Refused(error);
        let Got { message } =
            serde_json::from_slice(&answer.payload).map_err(|error| refused(error.to_string()))?;
        let payload = STANDARD.decode(&message.data).map_err(|error| refused(error.to_string()))?;
        Ok(Some(Stored {
            offset: message.seq,
            stamp_ns: nanos(&message.time),
            payload: payload.into(),
        }))
    }

    /// Asks the server's API. An error's code stands in [`ReadError::Refused`].
    async fn request(&self, subject: String, payload: Bytes) -> Result<Message, ReadError> {
        #[derive(Deserialize)]
        struct Failed {
            error: Option<Failure>,
        }
        #[derive(Deserialize)]
        struct Failure {
            #[serde(default)]
            err_code: u64,
        }
        let answer = self.answer(subject, payload).await?;
        let failed: Failed = serde_json::from_slice(&answer.payload)
            .map_err(|error| ReadError::Refused(error.to_string()))?;
        match failed.error {
            None => Ok(answer),
            Some(failure) if failure.err_code == NO_STREAM => Err(ReadError::NoStream),
            Some(failure) => Err(ReadError::Refused(failure.err_code.to_string())),
        }
    }

    /// A cluster says nothing of a stream that it is making, or whose leader is gone: it is asked again.
    async fn answer(&self, subject: String, payload: Bytes) -> Result<Message, ReadError> {
        loop {
            let request = self.client.request(subject.clone(), payload.clone());
            match timeout(ANSWER_TIMEOUT, request).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => return Err(ReadError::Silent),
                // The whole read has a bound.
                Err(_) => {}
            }
        }
    }

    /// What any replica has of a subject, from a sequence on.
    pub async fn page(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answers) = mpsc::channel(limit + 2);
        self.pages.lock().insert(number, sender);
        let _forget = Forget { store: self, number };
        let inbox = format!("{}.{number}", self.inbox);
        let request = json!({
            "seq": from.max(1),
            "next_by_subj": subject,
            "batch": limit,
            "max_bytes": PAGE_BYTES_MAX,
        });
        let asked = format!("$JS.API.DIRECT.GET.{stream}");
        self.client
            .publish_with_reply(asked, inbox, request.to_string().into())
            .await
            .map_err(|_| ReadError::Silent)?;
        let mut page = Page::default();
        loop {
            let answer = timeout(MESSAGE_TIMEOUT, answers.recv()).await;
            let answer = answer.ok().flatten().ok_or(ReadError::Silent)?;
            match answer.status {
                // The end of the batch, or nothing there.
                Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => {
                    return Ok(page);
                }
                Some(StatusCode::NO_RESPONDERS) => return Err(ReadError::NoStream),
                Some(status) => return Err(ReadError::Refused(status.to_string())),
                None => {}
            }
            let number = |name: &str| header_number(&answer, name);
            let (Some(offset), Some(stamp_ns)) = (
                number(header::NATS_SEQUENCE.as_ref()),
                header_text(&answer, header::NATS_TIME_STAMP.as_ref()).map(nanos),
            ) else {
                return Err(ReadError::Refused("a message without its place".to_owned()));
            };
            page.pending = number("Nats-Num-Pending").unwrap_or_default();
            page.messages.push(Stored { offset, stamp_ns, payload: answer.payload });
        }
    }
}

impl Extent {
    /// How many messages of a topic behind a place were kept at least, if that many came. It is the
    /// stream's word and no manifest's: pods may have different ones for a while.
    pub fn kept(&self, since: u64) -> u64 {
        match self.fewest {
            Some((fewest, until)) if since < until => fewest.min(self.per_topic),
            _ => self.per_topic,
        }
    }
}

/// A time as the server writes it, in nanoseconds since 1970; 0 where it is none.
pub fn nanos(text: &str) -> u64 {
    let Ok(time) = parse_rfc3339(text) else { return 0 };
    u64::try_from(time.unix_timestamp_nanos()).unwrap_or_default()
}

/// The text of a header.
pub fn header_text<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

/// The number in a header.
pub fn header_number(message: &Message, name: &str) -> Option<u64> {
    header_text(message, name)?.parse().ok()
}

/// Forgets who waits for a page.
struct Forget<'a> {
    store: &'a Store,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.store.pages.lock().remove(&self.number);
    }
}
