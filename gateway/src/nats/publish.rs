//! Sends what the workers publish, in the order in which they gave it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ahash::AHashMap;
use async_nats::{
    Client, HeaderMap, header,
    jetstream::{
        self,
        context::{Context, ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind},
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::sleep,
};
use tracing::debug;

use super::{plane::Plane, read::Reader, streams::Streams};
use crate::{
    broker::{
        Publish,
        nats::{
            link::{Done, Kept, Lost, Order, Orders},
            names::Names,
            wire,
        },
    },
    protocol::position::{Epoch, Position},
};

/// Room for headers in what the server takes (`max_payload` counts them).
const HEADER_BYTES: usize = 256;

type Published = Option<Done<Result<Option<Position>, Lost>>>;

/// How long a publication may take to be stored.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream may owe acknowledgements for, and what all of them may, in bytes. Beyond it the
/// answer is `unavailable` at once: a stream that is silent takes no more, and holds up nothing else.
const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;
const STREAMS_BYTES_MAX: usize = 4 * STREAM_BYTES_MAX;

/// About what a publication costs until it is stored, beside what is published.
const EACH_BYTES: usize = 512;

/// As many as have room in bytes.
const ACKS_MAX: usize = STREAM_BYTES_MAX / EACH_BYTES;

/// How often a publication is tried whose key another one has at the same moment, and how long it
/// waits between.
const TRIES_MAX: usize = 10;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What the server says of such a key.
const KEY_IN_PROCESS: u64 = 10_158;

/// Who waits for the acknowledgements of a stream: told in order, whatever other streams do.
#[derive(Clone, Debug)]
struct Acks {
    sender: mpsc::Sender<Pending>,
    room: Arc<Semaphore>,
}

/// What waits for a stream's acknowledgement.
#[derive(Debug)]
struct Pending {
    message: Outgoing,
    ack: PublishAckFuture,
    epoch: Epoch,
    done: Published,
    /// Of the stream, and of all. It is given back when the answer is told.
    room: [OwnedSemaphorePermit; 2],
}

/// What goes to a stream.
#[derive(Clone, Debug)]
struct Outgoing {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// Carries out orders.
#[derive(Debug)]
pub struct Publisher {
    pub client: Client,
    pub names: Names,
    pub streams: Arc<Streams>,
    pub reader: Arc<Reader>,
    /// The pods, once this one is among them.
    pub plane: Arc<OnceLock<Plane>>,
    /// By rule.
    acks: AHashMap<Arc<str>, Acks>,
    room: Arc<Semaphore>,
    context: Context,
    tasks: JoinSet<()>,
}

impl Publisher {
    /// For one pod.
    pub fn new(
        client: Client,
        names: Names,
        streams: Arc<Streams>,
        reader: Arc<Reader>,
        plane: Arc<OnceLock<Plane>>,
    ) -> Self {
        // How many may be under way is bounded here, for each stream.
        let context = ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(STREAMS_BYTES_MAX / EACH_BYTES + 1)
            .backpressure_on_inflight(false)
            .build(client.clone());
        let room = Arc::new(Semaphore::new(STREAMS_BYTES_MAX));
        let (acks, tasks) = (AHashMap::new(), JoinSet::new());
        Self { client, names, streams, reader, plane, acks, room, context, tasks }
    }

    /// Carries them out until nobody gives any.
    pub async fn run(mut self, mut orders: Orders) {
        while let Some(order) = orders.next().await {
            match order {
                Order::Publish(publish, None, done) => self.hand_on(&publish, done).await,
                Order::Publish(publish, Some(kept), done) => {
                    self.store(&publish, &kept, done).await;
                }
                Order::Read(read) => {
                    let reader = Arc::clone(&self.reader);
                    self.tasks.spawn(async move { reader.read(read).await });
                }
                Order::History(question) => {
                    let reader = Arc::clone(&self.reader);
                    self.tasks.spawn(async move { reader.answer(question).await });
                }
                Order::Presence(topic, done) => {
                    let Some(plane) = self.plane.get().cloned() else {
                        done.tell(Err(Lost));
                        continue;
                    };
                    self.tasks.spawn(async move { done.tell(Ok(plane.presence(&topic).await)) });
                }
                Order::Roster(topic, event) => {
                    // Who is not told asks.
                    let payload = wire::encode_roster(&event);
                    let _ = self.client.publish(self.names.live(&topic), payload).await;
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Publishes what nobody stores.
    async fn hand_on(&self, publish: &Publish, done: Published) {
        let payload = wire::encode(publish);
        let sent = if self.is_too_long(&payload) {
            Err(Lost)
        } else {
            let sent = self.client.publish(self.names.live(&publish.topic), payload).await;
            sent.map_err(|_| Lost)
        };
        tell(done, sent.map(|()| None));
    }

    /// Publishes to a stream; whoever waits hears when it is stored.
    async fn store(&mut self, publish: &Publish, kept: &Kept, done: Published) {
        let payload = wire::encode(publish);
        let Some(known) = self.streams.of(&kept.by).filter(|_| !self.is_too_long(&payload)) else {
            return tell(done, Err(Lost));
        };
        let acks = self.acks(&kept.by);
        let Some(room) = self.room(&acks, payload.len() + EACH_BYTES) else {
            return tell(done, Err(Lost));
        };
        let mut headers = HeaderMap::new();
        if let Some(key) = &publish.key {
            headers.insert(header::NATS_MESSAGE_ID, wire::message_id(&publish.topic, key).as_str());
        }
        let subject = self.names.stored(&kept.by, &publish.topic);
        let message = Outgoing { subject, headers, payload };
        match message.send(&self.context).await {
            Ok(ack) => {
                let pending = Pending { message, ack, epoch: known.epoch, done, room };
                // It is under way all the same: the outcome is not known.
                if let Err(refused) = acks.sender.try_send(pending) {
                    tell(refused.into_inner().done, Err(Lost));
                }
            }
            Err(_) => tell(done, Err(Lost)),
        }
    }

    /// Who waits for acknowledgements of a rule's stream.
    fn acks(&mut self, by: &Arc<str>) -> Acks {
        if let Some(acks) = self.acks.get(by).filter(|it| !it.sender.is_closed()) {
            return acks.clone();
        }
        let (sender, pending) = mpsc::channel(ACKS_MAX);
        let acks = Acks { sender, room: Arc::new(Semaphore::new(STREAM_BYTES_MAX)) };
        self.acks.insert(Arc::clone(by), acks.clone());
        self.tasks.spawn(acknowledgements(
            pending,
            Arc::clone(by),
            Arc::clone(&self.reader),
            Arc::clone(&self.streams),
            self.context.clone(),
        ));
        acks
    }

    /// Room for a publication that is under way, if there is some.
    fn room(&self, acks: &Acks, bytes: usize) -> Option<[OwnedSemaphorePermit; 2]> {
        let bytes = u32::try_from(bytes.min(STREAM_BYTES_MAX)).ok()?;
        let take = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(bytes).ok();
        Some([take(&acks.room)?, take(&self.room)?])
    }

    /// Whether the server would end the connection because of it.
    fn is_too_long(&self, payload: &Bytes) -> bool {
        payload.len() + HEADER_BYTES > self.client.max_payload()
    }
}

fn tell(done: Published, answer: Result<Option<Position>, Lost>) {
    if let Some(done) = done {
        done.tell(answer);
    }
}

/// Tells the answers of one rule's stream, in the order in which it was asked.
async fn acknowledgements(
    mut pending: mpsc::Receiver<Pending>,
    by: Arc<str>,
    reader: Arc<Reader>,
    streams: Arc<Streams>,
    context: Context,
) {
    let mut waiting = FuturesOrdered::new();
    loop {
        tokio::select! {
            next = pending.recv() => match next {
                Some(pending) => waiting.push_back(pending.stored(&by, &streams, &context)),
                None => return,
            },
            Some((answer, done, room)) = waiting.next() => {
                let answer = answer.map_err(|error| {
                    if error.kind() == PublishErrorKind::StreamNotFound {
                        reader.missing.notify_one();
                    }
                    debug!(event = "not_stored", %error, "a publication was not acknowledged");
                    Lost
                });
                tell(done, answer.map(Some));
                drop(room);
            }
        }
    }
}

impl Pending {
    /// Waits until a publication is stored. One with a key that another pod uses at this moment is sent
    /// again, and then finds out whether that was the same.
    async fn stored(
        self,
        by: &str,
        streams: &Streams,
        context: &Context,
    ) -> (Result<Position, PublishError>, Published, [OwnedSemaphorePermit; 2]) {
        let Self { message, ack, mut epoch, done, room } = self;
        let mut answer = ack.await;
        for _ in 1..TRIES_MAX {
            let is_used = answer.as_ref().is_err_and(|error| code(error) == Some(KEY_IN_PROCESS));
            if !is_used {
                break;
            }
            sleep(TRY_AGAIN).await;
            // It may be another stream by now.
            epoch = streams.of(by).map_or(epoch, |it| it.epoch);
            answer = match message.send(context).await {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            };
        }
        (answer.map(|ack: PublishAck| Position { epoch, offset: ack.sequence }), done, room)
    }
}

impl Outgoing {
    async fn send(&self, context: &Context) -> Result<PublishAckFuture, PublishError> {
        let Self { subject, headers, payload } = self.clone();
        context.publish_with_headers(subject, headers, payload).await
    }
}

/// The server's own code of an error.
fn code(error: &PublishError) -> Option<u64> {
    use std::error::Error as _;

    let source = error.source()?.downcast_ref::<jetstream::Error>()?;
    Some(source.error_code().0)
}
