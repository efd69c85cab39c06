//! Revocations that every pod knows: one small stream, a subject for each one.
//!
//! It is read at the start, and again where another pod knows more. The newest hundred thousand are
//! kept, each until it expires where the server can do that (NATS 2.11).

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{
    Client, HeaderMap, header,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream::{Config, DiscardPolicy, StorageType, Stream},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::streams::{create, is_missing};
use crate::{
    auth::revocations::REVOCATIONS_MAX,
    broker::nats::{
        names::Names,
        talk::{Revocation, Revoked},
    },
};

/// How many are read at once.
const BATCH: usize = 1_000;

/// The longest that the server is asked to count down: it counts nanoseconds.
const TTL_MAX_SECONDS: u64 = 100 * 365 * 24 * 3600;

/// How long a reader that died is remembered.
const READER_TTL: std::time::Duration = std::time::Duration::from_secs(30);

/// The stream cannot be reached, or refuses.
#[derive(Debug, thiserror::Error)]
#[error("the stream of revocations: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    pub(super) fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The stream of revocations.
#[derive(Debug)]
pub struct Revocations {
    context: jetstream::Context,
    stream: String,
    subjects: String,
    /// The last that was read, and all before it.
    known: AtomicU64,
    /// The last that was looked for.
    sought: AtomicU64,
}

impl Revocations {
    /// Not read yet.
    pub fn new(client: Client, names: &Names) -> Self {
        Self {
            context: jetstream::new(client),
            stream: names.revocations(),
            subjects: names.own("revocations"),
            known: AtomicU64::new(0),
            sought: AtomicU64::new(0),
        }
    }

    /// The last revocation that this pod knows, and all before it.
    pub fn known(&self) -> u64 {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether there is one that this pod does not know.
    pub fn is_behind(&self, sequence: u64) -> bool {
        sequence > self.known() && sequence > self.sought.load(Ordering::Relaxed)
    }

    /// This one is known now; those before it may not be.
    pub fn learned(&self, sequence: u64) {
        let next = |known: u64| (sequence == known + 1).then_some(sequence);
        let _ = self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Keeps one; back with its place when the server has stored it. `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`Unreachable`]: it may be stored all the same.
    pub async fn store(&self, revocation: &Revocation, now: u64) -> Result<u64, Unreachable> {
        let stream = self.ensure().await?;
        let mut headers = HeaderMap::new();
        let ttl = revocation.expires.saturating_sub(now).max(1);
        if stream.cached_info().config.allow_message_ttl && ttl <= TTL_MAX_SECONDS {
            headers.insert(header::NATS_MESSAGE_TTL, ttl.to_string());
        }
        let subject = format!("{}.{}", self.subjects, token(&revocation.revoked));
        let payload = serde_json::to_vec(&Stored { v: 1, revocation }).map_err(Unreachable::new)?;
        let stored = self.context.publish_with_headers(subject, headers, payload.into()).await;
        Ok(stored.map_err(Unreachable::new)?.await.map_err(Unreachable::new)?.sequence)
    }

    /// Reads what came after the last that is known, at most `sought` if another pod knows that;
    /// gives them to `take` in batches.
    ///
    /// # Errors
    ///
    /// [`Unreachable`]; what was taken is known all the same.
    pub async fn read<F: Future<Output = ()>>(
        &self,
        sought: u64,
        take: impl Fn(Vec<Revocation>) -> F,
    ) -> Result<(), Unreachable> {
        let stream = self.ensure().await?;
        let last = stream.cached_info().state.last_sequence;
        if last < self.known() {
            // It began anew.
            self.known.store(0, Ordering::Relaxed);
        }
        if last > self.known() {
            let config = pull::Config {
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.known() + 1 },
                ack_policy: AckPolicy::None,
                inactive_threshold: READER_TTL,
                memory_storage: true,
                num_replicas: 1,
                ..pull::Config::default()
            };
            let reader = stream.create_consumer(config).await.map_err(Unreachable::new)?;
            while self.known() < last && self.batch(&reader, &take).await? > 0 {}
            self.known.fetch_max(last, Ordering::Relaxed);
            // One that cannot be removed goes by itself.
            let _ = stream.delete_consumer(&reader.cached_info().name).await;
        }
        self.sought.fetch_max(sought, Ordering::Relaxed);
        Ok(())
    }

    async fn batch<F: Future<Output = ()>>(
        &self,
        reader: &jetstream::consumer::PullConsumer,
        take: &impl Fn(Vec<Revocation>) -> F,
    ) -> Result<usize, Unreachable> {
        let mut messages =
            reader.fetch().max_messages(BATCH).messages().await.map_err(Unreachable::new)?;
        let (mut count, mut last, mut batch) = (0, 0, Vec::new());
        while let Some(message) = messages.next().await {
            let message = message.map_err(Unreachable::new)?;
            count += 1;
            last = message.info().map_err(Unreachable::new)?.stream_sequence;
            // What is not of a gateway is left out.
            batch.extend(parse(&message.payload, last));
        }
        take(batch).await;
        self.known.fetch_max(last, Ordering::Relaxed);
        Ok(count)
    }

    async fn ensure(&self) -> Result<Stream, Unreachable> {
        match self.context.get_stream(&self.stream).await {
            Ok(stream) => return Ok(stream),
            Err(error) if is_missing(&error.kind()) => {}
            Err(error) => return Err(Unreachable::new(error)),
        }
        let config = Config {
            name: self.stream.clone(),
            subjects: vec![format!("{}.*", self.subjects)],
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_messages: i64::try_from(REVOCATIONS_MAX).unwrap_or(i64::MAX),
            max_messages_per_subject: 1,
            allow_direct: true,
            allow_message_ttl: true,
            ..Config::default()
        };
        let stream = create(&self.context, config).await.map_err(Unreachable::new)?;
        info!(event = "stream_created", stream = self.stream, "revocations are kept");
        Ok(stream)
    }
}

#[derive(serde::Serialize)]
struct Stored<'a> {
    v: u32,
    #[serde(flatten)]
    revocation: &'a Revocation,
}

fn parse(payload: &[u8], sequence: u64) -> Option<Revocation> {
    let revocation: Revocation = serde_json::from_slice(payload).ok()?;
    Some(Revocation { sequence, ..revocation })
}

fn token(revoked: &Revoked) -> String {
    let (kind, text) = match revoked {
        Revoked::Jti(jti) => ("jti ", jti),
        Revoked::User(user) => ("user ", user),
    };
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(kind).chain_update(text).finalize())
}
