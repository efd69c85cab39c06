//! One worker's side of the metrics.
//!
//! Plain integers, no atomics: counting a message costs what adding one costs. What is here shows
//! in a scrape after the next flush, so a worker flushes ten times a second and when it ends.

use std::{mem, sync::Arc};

use super::{Metrics, family::Tally, histogram::LocalHistogram, labels::Received};
use crate::protocol::{close::CloseReason, error::ErrorCode};

/// What one worker has counted since its last flush, and how much it holds.
#[derive(Debug)]
pub struct Local {
    /// How much the worker holds. It keeps these up to date or sets them before a flush.
    pub sizes: Sizes,
    /// How long the connections that ended had been open, in seconds.
    pub connection_seconds: LocalHistogram,
    /// From an envelope read to everything it caused decided, in seconds.
    pub handling_seconds: LocalHistogram,
    /// From a publication accepted to its bytes written to a subscriber, in seconds.
    pub delivery_seconds: LocalHistogram,
    /// Envelopes that went out in one write.
    pub batch_messages: LocalHistogram,
    opened: u64,
    delivered: u64,
    refused: Tally,
    closed: Tally,
    received: Tally,
    errors: Tally,
    flushed: Sizes,
    metrics: Arc<Metrics>,
}

/// How much one worker holds now; a scrape shows the sum over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Connections that stay.
    pub serving: u32,
    /// Connections that a drain has still to move.
    pub draining: u32,
    /// Live subscriptions.
    pub subscriptions: u64,
    /// Channels with a subscriber; each is counted by one worker alone, its home.
    pub channels: u64,
    /// Messages in the outboxes.
    pub queue_messages: u64,
    /// Bytes in the outboxes.
    pub queue_bytes: u64,
}

impl Local {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            sizes: Sizes::default(),
            connection_seconds: metrics.connections.seconds.local(),
            handling_seconds: metrics.messages.handling_seconds.local(),
            delivery_seconds: metrics.messages.delivery_seconds.local(),
            batch_messages: metrics.messages.batch.local(),
            opened: 0,
            delivered: 0,
            refused: metrics.connections.refused.tally(),
            closed: metrics.connections.closed.tally(),
            received: metrics.messages.received.tally(),
            errors: metrics.messages.errors.tally(),
            flushed: Sizes::default(),
            metrics,
        }
    }

    /// Counts a connection that was accepted.
    pub fn opened(&mut self) {
        self.opened += 1;
    }

    /// Counts a refusal, by its label.
    pub fn refused(&mut self, label: &str) {
        self.refused.add(self.metrics.connections.refused.index(label));
    }

    /// Counts a connection that ended after `seconds`.
    pub fn closed(&mut self, reason: CloseReason, seconds: f64) {
        self.closed.add(self.metrics.connections.closed.index(reason.label()));
        self.connection_seconds.observe(seconds, 1);
    }

    /// Counts what a client sent.
    pub fn received(&mut self, kind: Received) {
        self.received.add(Some(kind as usize));
    }

    /// Counts an error that a client was answered with.
    pub fn error(&mut self, code: ErrorCode) {
        self.errors.add(self.metrics.messages.errors.index(code.code()));
    }

    /// Counts publications written to `times` sockets, `seconds` after they were accepted.
    pub fn delivered(&mut self, seconds: f64, times: u64) {
        self.delivered += times;
        self.delivery_seconds.observe(seconds, times);
    }

    /// Moves everything to where a scrape sees it.
    pub fn flush(&mut self) {
        let metrics = &*self.metrics;
        metrics.connections.opened.inc_by(mem::take(&mut self.opened));
        metrics.messages.delivered.inc_by(mem::take(&mut self.delivered));
        metrics.connections.refused.absorb(&mut self.refused);
        metrics.connections.closed.absorb(&mut self.closed);
        metrics.messages.received.absorb(&mut self.received);
        metrics.messages.errors.absorb(&mut self.errors);
        metrics.connections.seconds.absorb(&mut self.connection_seconds);
        metrics.messages.handling_seconds.absorb(&mut self.handling_seconds);
        metrics.messages.delivery_seconds.absorb(&mut self.delivery_seconds);
        metrics.messages.batch.absorb(&mut self.batch_messages);
        self.flush_sizes();
    }

    /// Adds how the sizes changed, so that the gauges are the sum over all workers.
    fn flush_sizes(&mut self) {
        let Sizes { serving, draining, subscriptions, channels, queue_messages, queue_bytes } =
            self.sizes;
        let metrics = &*self.metrics;
        let was = mem::replace(&mut self.flushed, self.sizes);
        metrics.connections.serving.add(i64::from(serving) - i64::from(was.serving));
        metrics.connections.draining.add(i64::from(draining) - i64::from(was.draining));
        metrics.subscriptions.add(change(was.subscriptions, subscriptions));
        metrics.channels.add(change(was.channels, channels));
        metrics.queue_messages.add(change(was.queue_messages, queue_messages));
        metrics.queue_bytes.add(change(was.queue_bytes, queue_bytes));
    }
}

impl Drop for Local {
    /// A worker that ends holds nothing, and what it counted is not lost.
    fn drop(&mut self) {
        self.sizes = Sizes::default();
        self.flush();
    }
}

fn change(from: u64, to: u64) -> i64 {
    to.cast_signed().wrapping_sub(from.cast_signed())
}
