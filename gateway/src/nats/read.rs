//! Reads what streams have of a topic.
//!
//! Pages come by direct get, which any replica answers and which takes one request for many
//! publications. What a replica does not have yet shows against the leader's answers, and is then
//! read from the leader, one by one.
//!
//! A stream removes the oldest first: of one topic beyond `messages`, of all topics by age and bytes.
//! So what is behind a position is complete if the publication at the position is still there; or if
//! the stream still begins before it, and the topic has less than `messages` behind it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ahash::AHashMap;
use async_nats::{Client, Message, StatusCode, datetime::parse_rfc3339, header};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{Notify, Semaphore, mpsc},
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    arrive::decode,
    streams::{FEWEST, FEWEST_UNTIL, Streams},
};
use crate::{
    broker::{
        Publication,
        nats::{
            follow::{Found, STORED_AGE_MIN, Top, is_of},
            link::{Kept, Lost, Read, What},
            names::Names,
            wire::Payload,
        },
    },
    protocol::{
        position::{ClientPosition, Epoch, Position},
        topic::Topic,
    },
    telemetry::metrics::Metrics,
};

/// What a read may take in all.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long one request waits before it is made again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(750);

/// How long a page's next message may take: another replica may have to be asked.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads at a time: the rest waits, so that a fleet that comes back does not drown the servers.
const READS_MAX: usize = 64;

/// What a page holds at most, in bytes and in publications.
const PAGE_BYTES_MAX: usize = 256 * 1024;
const PAGE_MAX: usize = 256;

/// The server's code for a message that is not there, and for a stream that is not.
const NO_MESSAGE: u64 = 10_037;
const NO_STREAM: u64 = 10_059;

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("no answer from NATS")]
    Silent,
    #[error("the stream is not there")]
    NoStream,
    #[error("NATS answers {0}")]
    Refused(String),
    #[error("the stream is behind what it had acknowledged")]
    Behind,
}

/// Reads streams.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    names: Names,
    pod: Arc<str>,
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    began: Instant,
    /// Told when a stream turns out not to be there.
    pub missing: Notify,
    places: Semaphore,
    pages: Mutex<AHashMap<u64, mpsc::Sender<Message>>>,
    next: AtomicU64,
}

/// A stored message.
struct Stored {
    offset: u64,
    stamp_ns: u64,
    payload: Bytes,
}

/// A part of what a stream has of a topic.
#[derive(Default)]
struct Page {
    messages: Vec<Stored>,
    /// How many are behind them.
    pending: u64,
}

/// How long a stream is.
struct Extent {
    epoch: Epoch,
    first: u64,
    last: u64,
    /// How few messages of a topic might have been kept, up to which place.
    fewest: Option<(u64, u64)>,
    now_ns: u64,
}

