//! The metrics of messages, from an envelope read to its deliveries written.

use prometheus::IntCounter;

use super::{family::Family, histogram::Histogram, labels::Received, register::Register};
use crate::protocol::error::ErrorCode;

/// Around the few microseconds that a message costs, up to where one client holds up the others.
const HANDLING_SECONDS: &[f64] =
    &[0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1];

/// From a fan-out within a millisecond to what a person notices, and to what is no longer live.
const DELIVERY_SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// One envelope alone, then powers of two up to the largest batch that is sensible.
const BATCH_MESSAGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What clients sent and were sent, and how long it took.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) received: Family,
    pub(super) delivered: IntCounter,
    pub(super) errors: Family,
    pub(super) handling_seconds: Histogram,
    pub(super) delivery_seconds: Histogram,
    pub(super) batch: Histogram,
}

impl Messages {
    pub(super) fn new(register: &Register) -> Self {
        Self {
            received: register.family(
                "messages_received_total",
                "Envelopes from clients, by type.",
                "type",
                &Received::ALL.map(Received::label),
            ),
            delivered: register.counter(
                "messages_delivered_total",
                "Publications that were handed to the sockets or queues of clients.",
            ),
            errors: register.family(
                "errors_total",
                "Errors that clients were answered with, by code.",
                "code",
                &ErrorCode::ALL.map(ErrorCode::code),
            ),
            handling_seconds: register.histogram(
                "message_handling_seconds",
                "From an envelope read to everything it caused decided.",
                HANDLING_SECONDS,
            ),
            delivery_seconds: register.histogram(
                "delivery_seconds",
                "From a publication accepted to its bytes handed to a subscriber's socket or queue.",
                DELIVERY_SECONDS,
            ),
            batch: register.histogram(
                "batch_messages",
                "Envelopes that went out in one write.",
                BATCH_MESSAGES,
            ),
        }
    }
}
