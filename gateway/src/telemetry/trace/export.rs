//! Sends spans to a collector (OTLP over gRPC).
//!
//! A slow or absent collector costs spans and nothing else: the queue is bounded, a request has a
//! deadline, and what it did not take is counted and said at most once a minute.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use headgate_crds::v1alpha1::Otlp;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tracing::warn;

use super::{ALL, OFF, SPANS_MAX, Shared};

/// How long a span waits for others to go with it.
const DELAY: Duration = Duration::from_secs(2);

/// Spans of one request.
const BATCH_MAX: usize = 512;

/// What a request to the collector may take, retries included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a failure is said.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// What the collector is told about this process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// `metadata.name` of the gateway.
    pub gateway: String,
    /// Its namespace.
    pub namespace: String,
    /// What tells this process from the others of the gateway: the name of the pod.
    pub instance: String,
}

/// The task that sends.
#[derive(Debug)]
pub struct Exporter {
    waiting: mpsc::Receiver<SpanData>,
    shared: Arc<Shared>,
    process: Process,
    /// The collector, while there is one.
    collector: Option<SpanExporter>,
    said: Option<Instant>,
}

impl Exporter {
    pub(super) fn new(
        waiting: mpsc::Receiver<SpanData>,
        shared: Arc<Shared>,
        process: Process,
    ) -> Self {
        Self { waiting, shared, process, collector: None, said: None }
    }

    /// Sends until every [`Traces`](super::Traces) is gone, and what waits then as well.
    ///
    /// `settings` may change at any time; the spans that wait go to the collector that is new.
    pub async fn run(mut self, mut settings: watch::Receiver<Option<Otlp>>) {
        let mut batch = Vec::new();
        let mut is_watched = true;
        self.configure(settings.borrow_and_update().as_ref());
        loop {
            tokio::select! {
                // A change first, so that what waits goes where it should go now.
                biased;
                changed = settings.changed(), if is_watched => {
                    is_watched = changed.is_ok();
                    self.configure(settings.borrow_and_update().as_ref());
                }
                count = self.waiting.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.gather(&mut batch).await;
                    self.send(std::mem::take(&mut batch)).await;
                }
            }
        }
    }

    /// Waits a little for more spans, so that a request carries many.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) {
        let deadline = Instant::now() + DELAY;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            match time::timeout_at(deadline, self.waiting.recv_many(batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let Some(collector) = &self.collector else { return };
        let spans = batch.len();
        let error = match time::timeout(TIMEOUT, collector.export(batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        self.shared.dropped.fetch_add(spans as u64, Ordering::Relaxed);
        self.say(&error, spans);
    }

    fn configure(&mut self, otlp: Option<&Otlp>) {
        let collector = otlp.map(|otlp| self.connect(otlp)).transpose();
        self.collector = collector.unwrap_or_else(|error| {
            self.say(&error.to_string(), 0);
            None
        });
        let threshold = match (&self.collector, otlp) {
            (Some(_), Some(otlp)) => threshold(otlp.sample_ratio),
            _ => OFF,
        };
        self.shared.threshold.store(threshold, Ordering::Relaxed);
    }

    /// The connection is made with the first spans, and again whenever it is lost.
    fn connect(&self, otlp: &Otlp) -> Result<SpanExporter, ExporterBuildError> {
        let mut collector = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&otlp.endpoint)
            .with_timeout(TIMEOUT)
            .build()?;
        collector.set_resource(&self.resource());
        Ok(collector)
    }

    fn resource(&self) -> Resource {
        let Process { gateway, namespace, instance } = self.process.clone();
        Resource::builder_empty()
            .with_service_name("headgate-gateway")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", instance),
                KeyValue::new("k8s.namespace.name", namespace),
                KeyValue::new("headgate.gateway", gateway),
            ])
            .build()
    }

    fn say(&mut self, error: &str, spans: usize) {
        let now = Instant::now();
        if self.said.is_none_or(|said| now - said >= SAID_EVERY) {
            self.said = Some(now);
            warn!(event = "traces_failed", error, spans, "the collector did not take spans");
        }
    }
}

/// How many of 2^32 a ratio is. What is out of its bounds, or no number, is none.
fn threshold(ratio: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float saturates, and NaN becomes 0"
    )]
    let threshold = (ratio * ALL as f64) as u64;
    threshold.min(ALL)
}

/// A batch never waits for room that the queue does not have.
const _: () = assert!(BATCH_MAX <= SPANS_MAX);
