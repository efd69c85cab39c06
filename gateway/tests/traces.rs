//! Spans arrive at a real OTLP collector, as they were meant.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::{Duration, SystemTime};

use headgate_crds::v1alpha1::Otlp;
use headgate_gateway::telemetry::trace::{Process, Traces, traces};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Request, Response, Status, codegen::Service as _};

const SOON: Duration = Duration::from_secs(20);
const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A collector that hands on what it gets.
struct Collector(mpsc::Sender<ResourceSpans>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for spans in request.into_inner().resource_spans {
            self.0.send(spans).await.unwrap();
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on a port of its own, and what arrives there.
async fn collector() -> (String, mpsc::Receiver<ResourceSpans>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (arrives, arrived) = mpsc::channel(16);
    let collector = TraceServiceServer::new(Collector(arrives));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let collector = collector.clone();
            let service = service_fn(move |request| collector.clone().call(request));
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
        }
    });
    (endpoint, arrived)
}

/// Traces that go where the sender says.
fn started(otlp: Option<Otlp>) -> (Traces, watch::Sender<Option<Otlp>>, JoinHandle<()>) {
    let process = Process {
        gateway: "chat".to_owned(),
        namespace: "demo".to_owned(),
        instance: "chat-0".to_owned(),
    };
    let (traces, exporter) = traces(process);
    let (settings, watched) = watch::channel(otlp);
    (traces, settings, tokio::spawn(exporter.run(watched)))
}

/// Waits until the exporter has read its settings: then a sampled parent begins a span.
async fn is_on(traces: &Traces) {
    let begins = async {
        while traces.connection(Some(PARENT), SystemTime::now()).is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, begins).await.unwrap();
}

fn otlp(endpoint: &str, sample_ratio: f64) -> Otlp {
    Otlp { endpoint: endpoint.to_owned(), sample_ratio }
}

fn only_span(mut spans: ResourceSpans) -> Span {
    assert_eq!(spans.scope_spans.len(), 1);
    let mut spans = spans.scope_spans.remove(0).spans;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|it| it.key == key)?.value.clone()?.value
}

#[tokio::test]
async fn a_sampled_connection_arrives_as_a_child_of_its_caller() {
    let (endpoint, mut arrived) = collector().await;
    let (traces, _settings, _) = started(Some(otlp(&endpoint, 0.0)));
    is_on(&traces).await;
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);

    let mut span = traces.connection(Some(PARENT), began).unwrap();
    span.set("websocket.close_code", 4_431_i64);
    traces.end(*span, Err("slow consumer".into()), began + Duration::from_secs(5));

    let spans = timeout(SOON, arrived.recv()).await.unwrap().unwrap();
    let resource = spans.resource.clone().unwrap();
    let gateway = attribute(&resource.attributes, "headgate.gateway");
    assert_eq!(gateway, Some(Value::StringValue("chat".to_owned())));
    let span = only_span(spans);
    assert_eq!(span.name, "connection");
    assert_eq!(span.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(span.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(span.start_time_unix_nano, 1_000_000_000_000);
    assert_eq!(span.end_time_unix_nano, 1_005_000_000_000);
    assert_eq!(span.status.unwrap().message, "slow consumer");
    let code = attribute(&span.attributes, "websocket.close_code");
    assert_eq!(code, Some(Value::IntValue(4_431)));
}

#[tokio::test]
async fn the_ratio_decides_where_the_caller_does_not() {
    let (endpoint, _arrived) = collector().await;
    let check = async |ratio: f64, header: Option<&[u8]>, expected| {
        let (traces, _settings, _) = started(Some(otlp(&endpoint, ratio)));
        is_on(&traces).await;
        assert_eq!(traces.publish(header, SystemTime::now()).is_some(), expected);
    };

    check(1.0, None, true).await;
    check(1.0, Some(NOT_SAMPLED), false).await;
    check(0.0, None, false).await;
    check(0.0, Some(PARENT), true).await;
    check(1.0, Some(b"junk"), true).await;
}

#[tokio::test]
async fn a_span_goes_to_the_collector_that_is_configured_when_it_ends() {
    let (first, _first_arrived) = collector().await;
    let (second, mut second_arrived) = collector().await;
    let (traces, settings, _) = started(Some(otlp(&first, 1.0)));
    is_on(&traces).await;
    let span = traces.connection(None, SystemTime::now()).unwrap();

    settings.send(Some(otlp(&second, 1.0))).unwrap();
    tokio::task::yield_now().await;
    traces.end(*span, Ok(()), SystemTime::now());

    let spans = timeout(SOON, second_arrived.recv()).await.unwrap().unwrap();
    assert_eq!(only_span(spans).name, "connection");
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let (traces, _settings, _) = started(None);
    tokio::task::yield_now().await;

    assert!(traces.connection(Some(PARENT), SystemTime::now()).is_none());
}

#[tokio::test]
async fn what_waits_is_sent_when_the_process_ends() {
    let (endpoint, mut arrived) = collector().await;
    let (traces, _settings, exporter) = started(Some(otlp(&endpoint, 1.0)));
    is_on(&traces).await;
    let span = traces.publish(None, SystemTime::now()).unwrap();
    traces.end(*span, Ok(()), SystemTime::now());

    drop(traces);

    timeout(SOON, exporter).await.unwrap().unwrap();
    assert_eq!(only_span(arrived.recv().await.unwrap()).name, "publish");
}

#[tokio::test]
async fn what_an_absent_collector_does_not_take_is_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (traces, _settings, exporter) = started(Some(otlp(&endpoint, 1.0)));
    is_on(&traces).await;
    let span = traces.publish(None, SystemTime::now()).unwrap();
    let counts = traces.clone();
    traces.end(*span, Ok(()), SystemTime::now());

    let dropped = async {
        while counts.spans_dropped() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    timeout(SOON, dropped).await.unwrap();
    assert_eq!(counts.spans_dropped(), 1);
    exporter.abort();
}
