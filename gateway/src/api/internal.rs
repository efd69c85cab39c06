//! Every request of the internal port, from its path to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, request::Parts};
use hyper::body::Body;
use serde_json::json;
use tokio::time::timeout;

use super::{
    answer::{self, Answer},
    batch, body,
    error::{ANSWER_TIMEOUT, ApiError},
    gateway::Gateway,
    operation::Reader,
    query, question,
    route::{ApiRoute, Read, Route},
    status::Reason,
};

/// The document that describes the server API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// The longest `traceparent` that is passed on; version 00 has 55 bytes (W3C Trace Context).
const TRACEPARENT_BYTES_MAX: usize = 128;

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Marks a request on a connection beyond the bound: probes are answered, the rest is refused.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;

/// The routes of the internal port. Cheap to clone.
#[derive(Debug)]
pub struct Internal<G> {
    gateway: Arc<G>,
}

impl<G> Clone for Internal<G> {
    fn clone(&self) -> Self {
        Self { gateway: Arc::clone(&self.gateway) }
    }
}

impl<G: Gateway> Internal<G> {
    /// The routes of a gateway.
    pub fn new(gateway: Arc<G>) -> Self {
        Self { gateway }
    }

    /// What stands behind the routes.
    pub fn gateway(&self) -> &G {
        &self.gateway
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, mut body) = request.into_parts();
        let answer = match self.admit(&parts) {
            Ok(Route::Api(ApiRoute::Batch)) => {
                let results = batch::results(Arc::clone(&self.gateway), self.reader(&parts), body);
                return answer::with(StatusCode::OK, NDJSON, results);
            }
            Ok(route) => self.try_answer(route, &parts, &mut body).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => answer,
            Err(error) => {
                if !body::is_held_back(&parts.headers) {
                    body::drain(&mut body).await;
                }
                answer::refusal(&error)
            }
        }
    }

    /// What a request is about, where it may ask at all.
    fn admit(&self, parts: &Parts) -> Result<Route, ApiError> {
        let path = parts.uri.path();
        if Route::needs_key(path) {
            if parts.extensions.get::<Crowded>().is_some() {
                return Err(ApiError::Full("too many connections to the internal port"));
            }
            // The key comes first, so that a stranger does not learn what there is.
            self.gateway.api_keys().check(&parts.headers)?;
        }
        let route = Route::parse(&parts.method, path)?;
        if route.has_body() {
            query::none(parts.uri.query())?;
            body::check_encoding(&parts.headers)?;
        }
        Ok(route)
    }

    async fn try_answer<B>(
        &self,
        route: Route,
        parts: &Parts,
        body: &mut B,
    ) -> Result<Answer, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match route {
            Route::Livez => health("live", &self.gateway.not_live()),
            Route::Readyz => health("ready", &self.gateway.not_ready()),
            Route::Metrics => {
                Ok(answer::whole(StatusCode::OK, answer::METRICS, self.gateway.metrics()))
            }
            Route::Status => answer::value(StatusCode::OK, &self.gateway.status()),
            Route::OpenApi => Ok(answer::text(StatusCode::OK, OPENAPI)),
            Route::Api(ApiRoute::Read(read)) => self.read(read, parts.uri.query()).await,
            Route::Api(route) => {
                let reader = self.reader(parts);
                let body_bytes_max =
                    reader.message_bytes_max.saturating_add(body::BESIDE_BYTES_MAX);
                let body = body::read(body, body_bytes_max).await?;
                let done = reader.body(route, &body)?.run(&*self.gateway).await?;
                Ok(answer::text(StatusCode::OK, done))
            }
        }
    }

    fn reader(&self, parts: &Parts) -> Reader {
        Reader {
            message_bytes_max: self.gateway.message_bytes_max(),
            traceparent: traceparent(&parts.headers),
        }
    }

    /// Answers a question.
    ///
    /// # Errors
    ///
    /// [`ApiError::Invalid`] for a query that is not the question's, what the gateway answers, and
    /// [`ApiError::Unavailable`] where it does not.
    pub async fn read(&self, read: Read, query: Option<&str>) -> Result<Answer, ApiError> {
        let found = timeout(ANSWER_TIMEOUT, question::ask(&*self.gateway, read, query)).await;
        Ok(answer::text(StatusCode::OK, found.map_err(|_| ApiError::silent())??))
    }
}

fn health(what: &str, reasons: &[Reason]) -> Result<Answer, ApiError> {
    let is_well = reasons.is_empty();
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::value(status, &json!({what: is_well, "reasons": reasons}))
}

fn traceparent(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get("traceparent")?;
    (value.len() <= TRACEPARENT_BYTES_MAX).then(|| value.clone())
}
