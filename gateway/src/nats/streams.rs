//! The streams that keep history: one for each rule that has some, as the manifest wants it.
//!
//! A stream's life is known by when it was created: one that was made anew is another epoch. Where a
//! rule changes, its stream is changed in place; where it keeps nothing any more, the stream goes.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahash::AHashMap;
use arc_swap::ArcSwap;
use async_nats::{
    Client,
    jetstream::{
        self,
        context::{
            Context, ContextBuilder, CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
        },
        stream::{Config, Info, Stream},
    },
};
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

use super::shape::{
    config, is_bounded, is_settled, is_sound, mended, note_mended, settled, times_mended,
    with_bounds,
};
use crate::{
    broker::nats::{link::Kept, names::Names},
    protocol::position::Epoch,
};

/// How long the server has to say what a stream is: a cluster says nothing of one that it is making.
const API_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How often a stream is looked at before that fails.
const LOOKS: usize = 4;

/// How long a stream that ends too early has to be what it was, before it is given up: up to twice that,
/// so that pods do not all act at the same moment.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Replicas of a stream in a cluster of NATS servers.
const REPLICAS: usize = 3;

/// Whether a stream that is there is changed to what its rule wants. Pods whose manifest is older for a
/// moment must not change back what another one has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// The manifest of this pod is new.
    Change,
    /// It is not.
    Keep,
}

/// What was seen of the streams since they were looked at before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// They are what they were.
    Same,
    /// One was put right: what was published meanwhile may not have come live.
    Mended,
    /// One began a new life.
    Anew,
}

/// A stream that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The rule whose it is, as a token.
    pub by: Arc<str>,
    /// When it was created.
    pub epoch: Epoch,
    /// How often it was put right.
    mended: u64,
}

/// The streams of a gateway.
#[derive(Debug)]
pub struct Streams {
    context: Context,
    names: Names,
    bytes: u64,
    /// Who looks at the streams, one after the other.
    turn: tokio::sync::Mutex<()>,
    /// How often bounds were to be changed, and up to which of these times they were. A change whose
    /// caller has given up is made by whoever looks next.
    due: AtomicU64,
    done: AtomicU64,
    /// The streams that are to be removed, in the lives in which they were known.
    gone: Mutex<AHashMap<String, Epoch>>,
    seen: Mutex<Seen>,
    /// Told when something was seen.
    pub noticed: Notify,
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
    /// The stream of a rule that kept nothing for a while cannot be removed, so it cannot begin anew.
    #[error("cannot remove the stream {0}, which misses what was published meanwhile: {1}")]
    Remove(String, String),
}

impl Streams {
    /// Streams that may hold so many bytes together.
    pub fn new(client: Client, names: Names, bytes: u64) -> Self {
        Self {
            context: ContextBuilder::new().timeout(API_TIMEOUT).build(client),
            names,
            bytes,
            turn: tokio::sync::Mutex::default(),
            due: AtomicU64::new(0),
            done: AtomicU64::new(0),
            gone: Mutex::default(),
            seen: Mutex::new(Seen::Same),
            noticed: Notify::new(),
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
            self.note(Seen::Anew);
            self.known.rcu(|known| {
                let mut known = AHashMap::clone(known);
                if let Some(it) = known.get_mut(name) {
                    it.epoch = epoch;
                }
                known
            });
        }
    }

    /// Makes every stream as it is wanted. [`take_seen`](Self::take_seen) says what was seen, and
    /// [`remove_unwanted`](Self::remove_unwanted) removes those that are not wanted any more.
    ///
    /// Safe to cancel: a change of bounds that was not made is made the next time, and a stream that was
    /// not removed is removed then. `wanted` is what the newest manifest wants, so it is asked for after
    /// the change is known to be due.
    pub async fn ensure(
        &self,
        bounds: Bounds,
        wanted: impl FnOnce() -> Vec<Kept>,
    ) -> Result<(), StreamError> {
        let due = match bounds {
            Bounds::Change => self.due.fetch_add(1, Ordering::AcqRel) + 1,
            Bounds::Keep => self.due.load(Ordering::Acquire),
        };
        let _turn = self.turn.lock().await;
        let is_due = due > self.done.load(Ordering::Relaxed);
        let bounds = if is_due { Bounds::Change } else { bounds };
        let wanted = wanted();
        let mut known = AHashMap::new();
        for it in &wanted {
            let name = self.names.stream(&it.by);
            // A rule that keeps something again has not what was published meanwhile.
            self.remove_gone(&name).await?;
            let info = self.ensure_one(&name, it, wanted.len(), bounds).await?;
            let by = Arc::clone(&it.by);
            known.insert(name, Known { by, epoch: epoch(&info), mended: times_mended(&info) });
        }
        self.done.fetch_max(due, Ordering::Relaxed);
        let before = self.known.swap(Arc::new(known.clone()));
        let unwanted = before.iter().filter(|(name, _)| !known.contains_key(*name));
        self.gone.lock().extend(unwanted.map(|(name, it)| (name.clone(), it.epoch)));
        let seen = known.iter().filter_map(|(name, it)| Some(it.since(before.get(name)?)));
        self.note(seen.max().unwrap_or(Seen::Same));
        if !self.gone.lock().is_empty() {
            self.noticed.notify_one();
        }
        Ok(())
    }

