//! Every route of the internal port.

use std::{sync::{Arc, atomic::Ordering}, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::{
    auth::revocations::Revoked,
    broker::publication::ConnectionKey,
    config::load::State,
    protocol::{close::CloseReason, data, reply, request::HISTORY_MAX, topic::Topic},
    worker::{message::Target, pool::{Pool, Unavailable}},
};

/// What a body may have beside the message in it, in bytes.
const BODY_BYTES_MORE: usize = 64 * 1024;

/// A body must be here within it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Channels of one publication at most.
const CHANNELS_MAX: usize = 100;

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something that is needed is not there yet.
    Starting,
    /// Connections are taken.
    Serving,
    /// Connections are still taken, and soon no longer.
    Leaving,
    /// Connections are closed.
    Draining,
}

/// What the routes look at.
#[derive(Debug)]
pub struct Router {
    /// The workers, once they run.
    pub pool: watch::Receiver<Option<Pool>>,
    /// The configuration.
    pub state: watch::Receiver<State>,
    /// How far the process is.
    pub phase: watch::Receiver<Phase>,
    /// Connections that the files of this process allow.
    pub files_max: usize,
}

type Answer = Response<Full<Bytes>>;

/// A refusal of the API: status, code and words.
struct Refused(StatusCode, &'static str, String);

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
    }
}

fn bad(words: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "bad_request", words.into())
}

fn not_found(words: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, "not_found", words.to_owned())
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "application/json", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    data: Box<RawValue>,
    key: Option<String>,
    exclude: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    data: Box<RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    code: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    channel: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    jti: Option<String>,
    user: Option<String>,
    expires: u64,
}

impl Router {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let is_read = method == Method::GET || method == Method::HEAD;
        let answer = match path.as_str() {
            "/livez" | "/readyz" | "/metrics" | "/status" if !is_read => Err(method_not_allowed("GET, HEAD")),
            "/livez" => Ok(self.livez()),
            "/readyz" => Ok(self.readyz()),
            "/metrics" => Ok(self.metrics()),
            "/status" => Ok(json(StatusCode::OK, self.status().to_string())),
            path => match path.strip_prefix("/api/v1/") {
                Some(rest) => self.api(&method, &rest.to_owned(), request).await,
                None => Err(not_found("no such path")),
            },
        };
        answer.unwrap_or_else(|Refused(status, code, message)| {
            let mut answer = json(status, json!({"error": {"code": code, "message": message}}).to_string());
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            if status == StatusCode::METHOD_NOT_ALLOWED {
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            answer
        })
    }

    fn livez(&self) -> Answer {
        let is_alive = self.pool.borrow().as_ref().is_none_or(Pool::is_alive);
        let status = if is_alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json(status, json!({"alive": is_alive}).to_string())
    }

    fn readyz(&self) -> Answer {
        let phase = *self.phase.borrow();
        let is_ready = matches!(phase, Phase::Serving | Phase::Leaving);
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let reason = self.state.borrow().error.clone();
        json(status, json!({"ready": is_ready, "phase": format!("{phase:?}"), "error": reason}).to_string())
    }

    fn metrics(&self) -> Answer {
        let Some(pool) = self.pool.borrow().clone() else {
            return typed(StatusCode::OK, "text/plain; version=0.0.4", "");
        };
        let metrics = &pool.shared.metrics;
        let count = i64::try_from(pool.shared.load.connections()).unwrap_or(i64::MAX);
        let is_draining = pool.shared.is_draining.load(Ordering::Relaxed);
        metrics.active.with_label_values(&["serving"]).set(if is_draining { 0 } else { count });
        metrics.active.with_label_values(&["draining"]).set(if is_draining { count } else { 0 });
        metrics.drain_remaining.set(if is_draining { count } else { 0 });
        let state = self.state.borrow();
        metrics.restart_required.set(i64::try_from(state.restart_required.len()).unwrap_or(i64::MAX));
        metrics.reloads.with_label_values(&["applied"]).reset();
        metrics.reloads.with_label_values(&["applied"]).inc_by(state.reloads.0);
        metrics.reloads.with_label_values(&["refused"]).reset();
        metrics.reloads.with_label_values(&["refused"]).inc_by(state.reloads.1);
        if let Some(settings) = &state.settings {
            metrics.config.reset();
            metrics.config.with_label_values(&[&settings.hash]).set(1);
            let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
            metrics.certificate_expiry.set(settings.certificate_expires.map_or(0, |at| at - now));
        }
        typed(StatusCode::OK, "text/plain; version=0.0.4", metrics.render())
    }

