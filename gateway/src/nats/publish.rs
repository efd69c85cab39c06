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
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
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

/// Acknowledgements of one stream that may wait to be waited for.
const ACKS_MAX: usize = 8_192;

/// How often a publication is tried whose key another one has at the same moment, and how long it
/// waits between.
const TRIES_MAX: usize = 10;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What the server says of such a key.
const KEY_IN_PROCESS: u64 = 10_158;

/// What waits for a stream's acknowledgement.
#[derive(Debug)]
pub struct Pending {
    message: Outgoing,
    ack: PublishAckFuture,
    epoch: Epoch,
    done: Published,
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
    /// By stream, who waits for its acknowledgements: told in order, whatever those of other streams
    /// do.
    pub acks: AHashMap<Arc<str>, mpsc::Sender<Pending>>,
    pub tasks: JoinSet<()>,
}

impl Publisher {
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
        let mut headers = HeaderMap::new();
        if let Some(key) = &publish.key {
            headers.insert(header::NATS_MESSAGE_ID, wire::message_id(&publish.topic, key).as_str());
        }
        let subject = self.names.stored(&kept.by, &publish.topic);
        let message = Outgoing { subject, headers, payload };
        match message.send(&self.streams).await {
            Ok(ack) => {
                let pending = Pending { message, ack, epoch: known.epoch, done };
                self.await_ack(&kept.by, pending);
            }
            Err(_) => tell(done, Err(Lost)),
        }
    }

    fn await_ack(&mut self, by: &Arc<str>, pending: Pending) {
        let (reader, streams, tasks) = (&self.reader, &self.streams, &mut self.tasks);
        let queue = self.acks.entry(Arc::clone(by)).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(ACKS_MAX);
            tasks.spawn(acknowledgements(receiver, Arc::clone(reader), Arc::clone(streams)));
            sender
        });
        // It is under way all the same: the outcome is not known.
        if let Err(refused) = queue.try_send(pending) {
            tell(refused.into_inner().done, Err(Lost));
        }
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

/// Tells the answers of one stream, in the order in which it was asked.
async fn acknowledgements(
    mut pending: mpsc::Receiver<Pending>,
    reader: Arc<Reader>,
    streams: Arc<Streams>,
) {
    let mut waiting = FuturesOrdered::new();
    loop {
        tokio::select! {
            next = pending.recv() => match next {
                Some(Pending { message, ack, epoch, done }) => {
                    let streams = &streams;
                    waiting.push_back(async move {
                        (stored(message, ack, streams).await, epoch, done)
                    });
                }
                None => return,
            },
            Some((answer, epoch, done)) = waiting.next() => {
                let answer = answer.map_err(|error| {
                    if error.kind() == PublishErrorKind::StreamNotFound {
                        reader.missing.notify_one();
                    }
                    debug!(event = "not_stored", %error, "a publication was not acknowledged");
                    Lost
                });
                tell(done, answer.map(|ack| Some(Position { epoch, offset: ack.sequence })));
            }
        }
    }
}

impl Outgoing {
    async fn send(&self, streams: &Streams) -> Result<PublishAckFuture, PublishError> {
        let Self { subject, headers, payload } = self.clone();
        streams.publish(subject, headers, payload).await
    }
}

/// Waits until a publication is stored. One with a key that another pod uses at this moment is sent
/// again, and then finds out whether that was the same.
async fn stored(
    message: Outgoing,
    ack: PublishAckFuture,
    streams: &Streams,
) -> Result<PublishAck, PublishError> {
    let mut answer = ack.await;
    for _ in 1..TRIES_MAX {
        let is_in_process = answer.as_ref().is_err_and(|error| code(error) == Some(KEY_IN_PROCESS));
        if !is_in_process {
            break;
        }
        sleep(TRY_AGAIN).await;
        answer = message.send(streams).await?.await;
    }
    answer
}

/// The server's own code of an error.
fn code(error: &PublishError) -> Option<u64> {
    use std::error::Error as _;

    let source = error.source()?.downcast_ref::<jetstream::Error>()?;
    Some(source.error_code().0)
}
