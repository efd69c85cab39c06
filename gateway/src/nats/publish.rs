//! Sends what the workers publish, in the order in which they gave it.

use std::sync::Arc;

use async_nats::{
    Client, HeaderMap, header,
    jetstream::context::{PublishAckFuture, PublishErrorKind},
};
use bytes::Bytes;
use tracing::debug;

use super::{read::Reader, streams::Streams};
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

/// Carries out orders.
#[derive(Debug)]
pub struct Publisher {
    pub client: Client,
    pub names: Names,
    pub streams: Arc<Streams>,
    pub reader: Arc<Reader>,
}

impl Publisher {
    /// Carries them out until nobody gives any.
    pub async fn run(self, mut orders: Orders) {
        while let Some(order) = orders.next().await {
            match order {
                Order::Publish(publish, None, done) => self.hand_on(&publish, done).await,
                Order::Publish(publish, Some(kept), done) => {
                    self.store(&publish, &kept, done).await;
                }
                Order::Read(read) => {
                    let reader = Arc::clone(&self.reader);
                    tokio::spawn(async move { reader.read(read).await });
                }
                Order::Roster(topic, event) => {
                    // Who is not told asks.
                    let payload = wire::encode_roster(&event);
                    let _ = self.client.publish(self.names.live(&topic), payload).await;
                }
            }
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
        if let Some(done) = done {
            done.tell(sent.map(|()| None));
        }
    }

    /// Publishes to a stream; whoever waits hears when it is stored.
    async fn store(&self, publish: &Publish, kept: &Kept, done: Published) {
        let tell = |done: Published, answer| done.into_iter().for_each(|it| it.tell(answer));
        let payload = wire::encode(publish);
        let Some((_, known)) = self.streams.of(&kept.by).filter(|_| !self.is_too_long(&payload))
        else {
            return tell(done, Err(Lost));
        };
        let mut headers = HeaderMap::new();
        if let Some(key) = &publish.key {
            headers.insert(header::NATS_MESSAGE_ID, wire::message_id(&publish.topic, key).as_str());
        }
        let subject = self.names.stored(&kept.by, &publish.topic);
        match self.streams.publish(subject, headers, payload).await {
            Ok(ack) => {
                let reader = Arc::clone(&self.reader);
                tokio::spawn(acknowledged(ack, known.epoch, reader, done));
            }
            Err(_) => tell(done, Err(Lost)),
        }
    }

    /// Whether the server would end the connection because of it.
    fn is_too_long(&self, payload: &Bytes) -> bool {
        payload.len() + HEADER_BYTES > self.client.max_payload()
    }
}

async fn acknowledged(ack: PublishAckFuture, epoch: Epoch, reader: Arc<Reader>, done: Published) {
    let answer = match ack.await {
        Ok(ack) => Ok(Some(Position { epoch, offset: ack.sequence })),
        Err(error) => {
            if error.kind() == PublishErrorKind::StreamNotFound {
                reader.missing.notify_one();
            }
            debug!(event = "not_stored", %error, "a publication was not acknowledged");
            Err(Lost)
        }
    };
    if let Some(done) = done {
        done.tell(answer);
    }
}