    fn status(&self) -> Value {
        let state = self.state.borrow();
        let pool = self.pool.borrow();
        let settings = state.settings.as_ref();
        let connections = pool.as_ref().map_or(0, |pool| pool.shared.load.connections());
        let wanted = settings.map_or(0, |it| it.spec.max_connections as usize);
        json!({
            "name": settings.map(|it| &it.name),
            "namespace": settings.map(|it| &it.namespace),
            "version": env!("CARGO_PKG_VERSION"),
            "phase": format!("{:?}", *self.phase.borrow()),
            "connections": connections,
            "capacity": wanted.min(self.files_max),
            "config": {
                "hash": settings.map(|it| &it.hash),
                "error": state.error,
                "restartRequired": state.restart_required,
            },
            "broker": {"type": "Memory", "connected": true},
            "certificate": {"expires": settings.and_then(|it| it.certificate_expires)},
        })
    }

    async fn api(&self, method: &Method, path: &str, request: Request<Incoming>) -> Result<Answer, Refused> {
        self.authorize(&request)?;
        let Some(pool) = self.pool.borrow().clone() else {
            return Err(Refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the gateway is starting".to_owned()));
        };
        let parts: Vec<String> = path.split('/').map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_get = method == Method::GET;
        let query = request.uri().query().unwrap_or_default().to_owned();
        match (is_get, parts.as_slice()) {
            (true, ["stats"]) => self.stats(&pool).await,
            (true, ["connections"]) => connections(&pool).await,
            (true, ["channels"]) => channels(&pool).await,
            (true, ["channels", name, "presence"]) => self.presence(&pool, name).await,
            (true, ["channels", name, "history"]) => self.history(&pool, name, &query).await,
            (false, _) if method != Method::POST => Err(method_not_allowed("GET, POST")),
            (false, ["publish"]) => self.publish(&pool, &self.body(request).await?).await,
            (false, ["broadcast"]) => self.message(&pool, Topic::all(), &self.body(request).await?).await,
            (false, ["users", user, "messages"]) => self.message(&pool, Topic::user(user), &self.body(request).await?).await,
            (false, ["users", user, "disconnect"]) => disconnect(&pool, Target::User((*user).into()), &self.body(request).await?).await,
            (false, ["users", user, what @ ("subscribe" | "unsubscribe")]) => {
                let channel: Channel = parse(&self.body(request).await?)?;
                let topic = topic(&channel.channel)?;
                let count = pool.subscribe(&(*user).into(), &topic, *what == "subscribe").await?;
                Ok(json(StatusCode::OK, json!({"connections": count}).to_string()))
            }
            (false, ["connections", id, "disconnect"]) => {
                let key = ConnectionKey::parse(id).ok_or_else(|| not_found("no such connection"))?;
                disconnect(&pool, Target::Connection(key), &self.body(request).await?).await
            }
            (false, ["connections", id, "messages"]) => {
                let key = ConnectionKey::parse(id).ok_or_else(|| not_found("no such connection"))?;
                let data: Data = parse(&self.body(request).await?)?;
                let is_here = pool.send(key, &self.compact(&data.data)?).await?;
                if is_here { Ok(json(StatusCode::OK, "{}")) } else { Err(not_found("no such connection")) }
            }
            (false, ["revocations"]) => revoke(&pool, &self.body(request).await?).await,
            _ => Err(not_found("no such path")),
        }
    }

    /// Compares with every key, in the same time wherever they differ.
    fn authorize(&self, request: &Request<Incoming>) -> Result<(), Refused> {
        let state = self.state.borrow();
        let keys = state.settings.as_ref().map_or(&[][..], |it| &it.api_keys);
        if keys.is_empty() {
            return Err(not_found("the server API is off: name a Secret in spec.api.keySecretName"));
        }
        let given = request.headers().get(header::AUTHORIZATION).and_then(|it| it.as_bytes().strip_prefix(b"Bearer "));
        let given = Sha256::digest(given.unwrap_or_default());
        let mut is_ok = subtle::Choice::from(0);
        for key in keys {
            is_ok |= Sha256::digest(key).as_slice().ct_eq(given.as_slice());
        }
        if bool::from(is_ok) {
            Ok(())
        } else {
            let words = "Authorization: Bearer with an API key is needed".to_owned();
            Err(Refused(StatusCode::UNAUTHORIZED, "unauthorized", words))
        }
    }

    fn message_bytes_max(&self) -> usize {
        let settings = self.state.borrow().settings.clone();
        settings.map_or(0, |it| usize::try_from(it.spec.max_message_size.bytes()).unwrap_or(usize::MAX))
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Refused> {
        let limit = self.message_bytes_max().saturating_add(BODY_BYTES_MORE);
        let body = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Err(_) => Err(Refused(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come within 10 s".to_owned())),
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a body has at most {limit} bytes")))
            }
            Ok(Err(_)) => Err(bad("the body broke off")),
        }
    }

    /// The data without white space, if it is no longer than a message may be.
    fn compact(&self, json: &RawValue) -> Result<Bytes, Refused> {
        let data = data::compact(json.get()).into_owned();
        let max = self.message_bytes_max();
        if data.len() > max {
            return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("data has at most {max} bytes")));
        }
        Ok(data.into())
    }