    /// Removes the streams that no rule wants any more. What cannot be removed now is tried the next
    /// time, and at the latest before its rule keeps something again.
    pub async fn remove_unwanted(&self) {
        let _turn = self.turn.lock().await;
        let gone: Vec<_> = self.gone.lock().keys().cloned().collect();
        for name in gone {
            // It has said why.
            let _ = self.remove_gone(&name).await;
        }
    }

    /// What was seen of the streams since this was asked last; [`noticed`](Self::noticed) says when.
    pub fn take_seen(&self) -> Seen {
        mem::replace(&mut *self.seen.lock(), Seen::Same)
    }

    fn note(&self, seen: Seen) {
        if seen > Seen::Same {
            let mut noted = self.seen.lock();
            *noted = seen.max(*noted);
            self.noticed.notify_one();
        }
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
        let config = config(name, wanted, &self.names, self.bytes / streams.max(1) as u64);
        match looked {
            Ok(stream) => self.change(stream.cached_info().clone(), config, bounds).await,
            Err(error) if is_missing(&error.kind()) => self.create(config).await,
            Err(error) => Err(StreamError::Look(name.to_owned(), error.to_string())),
        }
    }

    /// Changes a stream that is there to what it has to be.
    async fn change(&self, is: Info, wanted: Config, bounds: Bounds) -> Result<Info, StreamError> {
        let is_sound = is_sound(&is.config, &wanted);
        let is_bounded = bounds == Bounds::Keep || is_bounded(&is.config, &wanted);
        if is_sound && is_bounded {
            return self.settle(is).await;
        }
        let mut change = if is_bounded { mended(&is, wanted) } else { with_bounds(&is, wanted) };
        if !is_sound {
            note_mended(&is, &mut change);
        }
        let stream = change.name.clone();
        let changed = self.context.update_stream(&change).await;
        let changed =
            changed.map_err(|error| StreamError::Make(stream.clone(), error.to_string()))?;
        if is_sound {
            info!(event = "stream_changed", stream, "the stream is as its rule wants it");
        } else {
            warn!(
                event = "stream_mended",
                stream,
                "somebody had changed what pods rely on: it is as it was, and topics ask it"
            );
        }
        self.settle(changed).await
    }

    /// Notes up to which place a stream had fewer messages of a topic, where that is to be noted.
    async fn settle(&self, is: Info) -> Result<Info, StreamError> {
        if is_settled(&is.config) {
            return Ok(is);
        }
        let noted = self.context.update_stream(settled(&is)).await;
        noted.map_err(|error| StreamError::Make(is.config.name, error.to_string()))
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
                self.gone.lock().insert(name.clone(), epoch(stream.cached_info()));
                // It is tried again where it fails, and said.
                let _ = self.remove_gone(&name).await;
            }
        }
    }

    /// Removes the stream of a rule that keeps nothing any more, in the life in which it was known: a
    /// pod that is late must not remove what another one has begun anew.
    async fn remove_gone(&self, name: &str) -> Result<(), StreamError> {
        let Some(known) = self.gone.lock().get(name).copied() else { return Ok(()) };
        let failed = |error: String| {
            warn!(
                event = "stream_not_removed",
                stream = name,
                error,
                "a stream that no rule needs cannot be removed: it is tried again"
            );
            StreamError::Remove(name.to_owned(), error)
        };
        match self.context.get_stream(name).await {
            Ok(stream) if epoch(stream.cached_info()) == known => {
                match self.context.delete_stream(name).await {
                    Ok(_) => {
                        info!(
                            event = "stream_removed",
                            stream = name,
                            "its rule keeps nothing any more"
                        );
                    }
                    // Another pod was faster.
                    Err(error) if error.to_string().contains("not found") => {}
                    Err(error) => return Err(failed(error.to_string())),
                }
            }
            Ok(_) => {}
            Err(error) if is_missing(&error.kind()) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        self.gone.lock().remove(name);
        Ok(())
    }

    /// A stream of this life that ends before a place which it had given out has lost what it had
    /// stored: it ends, and the next one is another epoch. Only if it is so twice, for nothing brings
    /// a stream back.
    pub async fn begin_anew(&self, name: &str, life: Epoch, place: u64) {
        sleep(LOOK_AGAIN + LOOK_AGAIN.mul_f64(fastrand::f64())).await;
        let Ok(stream) = self.context.get_stream(name).await else { return };
        let info = stream.cached_info();
        if epoch(info) == life
            && info.state.last_sequence < place
            && self.context.delete_stream(name).await.is_ok()
        {
            warn!(
                event = "stream_lost_messages",
                stream = name,
                "NATS lost what it had stored: history begins anew"
            );
        }
    }
}

impl Known {
    /// What was seen of a stream that was another time like this.
    fn since(&self, before: &Self) -> Seen {
        if self.epoch != before.epoch {
            Seen::Anew
        } else if self.mended != before.mended {
            Seen::Mended
        } else {
            Seen::Same
        }
    }
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
