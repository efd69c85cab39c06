//! What comes for the topics that somebody here listens to.

use std::sync::Arc;

use async_nats::{Client, Message, header};
use bytes::Bytes;
use tokio::sync::watch;

use super::{
    store::{header_number, header_text, nanos},
    streams::Streams,
};
use crate::{
    broker::nats::{
        follow::Arrival,
        link::{Arrived, Notice},
        wire::{self, Dropped, Payload},
    },
    config::Config,
    protocol::{
        position::{OFFSET_MAX, Position},
        topic::Topic,
    },
    telemetry::metrics::Metrics,
};

/// What is in a message; what is not of a gateway is counted.
pub fn decode(
    metrics: &Metrics,
    topic: &Topic,
    payload: &Bytes,
    data_bytes_max: usize,
) -> Option<Payload> {
    let decoded = wire::decode(topic, payload, data_bytes_max);
    decoded.inspect_err(|dropped| metrics.broker_drop(dropped.label())).ok()
}

/// Reads what comes.
#[derive(Debug)]
pub struct Arrivals {
    pub client: Client,
    pub streams: Arc<Streams>,
    pub metrics: Arc<Metrics>,
    pub config: watch::Receiver<Arc<Config>>,
}

impl Arrivals {
    /// What is to be told of a message of a topic's live subject.
    pub fn arrived(&self, topic: &Topic, message: &Message) -> Option<Notice> {
        let stream = header_text(message, header::NATS_STREAM.as_ref());
        // What a stream has was short enough when it came.
        let data_bytes_max = match stream {
            Some(_) => self.client.max_payload(),
            None => self.message_bytes_max(),
        };
        let payload = decode(&self.metrics, topic, &message.payload, data_bytes_max)?;
        let publish = match payload {
            Payload::Publication(publish) => publish,
            Payload::Roster(event) => return Some(Notice::Roster(topic.clone(), event)),
        };
        let came = |stored| Some(Notice::Came(topic.clone(), Arrived { publish, stored }));
        let Some(stream) = stream else { return came(None) };
        let Some(known) = self.streams.known(stream) else {
            // Another pod has a rule that is not here yet, or no longer.
            return if self.streams.is_own(stream) { came(None) } else { self.foreign() };
        };
        let (Some(offset), Some(stamp)) = (
            header_number(message, header::NATS_SEQUENCE.as_ref()),
            header_text(message, header::NATS_TIME_STAMP.as_ref()),
        ) else {
            return self.foreign();
        };
        // No stream gives out any other, and nobody could follow one that does.
        if !(1..=OFFSET_MAX).contains(&offset) {
            return self.foreign();
        }
        let previous = header_number(message, header::NATS_LAST_SEQUENCE.as_ref());
        let arrival = Arrival {
            position: Position { epoch: known.epoch, offset },
            previous: previous.unwrap_or_default(),
            stamp_ns: nanos(stamp),
        };
        came(Some((known.by, arrival)))
    }

    fn foreign(&self) -> Option<Notice> {
        self.metrics.broker_drop(Dropped::Foreign.label());
        None
    }

    fn message_bytes_max(&self) -> usize {
        let bytes = self.config.borrow().spec.max_message_size.bytes();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
