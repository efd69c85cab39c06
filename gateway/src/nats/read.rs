//! Reads what streams have of a topic.
//!
//! What the replica that gave a page does not have yet shows against the leader's answers, and is then
//! read from the leader, one by one.
//!
//! A stream removes the oldest first: of one topic beyond `messages`, of all topics by age and bytes.
//! So what is behind a position is complete if the publication at the position is still there; or if
//! the stream still begins before it, and the topic has less than `messages` behind it.

use std::{
    collections::VecDeque,
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

/// Reads at a time: the rest waits, so that a fleet that comes back does not drown the servers.
const READS_MAX: usize = 64;

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
    places: Semaphore,
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
            places: Semaphore::new(READS_MAX),
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
        let (stream, subject) = self.place(topic, kept);
        let (extent, last) = self.end(&stream, &subject).await?;
        Ok(top(&extent, last))
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
            tokio::join!(self.store.extent(stream), self.store.last(stream, subject));
        Ok((extent?, last?))
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
        let mut top = top(&extent, last);
        if !is_of(since, extent.epoch, extent.last) {
            if is_own && since.epoch == Some(extent.epoch) {
                // A pod was there, and the stream was not: it has lost what it had stored.
                self.streams.begin_anew(&stream, extent.epoch).await;
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

    /// Whether a place is still stored; no place is not.
    async fn is_there(&self, stream: &str, offset: Option<u64>) -> Result<bool, ReadError> {
        let Some(offset) = offset else { return Ok(false) };
        Ok(self.store.get(stream, &json!({"seq": offset})).await?.is_some())
    }

    async fn newest(&self, topic: &Topic, kept: &Kept, limit: usize) -> Result<Found, ReadError> {
        let (stream, subject) = self.place(topic, kept);
        let (extent, last) = self.end(&stream, &subject).await?;
        let mut newest = VecDeque::new();
        let mut from = extent.first;
        loop {
            let page = self.store.page(&stream, &subject, from, PAGE_MAX).await?;
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
            let Some(next) = self.store.get(stream, &request).await? else { break };
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
            let payload = decode(&self.metrics, topic, &it.payload, self.client.max_payload())?;
            let Payload::Publication(publish) = payload else { return None };
            let position = Position { epoch, offset: it.offset };
            Some(Arc::new(Publication::new(publish, Some(position), now)))
        });
        publications.collect()
    }
}

/// Where a topic stands.
fn top(extent: &Extent, last: Option<Stored>) -> Top {
    let stored = last.as_ref().map_or(0, |it| it.offset);
    let offset = last.as_ref().map_or(extent.last, |it| it.offset);
    let stamp_ns = extent.now_ns.max(last.map_or(0, |it| it.stamp_ns));
    Top { position: Position { epoch: extent.epoch, offset }, stored, stamp_ns }
}
