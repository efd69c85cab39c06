//! The streams that keep history: one for each rule that has some, as the manifest wants it.
//!
//! A stream's life is known by when it was created: one that was made anew is another epoch. Where a
//! rule changes, its stream is changed in place; where it keeps nothing any more, the stream goes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use async_nats::{
    Client, HeaderMap,
    jetstream::{
        self,
        context::{
            Context, ContextBuilder, CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
        },
        stream::{Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType, Stream},
    },
};
use futures_util::StreamExt as _;
use tracing::{info, warn};

use crate::{
    broker::nats::{follow::STORED_AGE_MIN, link::Kept, names::Names},
    protocol::position::Epoch,
};

/// How long the stream knows a key.
const KEY_WINDOW: Duration = STORED_AGE_MIN;

/// How long the server has to say what a stream is: a cluster says nothing of one that it is making.
const API_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How often a stream is looked at before that fails.
const LOOKS: usize = 4;

/// How long a publication may take to be stored.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Replicas of a stream in a cluster of NATS servers.
const REPLICAS: usize = 3;

/// The fewest messages that a topic was allowed, before it was allowed more, in the stream's metadata.
pub const FEWEST: &str = "headgate-messages-fewest";

/// The place up to which that may have been so.
pub const FEWEST_UNTIL: &str = "headgate-messages-fewest-until";

/// Whether a stream that is there is changed to what its rule wants. Pods whose manifest is older for a
/// moment must not change back what another one has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// The manifest of this pod is new.
    Change,
    /// It is not.
    Keep,
}

/// A stream that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The rule whose it is, as a token.
    pub by: Arc<str>,
    /// When it was created.
    pub epoch: Epoch,
}

/// The streams of a gateway.
#[derive(Debug)]
pub struct Streams {
    context: Context,
    names: Names,
    bytes: u64,
    /// Who looks at the streams, one after the other.
    turn: tokio::sync::Mutex<()>,
    /// A stream was seen to be another one since all were looked at.
    is_other: AtomicBool,
    /// By the streams' names.
    known: ArcSwap<AHashMap<String, Known>>,
}

/// Why a stream is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server has no `JetStream` for us, or does not answer.
    #[error("cannot look at the stream {0}: {1}")]
    Look(String, String),
    /// The server refuses it.
    #[error("cannot make the stream {0}: {1}")]
    Make(String, String),
}

impl Streams {
    /// Streams that may hold so many bytes together.
    pub fn new(client: Client, names: Names, bytes: u64) -> Self {
        Self {
            context: ContextBuilder::new()
                .timeout(API_TIMEOUT)
                .ack_timeout(ACK_TIMEOUT)
                .build(client),
            names,
            bytes,
            turn: tokio::sync::Mutex::default(),
            is_other: AtomicBool::new(false),
            known: ArcSwap::default(),
        }
    }

    /// The stream of this name.
    pub fn known(&self, name: &str) -> Option<Known> {
        self.known.load().get(name).cloned()
    }

    /// Whether a stream of this name is this gateway's, whoever made it.
    pub fn is_own(&self, name: &str) -> bool {
        name.starts_with(&self.names.stream(""))
    }

    /// The stream of a rule.
    pub fn of(&self, by: &str) -> Option<Known> {
        self.known(&self.names.stream(by))
    }

    /// The stream of this name was seen with this epoch.
    pub fn seen(&self, name: &str, epoch: Epoch) {
        if self.known(name).is_some_and(|it| it.epoch != epoch) {
            self.is_other.store(true, Ordering::Relaxed);
            self.known.rcu(|known| {
                let mut known = AHashMap::clone(known);
                if let Some(it) = known.get_mut(name) {
                    it.epoch = epoch;
                }
                known
            });
        }
    }

    /// Makes every stream as it is wanted, and removes those that were and are not any more; whether
    /// one of them began a new life since it was last looked at.
    pub async fn ensure(&self, wanted: &[Kept], bounds: Bounds) -> Result<bool, StreamError> {
        let _turn = self.turn.lock().await;
        let mut known = AHashMap::new();
        for it in wanted {
            let name = self.names.stream(&it.by);
            let info = self.ensure_one(&name, it, wanted.len(), bounds).await?;
            known.insert(name, Known { by: Arc::clone(&it.by), epoch: epoch(&info) });
        }
        let before = self.known.swap(Arc::new(known.clone()));
        for (name, gone) in before.iter().filter(|(name, _)| !known.contains_key(*name)) {
            self.remove(name, gone.epoch).await;
        }
        let is_other = |(name, known): (&String, &Known)| {
            before.get(name).is_some_and(|before| before.epoch != known.epoch)
        };
        let was_seen = self.is_other.swap(false, Ordering::Relaxed);
        Ok(was_seen || known.iter().any(is_other))
    }

    async fn ensure_one(
        &self,
        name: &str,
        wanted: &Kept,
        streams: usize,
        bounds: Bounds,
    ) -> Result<Info, StreamError> {
        let mut looked = self.context.get_stream(name).await;
        for _ in 1..LOOKS {
            if !looked.as_ref().is_err_and(|it| matches!(it.kind(), GetStreamErrorKind::Request)) {
                break;
            }
            looked = self.context.get_stream(name).await;
        }
        let config = self.config(name, wanted, streams);
        let info = match looked {
            Ok(stream) => stream.cached_info().clone(),
            Err(error) if is_missing(&error.kind()) => return self.create(config).await,
            Err(error) => return Err(StreamError::Look(name.to_owned(), error.to_string())),
        };
        if bounds == Bounds::Keep || is_as_wanted(&info.config, &config) {
            return Ok(info);
        }
        let metadata = metadata(&info, config.max_messages_per_subject);
        let config = Config { num_replicas: info.config.num_replicas, metadata, ..config };
        let updated = self.context.update_stream(&config).await;
        let updated =
            updated.map_err(|error| StreamError::Make(name.to_owned(), error.to_string()))?;
        info!(event = "stream_changed", stream = name, "the stream is as its rule wants it");
        Ok(updated)
    }

