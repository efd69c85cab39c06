//! Rules between fields, in the user's words; the resource's CEL rules mean the same.

use std::collections::BTreeSet;

use crate::{
    manifest::Finding,
    v1alpha1::{AuthMode, BrokerType, Rate, RealtimeGatewaySpec},
    value::Duration,
};

/// Everything that is wrong with a spec whose fields are right one by one.
pub fn check(spec: &RealtimeGatewaySpec) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    heartbeat(spec, &mut found);
    sizes(spec, &mut found);
    rates(spec, &mut found);
    drain(spec, &mut found);
    auth(spec, &mut found);
    replicas(spec, &mut found);
    if !spec.path.starts_with('/') || spec.path.contains(['?', '#', ' ']) {
        found.add("path", &spec.path, "is no path", "a path like /ws");
    }
    for (i, rule) in spec.channels.iter().flatten().enumerate() {
        if let Some(history) = &rule.history {
            let path = format!("channels[{i}].history.maxAge");
            found.within(&path, history.max_age, 1_000, 30 * 86_400_000);
        }
    }
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, path: &str, value: impl ToString, problem: &str, right: &str) {
        self.0.push(Finding {
            path: format!("spec.{path}"),
            value: value.to_string(),
            problem: problem.to_owned(),
            right: right.to_owned(),
        });
    }

    fn within(&mut self, path: &str, value: Duration, min_ms: u64, max_ms: u64) {
        if !(min_ms..=max_ms).contains(&value.millis()) {
            let right = format!("{min_ms}ms to {}s", max_ms / 1_000);
            self.add(path, value, "is out of bounds", &right);
        }
    }
}

fn heartbeat(spec: &RealtimeGatewaySpec, found: &mut Found) {
    if spec.ping_period >= spec.pong_wait {
        let right = format!("less than pongWait ({})", spec.pong_wait);
        found.add("pingPeriod", spec.ping_period, "leaves no time for the pong", &right);
    }
    found.within("pingPeriod", spec.ping_period, 1_000, 3_600_000);
    found.within("pongWait", spec.pong_wait, 1_000, 7_200_000);
    found.within("writeWait", spec.write_wait, 100, 600_000);
    found.within("limits.handshakeTimeout", spec.limits.handshake_timeout, 100, 300_000);
    found.within("limits.idleTimeout", spec.limits.idle_timeout, 0, 30 * 86_400_000);
    found.within("batching.maxDelay", spec.batching.max_delay, 0, 10_000);
}

fn sizes(spec: &RealtimeGatewaySpec, found: &mut Found) {
    let message = spec.max_message_size;
    if !(125..=64 << 20).contains(&message.bytes()) {
        found.add("maxMessageSize", message, "is out of bounds", "125 to 64Mi");
    }
    let queue = spec.limits.send_queue_bytes;
    if queue < message {
        let right = format!("at least maxMessageSize ({message})");
        found.add("limits.sendQueueBytes", queue, "cannot hold one message", &right);
    }
    if queue.bytes() > 1 << 30 {
        found.add("limits.sendQueueBytes", queue, "is out of bounds", "at most 1Gi");
    }
}

fn rates(spec: &RealtimeGatewaySpec, found: &mut Found) {
    let mut check = |path: &str, rate: &Rate| {
        if rate.per_second > 0 && rate.burst == 0 {
            let path = format!("limits.{path}.burst");
            found.add(&path, 0, "would refuse everything", "at least 1");
        }
    };
    check("connectRate", &spec.limits.connect_rate);
    check("perAddress.connectRate", &spec.limits.per_address.connect_rate);
    check("messageRate", &spec.limits.message_rate);
    check("subscribeRate", &spec.limits.subscribe_rate);
    let bytes = &spec.limits.byte_rate;
    if bytes.per_second.bytes() > 0 && bytes.burst < bytes.per_second {
        let right = format!("at least perSecond ({})", bytes.per_second);
        found.add("limits.byteRate.burst", bytes.burst, "is less than a second's worth", &right);
    }
}

fn drain(spec: &RealtimeGatewaySpec, found: &mut Found) {
    let period = spec.drain.period;
    if period.millis() < u64::from(spec.max_connections) {
        let right = format!(
            "at least {}ms for maxConnections {}",
            spec.max_connections, spec.max_connections
        );
        found.add(
            "drain.period",
            period,
            "is too short to close 1,000 connections a second",
            &right,
        );
    }
    if period.millis() + spec.drain.endpoint_grace.millis() > 600_000 {
        found.add(
            "drain.period",
            period,
            "with endpointGrace is longer than 10m",
            "at most 10m together",
        );
    }
}

fn auth(spec: &RealtimeGatewaySpec, found: &mut Found) {
    let jwt = spec.auth.jwt.as_ref();
    let has_keys = jwt.is_some_and(|it| !it.keys.is_empty() || it.jwks.is_some());
    if spec.auth.mode != AuthMode::Disabled && !has_keys {
        found.add(
            "auth",
            "",
            "has no key to check tokens with",
            "auth.jwt with keys or jwks, or auth.mode: Disabled to let everybody in",
        );
    }
    let Some(jwt) = jwt else { return };
    if !jwt.keys.is_empty() && jwt.keys_secret_name.is_none() {
        found.add("auth.jwt.keys", "", "are in no Secret", "auth.jwt.keysSecretName");
    }
    let mut kids = BTreeSet::new();
    for (i, key) in jwt.keys.iter().enumerate() {
        let path = format!("auth.jwt.keys[{i}]");
        let is_name = key.key.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
        if !is_name || key.key.starts_with("..") {
            found.add(
                &format!("{path}.key"),
                &key.key,
                "is no key of a Secret",
                "letters, digits, '-', '_', '.'",
            );
        }
        if let Some(kid) = &key.kid
            && !kids.insert(kid)
        {
            found.add(
                &format!("{path}.kid"),
                kid,
                "is there twice",
                "a kid of its own for each key",
            );
        }
    }
    if let Some(jwks) = &jwt.jwks {
        if !jwks.url.starts_with("https://") {
            found.add("auth.jwt.jwks.url", &jwks.url, "is not https", "an https URL");
        }
        found.within("auth.jwt.jwks.refreshPeriod", jwks.refresh_period, 10_000, 86_400_000);
    }
}

fn replicas(spec: &RealtimeGatewaySpec, found: &mut Found) {
    let is_memory = spec.broker.kind == BrokerType::Memory;
    let why = "with broker.type: Memory: a broadcast would reach only one replica's clients";
    if is_memory && spec.replicas > 1 {
        found.add("replicas", spec.replicas, why, "1, or broker.type: NATS");
    }
    if is_memory == spec.broker.nats.is_some() {
        found.add("broker.nats", "", "goes with broker.type: NATS", "both or neither");
    }
    if let Some(scaling) = &spec.autoscaling {
        if is_memory && scaling.max_replicas > 1 {
            found.add(
                "autoscaling.maxReplicas",
                scaling.max_replicas,
                why,
                "1, or broker.type: NATS",
            );
        }
        if scaling.min_replicas > scaling.max_replicas {
            let right = format!("at most maxReplicas ({})", scaling.max_replicas);
            found.add(
                "autoscaling.minReplicas",
                scaling.min_replicas,
                "is above maxReplicas",
                &right,
            );
        }
    }
}
