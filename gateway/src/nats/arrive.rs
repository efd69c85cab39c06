//! What comes for the topics that somebody here listens to.

use std::sync::Arc;

use async_nats::{Client, Message, header};
use bytes::Bytes;

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
    protocol::{position::Position, topic::Topic},
    telemetry::metrics::Metrics,
};

/// What is in a message; what is not of a gateway is counted.
pub fn decode(
    metrics: &Metrics,
    client: &Client,
    topic: &Topic,
    payload: &Bytes,
) -> Option<Payload> {
    // What the server lets through is at most as long as gateways may write.
    let decoded = wire::decode(topic, payload, client.max_payload());
    decoded.inspect_err(|dropped| metrics.broker_drop(dropped.label())).ok()
}

/// What is to be told of a message of a topic's live subject.
pub fn arrived(
    metrics: &Metrics,
    client: &Client,
    streams: &Streams,
    topic: &Topic,
    message: &Message,
) -> Option<Notice> {
    let publish = match decode(metrics, client, topic, &message.payload)? {
        Payload::Publication(publish) => publish,
        Payload::Roster(event) => return Some(Notice::Roster(topic.clone(), event)),
    };
    let came = |publish, stored| Notice::Came(topic.clone(), Arrived { publish, stored });
    let Some(stream) = header_text(message, header::NATS_STREAM.as_ref()) else {
        return Some(came(publish, None));
    };
    let foreign = || {
        metrics.broker_drop(Dropped::Foreign.label());
        None
    };
    let Some(known) = streams.known(stream) else {
        return foreign();
    };
    let (Some(offset), Some(stamp)) = (
        header_number(message, header::NATS_SEQUENCE.as_ref()),
        header_text(message, header::NATS_TIME_STAMP.as_ref()),
    ) else {
        return foreign();
    };
    let arrival = Arrival {
        position: Position { epoch: known.epoch, offset },
        previous: header_number(message, header::NATS_LAST_SEQUENCE.as_ref()).unwrap_or_default(),
        stamp_ns: nanos(stamp),
    };
    Some(came(publish, Some((Arc::clone(&known.by), arrival))))
}
