//! Revocations that every pod knows: one small stream, a subject for each one.
//!
//! It is read at the start, and again whenever [`Reach`] says that there may be more. The newest
//! hundred thousand are kept, each until it expires where the server can do that (NATS 2.11).

use async_nats::{
    Client, HeaderMap, header,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::{Config, DiscardPolicy, StorageType, Stream},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt as _;
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::streams::{create, epoch, is_missing};
use crate::{
    auth::revocations::REVOCATIONS_MAX,
    broker::nats::{
        names::Names,
        reach::Reach,
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
    reach: Mutex<Reach>,
    /// Held while the stream is read: what one reading knows the next one need not read.
    turn: tokio::sync::Mutex<()>,
}

impl Revocations {
    /// Not read yet.
    pub fn new(client: Client, names: &Names) -> Self {
        Self {
            context: jetstream::new(client),
            stream: names.revocations(),
            subjects: names.own("revocations"),
            reach: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// How far the stream is known. For a few lines: the lock is held as long as this lives.
    pub fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock()
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

    /// Reads what came after the last that is known, and gives it to `take` in batches.
    ///
    /// # Errors
    ///
    /// [`Unreachable`]; what was taken is known all the same, and the rest is still to be read.
    pub async fn read<F: Future<Output = ()>>(
        &self,
        take: impl Fn(Vec<Revocation>) -> F,
    ) -> Result<(), Unreachable> {
        let _turn = self.turn.lock().await;
        let reason = self.reach().look();
        let read = self.read_on(take).await;
        if read.is_err() {
            self.reach().fail(&reason);
        }
        read
    }

    async fn read_on<F: Future<Output = ()>>(
        &self,
        take: impl Fn(Vec<Revocation>) -> F,
    ) -> Result<(), Unreachable> {
        let stream = self.ensure().await?;
        let last = stream.cached_info().state.last_sequence;
        let (_, mut known) = self.reach().known();
        if last < known {
            self.reach().forget();
            known = 0;
        }
        if last == known {
            return Ok(());
        }
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: known + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_TTL,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let reader = stream.create_consumer(config).await.map_err(Unreachable::new)?;
        let read = self.read_all(&reader, &take).await;
        // One that cannot be removed goes by itself.
        let _ = stream.delete_consumer(&reader.cached_info().name).await;
        read?;
        // Those that are not there any more have expired, or gave way to newer ones.
        self.reach().read(last);
        Ok(())
    }

    /// Reads until the server says that nothing is left.
    async fn read_all<F: Future<Output = ()>>(
        &self,
        reader: &PullConsumer,
        take: &impl Fn(Vec<Revocation>) -> F,
    ) -> Result<(), Unreachable> {
        let mut left = reader.cached_info().num_pending;
        while left > 0 {
            left = self.batch(reader, take).await?;
        }
        Ok(())
    }

    /// Reads some; says how many are left.
    async fn batch<F: Future<Output = ()>>(
        &self,
        reader: &PullConsumer,
        take: &impl Fn(Vec<Revocation>) -> F,
    ) -> Result<u64, Unreachable> {
        let mut messages =
            reader.fetch().max_messages(BATCH).messages().await.map_err(Unreachable::new)?;
        let (mut end, mut batch) = (None, Vec::new());
        while let Some(message) = messages.next().await {
            let message = message.map_err(Unreachable::new)?;
            let info = message.info().map_err(Unreachable::new)?;
            end = Some((info.stream_sequence, info.pending));
            // What is not of a gateway is left out.
            batch.extend(parse(&message.payload, info.stream_sequence));
        }
        // They may have expired meanwhile, and whoever reads again will see; but a server that is busy
        // answers the same, and then they are still to come.
        let (last, left) = end.ok_or_else(|| Unreachable::new("not all of it came"))?;
        take(batch).await;
        self.reach().read(last);
        Ok(left)
    }

    /// The stream, made where it is missing, with its life noted.
    async fn ensure(&self) -> Result<Stream, Unreachable> {
        let stream = self.find().await?;
        self.reach().enter(epoch(stream.cached_info()).0);
        Ok(stream)
    }

    async fn find(&self) -> Result<Stream, Unreachable> {
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