impl Reader {
    /// Reads for one pod.
    pub fn new(
        client: Client,
        names: Names,
        pod: Arc<str>,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
        began: Instant,
    ) -> Self {
        Self {
            client,
            names,
            pod,
            streams,
            metrics,
            began,
            missing: Notify::new(),
            places: Semaphore::new(READS_MAX),
            pages: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }

    /// Where pages come, for [`page_came`](Self::page_came).
    pub fn inbox(&self) -> String {
        self.names.own(&format!("inbox.{}.page.*", self.pod))
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

    /// Reads, and tells who asked.
    pub async fn read(&self, read: Read) {
        let Read { topic, kept, what } = read;
        let Ok(_place) = self.places.acquire().await else { return };
        match what {
            What::Top(done) => done.tell(self.settle(self.top(&topic, &kept)).await),
            What::After { since, is_own, limit, done } => {
                done.tell(self.settle(self.after(&topic, &kept, since, is_own, limit)).await);
            }
            What::Newest(limit, done) => {
                done.tell(self.settle(self.newest(&topic, &kept, limit)).await);
            }
        }
    }

    async fn settle<T>(&self, read: impl Future<Output = Result<T, ReadError>>) -> Result<T, Lost> {
        let read = timeout(TIMEOUT, read).await.unwrap_or(Err(ReadError::Silent));
        read.map_err(|error| {
            if matches!(error, ReadError::NoStream | ReadError::Behind) {
                self.missing.notify_one();
            }
            debug!(event = "history_unavailable", %error, "a stream could not be read");
            Lost
        })
    }

    async fn top(&self, topic: &Topic, kept: &Kept) -> Result<Top, ReadError> {
        let stream = self.names.stream(&kept.by);
        let subject = self.names.stored(&kept.by, topic);
        let (extent, last) = tokio::join!(self.extent(&stream), self.last(&stream, &subject));
        Ok(top(&extent?, last?))
    }

    async fn after(
        &self,
        topic: &Topic,
        kept: &Kept,
        since: ClientPosition,
        is_own: bool,
        limit: usize,
    ) -> Result<Found, ReadError> {
        let stream = self.names.stream(&kept.by);
        let subject = self.names.stored(&kept.by, topic);
        let limit = limit.min(PAGE_MAX);
        let (extent, last, page) = tokio::join!(
            self.extent(&stream),
            self.last(&stream, &subject),
            self.page(&stream, &subject, since.offset, limit + 1),
        );
        let (extent, last, mut page) = (extent?, last?, page?);
        let mut top = top(&extent, last);
        if !is_of(since, extent.epoch, extent.last) {
            if is_own && since.epoch == Some(extent.epoch) {
                // A pod was there, and the stream was not: it has lost what it had stored.
                self.streams.begin_anew(&stream, extent.epoch).await;
                return Err(ReadError::Behind);
            }
            return Ok(Found { top, messages: Vec::new(), is_complete: false, more: false });
        }
        let is_there = page.messages.first().is_some_and(|it| it.offset == since.offset);
        if is_there {
            page.messages.remove(0);
        }
        let reached = page.messages.last().map_or(since.offset, |it| it.offset);
        if page.pending == 0 && top.stored > reached && page.messages.len() < limit {
            // A replica that is behind.
            self.catch_up(&stream, &subject, reached, top.stored, limit, &mut page).await?;
        }
        let count = page.messages.len() as u64 + page.pending;
        let mut is_complete = is_there
            || (extent.first <= since.offset.saturating_add(1)
                && count < extent.kept(since.offset, kept.rule.messages as u64));
        page.messages.truncate(limit);
        let count = page.messages.len() as u64;
        let reached = page.messages.last().map_or(since.offset, |it| it.offset);
        let more = page.pending > 0 && count > 0 || top.stored > reached;
        if let Some(last) = page.messages.last() {
            top.stamp_ns = top.stamp_ns.max(last.stamp_ns);
        }
        let before = page.messages.len();
        Self::forget_old(kept, &mut page.messages);
        is_complete &= page.messages.len() == before;
        let messages = self.publications(topic, extent.epoch, page.messages);
        Ok(Found { top, messages, is_complete, more })
    }

    async fn newest(&self, topic: &Topic, kept: &Kept, limit: usize) -> Result<Found, ReadError> {
        let stream = self.names.stream(&kept.by);
        let subject = self.names.stored(&kept.by, topic);
        let (extent, last) = tokio::join!(self.extent(&stream), self.last(&stream, &subject));
        let (extent, last) = (extent?, last?);
        let mut newest = VecDeque::new();
        let mut from = extent.first;
        loop {
            let page = self.page(&stream, &subject, from, PAGE_MAX).await?;
            let Some(end) = page.messages.last().map(|it| it.offset) else { break };
            newest.extend(page.messages);
            newest.drain(..newest.len().saturating_sub(limit));
            if page.pending == 0 {
                break;
            }
            from = end + 1;
        }
        let mut messages: Vec<_> = newest.into();
        Self::forget_old(kept, &mut messages);
        let messages = self.publications(topic, extent.epoch, messages);
        let mut top = top(&extent, last);
        if let Some(newest) = messages.last().and_then(|it| it.position)
            && newest.offset > top.position.offset
        {
            top.position = newest;
        }
        Ok(Found { top, messages, is_complete: true, more: false })
    }

    /// Reads from the leader what a replica did not have.
    async fn catch_up(
        &self,
        stream: &str,
        subject: &str,
        reached: u64,
        until: u64,
        limit: usize,
        page: &mut Page,
    ) -> Result<(), ReadError> {
        let mut reached = reached;
        while reached < until && page.messages.len() < limit {
            let request = json!({"seq": reached + 1, "next_by_subj": subject});
            let Some(next) = self.get(stream, &request).await? else { break };
            reached = next.offset;
            page.messages.push(next);
        }
        Ok(())
    }

    /// Leaves out what the stream keeps longer than the rule does.
    fn forget_old(kept: &Kept, messages: &mut Vec<Stored>) {
        if kept.rule.max_age >= STORED_AGE_MIN {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = now.saturating_sub(kept.rule.max_age).as_nanos();
        messages.retain(|it| u128::from(it.stamp_ns) > oldest);
    }

    fn publications(
        &self,
        topic: &Topic,
        epoch: Epoch,
        stored: Vec<Stored>,
    ) -> Vec<Arc<Publication>> {
        let now = self.began.elapsed();
        let publications = stored.into_iter().filter_map(|it| {
            let payload = decode(&self.metrics, &self.client, topic, &it.payload)?;
            let Payload::Publication(publish) = payload else { return None };
            let position = Position { epoch, offset: it.offset };
            Some(Arc::new(Publication::new(publish, Some(position), now)))
        });
        publications.collect()
    }

    /// How long a stream is now, as its leader says.
    async fn extent(&self, stream: &str) -> Result<Extent, ReadError> {
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
            metadata: HashMap<String, String>,
        }
        #[derive(Deserialize)]
        struct State {
            first_seq: u64,
            last_seq: u64,
        }
        let answer = self.request(format!("$JS.API.STREAM.INFO.{stream}"), Bytes::new()).await?;
        let info: Info = serde_json::from_slice(&answer.payload)
            .map_err(|error| ReadError::Refused(error.to_string()))?;
        let epoch = Epoch(nanos(&info.created));
        self.streams.seen(stream, epoch);
        let number = |name: &str| info.config.metadata.get(name)?.parse().ok();
        Ok(Extent {
            epoch,
            fewest: number(FEWEST).zip(number(FEWEST_UNTIL)),
            first: info.state.first_seq,
            last: info.state.last_seq,
            now_ns: info.ts.as_deref().map(nanos).unwrap_or_default(),
        })
    }

    /// The newest message of a subject, as the leader has it.
    async fn last(&self, stream: &str, subject: &str) -> Result<Option<Stored>, ReadError> {
        self.get(stream, &json!({"last_by_subj": subject})).await
    }

    async fn get(
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
        let payload = super::base64(&message.data).map_err(|error| refused(error.to_string()))?;
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
    async fn page(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answers) = mpsc::channel(limit + 2);
        self.pages.lock().insert(number, sender);
        let _forget = Forget { reader: self, number };
        let inbox = self.names.own(&format!("inbox.{}.page.{number}", self.pod));
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
    /// How many messages behind a place were kept at least, if that many came.
    fn kept(&self, since: u64, messages: u64) -> u64 {
        match self.fewest {
            Some((fewest, until)) if since < until => fewest.min(messages),
            _ => messages,
        }
    }
}

/// Where a topic stands.
fn top(extent: &Extent, last: Option<Stored>) -> Top {
    let stored = last.as_ref().map_or(0, |it| it.offset);
    let offset = last.as_ref().map_or(extent.last, |it| it.offset);
    let stamp_ns = extent.now_ns.max(last.map_or(0, |it| it.stamp_ns));
    Top { position: Position { epoch: extent.epoch, offset }, stored, stamp_ns }
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
    reader: &'a Reader,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.reader.pages.lock().remove(&self.number);
    }
}