    async fn create(&self, config: Config) -> Result<Info, StreamError> {
        let name = config.name.clone();
        let refused = |error: CreateStreamError| StreamError::Make(name.clone(), error.to_string());
        let stream = create(&self.context, config).await.map_err(refused)?;
        let info = stream.cached_info().clone();
        info!(
            event = "stream_created",
            stream = name,
            replicas = info.config.num_replicas,
            "history begins"
        );
        Ok(info)
    }

    /// Removes what no rule wants of the streams that are there: a rule kept nothing for a while when
    /// nobody was here, and what was published then is in no stream.
    pub async fn remove_others(&self, wanted: &[Kept]) {
        let prefix = self.names.stream("");
        let mut names = self.context.stream_names();
        let mut others = Vec::new();
        while let Some(Ok(name)) = names.next().await {
            let by = name.strip_prefix(&prefix);
            if by.is_some_and(|by| {
                name != self.names.revocations() && !wanted.iter().any(|it| *it.by == *by)
            }) {
                others.push(name);
            }
        }
        for name in others {
            if let Ok(stream) = self.context.get_stream(&name).await {
                self.remove(&name, epoch(stream.cached_info())).await;
            }
        }
    }

    /// Removes the stream of a rule that keeps nothing any more, in the life in which it was known: a
    /// pod that is late must not remove what another one has begun anew.
    async fn remove(&self, name: &str, known: Epoch) {
        let there = self.context.get_stream(name).await;
        if !there.is_ok_and(|stream| epoch(stream.cached_info()) == known) {
            return;
        }
        match self.context.delete_stream(name).await {
            Ok(_) => {
                info!(event = "stream_removed", stream = name, "its rule keeps nothing any more");
            }
            // Another pod was faster, or it never was there.
            Err(error) if error.to_string().contains("not found") => {}
            Err(error) => {
                warn!(event = "stream_not_removed", stream = name, %error, "a stream that no rule needs is left");
            }
        }
    }

    /// The stream has lost what it had acknowledged: it ends, and the next one is another epoch.
    pub async fn begin_anew(&self, name: &str, epoch_seen: Epoch) {
        let Ok(stream) = self.context.get_stream(name).await else { return };
        if epoch(stream.cached_info()) == epoch_seen
            && self.context.delete_stream(name).await.is_ok()
        {
            warn!(
                event = "stream_lost_messages",
                stream = name,
                "NATS lost what it had stored: history begins anew"
            );
        }
    }

    fn config(&self, name: &str, wanted: &Kept, streams: usize) -> Config {
        let Kept { by, rule } = wanted;
        let share = self.bytes / streams.max(1) as u64;
        Config {
            name: name.to_owned(),
            subjects: vec![self.names.all_stored(by)],
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_bytes: i64::try_from(share).unwrap_or(i64::MAX),
            max_messages: -1,
            max_messages_per_subject: i64::try_from(rule.messages).unwrap_or(i64::MAX),
            max_consumers: -1,
            max_message_size: -1,
            max_age: rule.max_age.max(STORED_AGE_MIN),
            duplicate_window: KEY_WINDOW,
            allow_direct: true,
            // What is removed by hand would look as if it had never been. Who wants it gone deletes the
            // stream, and everybody is told.
            deny_delete: true,
            deny_purge: true,
            republish: Some(Republish {
                source: self.names.all_stored(by),
                destination: self.names.republished(),
                headers_only: false,
            }),
            ..Config::default()
        }
    }

    /// Publishes to a stream; the answer is awaited by the caller.
    pub async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: bytes::Bytes,
    ) -> Result<jetstream::context::PublishAckFuture, jetstream::context::PublishError> {
        self.context.publish_with_headers(subject, headers, payload).await
    }
}

/// What is to be remembered of a stream whose topics may have more messages from now on: how few
/// they might have, and up to which place that was so.
fn metadata(info: &Info, messages: i64) -> HashMap<String, String> {
    let mut metadata = info.config.metadata.clone();
    let before = info.config.max_messages_per_subject;
    if before < messages {
        let known = metadata.get(FEWEST).and_then(|it| it.parse().ok()).unwrap_or(i64::MAX);
        metadata.insert(FEWEST.to_owned(), before.min(known).to_string());
        metadata.insert(FEWEST_UNTIL.to_owned(), info.state.last_sequence.to_string());
    }
    metadata
}

/// The life of a stream: when it was created, in nanoseconds since 1970.
pub fn epoch(info: &Info) -> Epoch {
    Epoch(u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default())
}

/// Makes a stream, with as many replicas as there can be.
pub(super) async fn create(context: &Context, config: Config) -> Result<Stream, CreateStreamError> {
    match context.create_stream(Config { num_replicas: REPLICAS, ..config.clone() }).await {
        Err(error) if is_alone(&error.kind()) => {
            context.create_stream(Config { num_replicas: 1, ..config }).await
        }
        created => created,
    }
}

/// Whether a stream is not there.
pub(super) fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn is_alone(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED)
}

/// Whether what a rule can change is as it should be.
fn is_as_wanted(is: &Config, wanted: &Config) -> bool {
    is.max_bytes == wanted.max_bytes
        && is.max_messages_per_subject == wanted.max_messages_per_subject
        && is.max_age == wanted.max_age
        && is.duplicate_window == wanted.duplicate_window
        && is.allow_direct == wanted.allow_direct
        && is.republish == wanted.republish
        && is.subjects == wanted.subjects
}
