//! Traces: one span per connection and per publication through the API, where sampled.
//!
//! A connection may live for days, so its span is not kept open in a library. What the span needs
//! is noted when the connection opens, and only if it is sampled; the span is made when it closes,
//! and goes to whichever collector is configured by then.

mod export;
mod traceparent;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::sync::mpsc;

pub use self::export::{Exporter, Process};
pub use self::traceparent::Parent;

/// Spans that wait for the collector before the next are dropped.
const SPANS_MAX: usize = 2_048;

/// What makes spans. Every worker has a clone.
#[derive(Clone, Debug)]
pub struct Traces {
    spans: mpsc::Sender<SpanData>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many of 2^32 are sampled; [`OFF`] without a collector, where `traceparent` is not read
    /// either.
    threshold: AtomicU64,
    dropped: AtomicU64,
}

/// There is no collector.
const OFF: u64 = u64::MAX;

/// One in so many is sampled with a ratio of 1.
const ALL: u64 = 1 << 32;

/// A span that has begun. It becomes one when it is given to [`Traces::end`].
#[derive(Debug)]
pub struct Span {
    name: &'static str,
    kind: SpanKind,
    context: SpanContext,
    parent: Option<Parent>,
    began: SystemTime,
    attributes: Vec<KeyValue>,
}

/// No traces until an [`Exporter`] that is given `settings` says where they go.
pub fn traces(process: Process) -> (Traces, Exporter) {
    let (spans, waiting) = mpsc::channel(SPANS_MAX);
    let shared = Arc::new(Shared { threshold: AtomicU64::new(OFF), ..Shared::default() });
    let exporter = Exporter::new(waiting, Arc::clone(&shared), process);
    (Traces { spans, shared }, exporter)
}

impl Traces {
    /// Begins the span of a connection, if it is sampled; `traceparent` is the request's header.
    /// A connection that is not sampled keeps a null pointer.
    ///
    /// The header's sampling decision counts, in both directions, as W3C Trace Context and the
    /// parent-based sampler of OpenTelemetry have it; without a header the ratio decides.
    pub fn connection(&self, traceparent: Option<&[u8]>, now: SystemTime) -> Option<Box<Span>> {
        self.begin("connection", SpanKind::Server, traceparent, now)
    }

    /// Begins the span of a publication through the server API, if it is sampled.
    pub fn publish(&self, traceparent: Option<&[u8]>, now: SystemTime) -> Option<Box<Span>> {
        self.begin("publish", SpanKind::Producer, traceparent, now)
    }

    /// Ends a span and queues it. If the queue is full, it is dropped and counted.
    pub fn end(&self, span: Span, status: Result<(), Cow<'static, str>>, now: SystemTime) {
        let status = status.map_or_else(Status::error, |()| Status::Unset);
        if self.spans.try_send(span.into_data(status, now)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans were dropped, here or by a collector that did not take them.
    pub fn spans_dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn begin(
        &self,
        name: &'static str,
        kind: SpanKind,
        traceparent: Option<&[u8]>,
        now: SystemTime,
    ) -> Option<Box<Span>> {
        let threshold = self.shared.threshold.load(Ordering::Relaxed);
        if threshold == OFF {
            return None;
        }
        let parent = traceparent.and_then(Parent::parse);
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => u64::from(fastrand::u32(..)) < threshold,
        };
        is_sampled.then(|| Box::new(Span::new(name, kind, parent, now)))
    }
}

impl Span {
    fn new(name: &'static str, kind: SpanKind, parent: Option<Parent>, began: SystemTime) -> Self {
        let trace =
            parent.map_or_else(|| TraceId::from(fastrand::u128(1..)), |parent| parent.trace);
        let context = SpanContext::new(
            trace,
            SpanId::from(fastrand::u64(1..)),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        Self { name, kind, context, parent, began, attributes: Vec::new() }
    }

    /// Says something about what the span is of. Never a token, and never what a message contains.
    pub fn set(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        self.attributes.push(KeyValue::new(name, value));
    }

    /// When the span began.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.began).unwrap_or_default()
    }

    fn into_data(self, status: Status, ended: SystemTime) -> SpanData {
        SpanData {
            span_context: self.context,
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: self.parent.is_some(),
            span_kind: self.kind,
            name: self.name.into(),
            start_time: self.began,
            end_time: ended.max(self.began),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("headgate").build(),
        }
    }
}
