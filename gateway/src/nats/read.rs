//! Reads what streams have of a topic.
//!
//! What the replica that gave a page does not have yet shows against the leader's answers, and is then
//! read from the leader, one by one.
//!
//! A stream removes the oldest first: of one topic beyond `messages`, of all topics by age and bytes.
//! So what is behind a position is complete if the publication at the position is still there; or if
//! the stream still begins before it, and the topic has fewer than the stream keeps of one.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_nats::Client;
use serde_json::json;
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    arrive::decode,
    client::SUBSCRIPTION_MAX,
    newest::newest,
    store::{Extent, PAGE_MAX, Page, ReadError, Store, Stored},
    streams::Streams,
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

/// Looks at the end of a topic at a time: the rest waits, so that a fleet that comes back does not
/// drown the servers.
const TOPS_MAX: usize = 64;

/// Reads of pages at a time, for those who listen; and for those who ask for history, however many of
/// them there are.
const READS_MAX: usize = 23;
const QUESTIONS_MAX: usize = 8;

/// Pages come on one subscription, and each may bring its end besides.
const _: () = assert!((READS_MAX + QUESTIONS_MAX) * (PAGE_MAX + 2) <= SUBSCRIPTION_MAX);

/// Reads streams.
#[derive(Debug)]
pub struct Reader {
    client: Client,
    names: Names,
    /// What is stored.
    pub store: Store,
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    began: Instant,
    /// Told when a stream turns out not to be there.
    pub missing: Notify,
    tops: Semaphore,
    reads: Semaphore,
    questions: Semaphore,
}

impl Reader {
    /// Reads for one pod.
    pub fn new(
        client: Client,
        names: Names,
        pod: &str,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
        began: Instant,
    ) -> Self {
        let store = Store::new(client.clone(), &names, pod, Arc::clone(&streams));
        Self {
            client,
            names,
            store,
            streams,
            metrics,
            began,
            missing: Notify::new(),
            tops: Semaphore::new(TOPS_MAX),
            reads: Semaphore::new(READS_MAX),
            questions: Semaphore::new(QUESTIONS_MAX),
        }
    }

    /// Reads for those who listen, and tells who asked.
    pub async fn read(&self, read: Read) {
        let places = if matches!(read.what, What::Top(_)) { &self.tops } else { &self.reads };
        self.read_at(places, read).await;
    }

    /// Reads for who wants to see history, and tells.
    pub async fn answer(&self, question: Read) {
        self.read_at(&self.questions, question).await;
    }

    async fn read_at(&self, places: &Semaphore, read: Read) {
        let Ok(Ok(_place)) = timeout(TIMEOUT, places.acquire()).await else {
            return read.refuse();
        };
        let Read { topic, kept, what } = read;
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
        let (stream, subject) = self.place(topic, kept);
        let (extent, last) = self.end(&stream, &subject).await?;
        Ok(top(&extent, last.as_ref()))
    }

    /// The stream and the subject in it that keep a topic.
    fn place(&self, topic: &Topic, kept: &Kept) -> (String, String) {
        (self.names.stream(&kept.by), self.names.stored(&kept.by, topic))
    }