    fn has_rule(&self, topic: &Topic) -> Result<(), Refused> {
        let settings = self.state.borrow().settings.clone();
        if settings.is_some_and(|it| it.rule(topic.name()).is_some()) {
            Ok(())
        } else {
            Err(not_found("no rule matches this channel"))
        }
    }

    async fn publish(&self, pool: &Pool, body: &[u8]) -> Result<Answer, Refused> {
        let it: Publication = parse(body)?;
        let names: Vec<_> = it.channel.iter().chain(&it.channels).collect();
        if !(1..=CHANNELS_MAX).contains(&names.len()) {
            return Err(bad("channel or 1 to 100 channels"));
        }
        if it.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 64) {
            return Err(bad("key is 1 to 64 bytes"));
        }
        let except = match &it.exclude {
            None => None,
            Some(id) => Some(ConnectionKey::parse(id).ok_or_else(|| bad("exclude is no connection"))?),
        };
        let data = self.compact(&it.data)?;
        let topics: Vec<Topic> = names.iter().map(|name| topic(name)).collect::<Result<_, _>>()?;
        topics.iter().try_for_each(|topic| self.has_rule(topic))?;
        let mut results = Vec::new();
        for topic in topics {
            let key = it.key.as_deref().map(Arc::from);
            let at = pool.publish(topic.clone(), data.clone(), key, except).await?;
            results.push(match at {
                Some(at) => json!({"channel": topic.name(), "epoch": at.epoch.to_string(), "offset": at.offset}),
                None => json!({"channel": topic.name()}),
            });
        }
        Ok(json(StatusCode::OK, json!({"results": results}).to_string()))
    }

    async fn message(&self, pool: &Pool, topic: Topic, body: &[u8]) -> Result<Answer, Refused> {
        let it: Data = parse(body)?;
        pool.publish(topic, self.compact(&it.data)?, None, None).await?;
        Ok(json(StatusCode::OK, "{}"))
    }

    async fn stats(&self, pool: &Pool) -> Result<Answer, Refused> {
        let metrics = &pool.shared.metrics;
        let delivery = &metrics.delivery;
        let count = delivery.get_sample_count();
        let average = if count == 0 { 0.0 } else { delivery.get_sample_sum() / count as f64 * 1_000.0 };
        let errors: u64 = crate::protocol::error::ErrorCode::ALL.iter().map(|it| metrics.errors.with_label_values(&[it.code()]).get()).sum();
        let received: u64 = crate::telemetry::metrics::TYPES.iter().map(|it| metrics.received.with_label_values(&[it]).get()).sum();
        let body = json!({
            "totalConnections": metrics.connections.get(),
            "activeConnections": pool.shared.load.connections(),
            "users": pool.shared.load.users(),
            "messagesReceived": received,
            "messagesDelivered": metrics.delivered.get(),
            "errors": errors,
            "averageLatencyMs": average,
            "channels": pool.channels().await?.len(),
        });
        Ok(json(StatusCode::OK, body.to_string()))
    }

    async fn presence(&self, pool: &Pool, name: &str) -> Result<Answer, Refused> {
        let topic = topic(name)?;
        self.has_rule(&topic)?;
        let (members, total) = pool.presence(&topic).await?;
        let names: Vec<_> = members.iter().map(|it| it.connection.to_string()).collect();
        let mut out = Vec::new();
        let members = members.iter().zip(&names).map(|(it, name)| reply::Present {
            user: it.user.as_deref(),
            connection: name,
            info: it.info.as_deref(),
        });
        reply::presence_payload(&mut out, name, members, total);
        Ok(json(StatusCode::OK, out))
    }

    async fn history(&self, pool: &Pool, name: &str, query: &str) -> Result<Answer, Refused> {
        let topic = topic(name)?;
        self.has_rule(&topic)?;
        let limit = query.split('&').find_map(|it| it.strip_prefix("limit="));
        let limit = match limit.map(str::parse::<usize>) {
            None => HISTORY_MAX,
            Some(Ok(limit @ 1..=HISTORY_MAX)) => limit,
            Some(_) => return Err(bad("limit is 1 to 100")),
        };
        let page = pool.history(&topic, None, limit).await?;
        let Some(Ok(page)) = page else { return Err(not_found("this channel has no history")) };
        let mut out = Vec::new();
        reply::history_payload(&mut out, name, page.position, page.messages.iter().map(|it| it.past()), page.more);
        Ok(json(StatusCode::OK, out))
    }
}

fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn method_not_allowed(allowed: &str) -> Refused {
    Refused(StatusCode::METHOD_NOT_ALLOWED, "method", format!("this path takes {allowed}"))
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body is not what this path takes: {error}")))
}

fn topic(name: &str) -> Result<Topic, Refused> {
    Topic::channel(name).map_err(|error| Refused(StatusCode::BAD_REQUEST, "channel_invalid", error.to_string()))
}

/// Undoes the percent encoding of one part of a path (RFC 3986, section 2.1).
fn decode(part: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |it: Option<u8>| char::from(it?).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let mut ahead = bytes.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn connections(pool: &Pool) -> Result<Answer, Refused> {
    let list: Vec<_> = pool.connections().await?.into_iter().take(1_000).map(|it| {
        json!({"connection": it.key.to_string(), "user": it.user, "subscriptions": it.subscriptions, "ageMs": it.age_ms})
    }).collect();
    let body = json!({"connections": list, "total": pool.shared.load.connections(), "pods": {"asked": 1, "answered": 1}});
    Ok(json(StatusCode::OK, body.to_string()))
}

async fn channels(pool: &Pool) -> Result<Answer, Refused> {
    let all = pool.channels().await?;
    let total = all.len();
    let list: Vec<_> = all.into_iter().take(1_000).map(|(channel, count)| json!({"channel": channel, "subscribers": count})).collect();
    let body = json!({"channels": list, "total": total, "pods": {"asked": 1, "answered": 1}});
    Ok(json(StatusCode::OK, body.to_string()))
}

async fn disconnect(pool: &Pool, target: Target, body: &[u8]) -> Result<Answer, Refused> {
    let it: Disconnect = if body.is_empty() { Disconnect::default() } else { parse(body)? };
    let reason = match it.code {
        None => CloseReason::Disconnected,
        Some(code @ (4100..=4199 | 4900..=4999)) => CloseReason::Application(code),
        Some(_) => return Err(bad("code is 4100 to 4199 (come back) or 4900 to 4999 (do not)")),
    };
    let count = pool.disconnect(&target, reason).await?;
    if count == 0 && matches!(target, Target::Connection(_)) {
        return Err(not_found("no such connection"));
    }
    Ok(json(StatusCode::OK, json!({"connections": count}).to_string()))
}

async fn revoke(pool: &Pool, body: &[u8]) -> Result<Answer, Refused> {
    let it: Revocation = parse(body)?;
    let revoked = match (it.jti, it.user) {
        (Some(jti), None) => Revoked::Jti(jti),
        (None, Some(user)) => Revoked::User(user),
        _ => return Err(bad("jti or user, one of them")),
    };
    match pool.revoke(revoked, it.expires, unix_now()).await? {
        Ok(count) => Ok(json(StatusCode::OK, json!({"connections": count}).to_string())),
        Err(full) => Err(Refused(StatusCode::INSUFFICIENT_STORAGE, "full", full.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path_are_decoded() {
        assert_eq!(decode("a%20b%2Fc"), "a b/c");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz"), "%zz");
    }
}