    /// How long a stream is, and the newest that it has of a subject.
    async fn end(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<(Extent, Option<Stored>), ReadError> {
        let (extent, last) =
            tokio::join!(self.store.extent(stream, subject), self.store.last(stream, subject));
        let (extent, mut last) = (extent?, last?);
        if last.is_none() && extent.count > 0 {
            // The first one came between the two.
            last = self.store.last(stream, subject).await?;
        }
        Ok((extent, last))
    }

    async fn after(
        &self,
        topic: &Topic,
        kept: &Kept,
        since: ClientPosition,
        is_own: bool,
        limit: usize,
    ) -> Result<Found, ReadError> {
        let (stream, subject) = self.place(topic, kept);
        let limit = limit.min(PAGE_MAX);
        let mut page = self.store.page(&stream, &subject, since.offset, limit + 1).await?;
        let was_there = page.messages.first().is_some_and(|it| it.offset == since.offset);
        // What is true after the page was read was true of all of it: the oldest go first.
        let (end, is_there) = tokio::join!(
            self.end(&stream, &subject),
            self.is_there(&stream, was_there.then_some(since.offset)),
        );
        let ((extent, last), is_there) = (end?, is_there?);
        let mut top = top(&extent, last.as_ref());
        if !is_of(since, extent.epoch, extent.last) {
            if is_own && since.epoch == Some(extent.epoch) {
                // A pod was there, and the stream was not: it has lost what it had stored.
                self.streams.begin_anew(&stream, extent.epoch, since.offset).await;
                return Err(ReadError::Behind);
            }
            return Ok(Found { top, messages: Vec::new(), is_complete: false, more: false });
        }
        if was_there {
            page.messages.remove(0);
        }
        let reached = page.messages.last().map_or(since.offset, |it| it.offset);
        if page.pending == 0 && top.stored > reached && page.messages.len() < limit {
            // A replica that is behind.
            let missing = reached..top.stored;
            catch_up(&self.store, &stream, &subject, missing, limit, &mut page).await?;
        }
        // The leader counts: a replica may not know yet of what it has to remove.
        let mut is_complete = is_there
            || (extent.first <= since.offset.saturating_add(1)
                && extent.count < extent.kept(since.offset));
        page.messages.truncate(limit);
        let reached = page.messages.last().map_or(since.offset, |it| it.offset);
        let more = page.pending > 0 && !page.messages.is_empty() || top.stored > reached;
        if let Some(last) = page.messages.last() {
            top.stamp_ns = top.stamp_ns.max(last.stamp_ns);
        }
        let before = page.messages.len();
        Self::forget_old(kept, &mut page.messages);
        is_complete &= page.messages.len() == before;
        let messages = self.publications(topic, extent.epoch, page.messages);
        Ok(Found { top, messages, is_complete, more })
    }

    /// Whether a place is still stored; no place is not.
    async fn is_there(&self, stream: &str, offset: Option<u64>) -> Result<bool, ReadError> {
        let Some(offset) = offset else { return Ok(false) };
        Ok(self.store.get(stream, &json!({"seq": offset})).await?.is_some())
    }

    async fn newest(&self, topic: &Topic, kept: &Kept, limit: usize) -> Result<Found, ReadError> {
        let (stream, subject) = self.place(topic, kept);
        let (extent, last) = self.end(&stream, &subject).await?;
        let mut top = top(&extent, last.as_ref());
        let mut messages = match last {
            Some(last) => newest(&self.store, &stream, &subject, extent.first, last, limit).await?,
            None => Vec::new(),
        };
        Self::forget_old(kept, &mut messages);
        let messages = self.publications(topic, extent.epoch, messages);
        if let Some(newest) = messages.last().and_then(|it| it.position)
            && newest.offset > top.position.offset
        {
            top.position = newest;
        }
        Ok(Found { top, messages, is_complete: true, more: false })
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
            let payload = decode(&self.metrics, topic, &it.payload, self.client.max_payload())?;
            let Payload::Publication(publish) = payload else { return None };
            let position = Position { epoch, offset: it.offset };
            Some(Arc::new(Publication::new(publish, Some(position), now)))
        });
        publications.collect()
    }
}

/// Reads from the leader what a replica did not have, until a page has `limit` messages.
pub async fn catch_up(
    store: &Store,
    stream: &str,
    subject: &str,
    missing: Range<u64>,
    limit: usize,
    page: &mut Page,
) -> Result<(), ReadError> {
    let Range { start: mut reached, end } = missing;
    while reached < end && page.messages.len() < limit {
        let request = json!({"seq": reached + 1, "next_by_subj": subject});
        let Some(next) = store.get(stream, &request).await? else { break };
        reached = next.offset;
        page.messages.push(next);
    }
    Ok(())
}

/// Where a topic stands.
fn top(extent: &Extent, last: Option<&Stored>) -> Top {
    let stored = last.map_or(0, |it| it.offset);
    let offset = last.map_or(extent.last, |it| it.offset);
    let stamp_ns = extent.now_ns.max(last.map_or(0, |it| it.stamp_ns));
    Top { position: Position { epoch: extent.epoch, offset }, stored, stamp_ns }
}
