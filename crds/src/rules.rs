//! What fields must be to each other: each rule once in CEL, for the API server, and once in Rust, for `check` and the gateway.
//!
//! A rule stands as deep in the schema as it can: a stored object that breaks a rule of the whole spec could not even be
//! scaled any more, while rules further in only bind what is changed (Kubernetes' ratcheting). Adding a rule at the top is a
//! breaking change.

use crate::{
    v1alpha1::{AuthMode, BrokerKind, ByteRate, ClientAddressFrom, Jwt, Rate, RealtimeGatewaySpec},
    value::Duration,
};

/// One rule.
pub struct Rule {
    /// The part of the spec whose schema has the rule; empty is the spec itself, a list is its items.
    pub at: &'static str,
    /// The rule in CEL, where CEL can say it.
    pub cel: Option<&'static str>,
    /// What must be, in the user's words.
    pub message: &'static str,
    /// Where a spec breaks the rule.
    pub breaches: fn(&RealtimeGatewaySpec) -> Vec<Breach>,
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The field, such as `spec.pingPeriod`.
    pub path: String,
    /// What it is; empty where it is missing.
    pub value: String,
    /// What is wrong.
    pub problem: String,
}

/// The spec's breaches of all rules, each with what must be.
pub fn breaches(spec: &RealtimeGatewaySpec) -> Vec<(Breach, &'static str)> {
    RULES
        .iter()
        .flat_map(|rule| (rule.breaches)(spec).into_iter().map(|breach| (breach, rule.message)))
        .collect()
}

const DRAIN_MAX: Duration = Duration::from_secs(600);

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        at: "",
        cel: Some("duration(self.pingPeriod) < duration(self.pongWait)"),
        message: "pingPeriod must be shorter than pongWait, or connections would end before they are pinged",
        breaches: |spec| {
            one_if(spec.ping_period >= spec.pong_wait, || Breach {
                path: "spec.pingPeriod".into(),
                value: spec.ping_period.to_string(),
                problem: format!("not shorter than pongWait ({})", spec.pong_wait),
            })
        },
    },
    Rule {
        at: "",
        cel: Some("self.broker.type != 'Memory' || self.replicas <= 1"),
        message: "more than one replica needs broker.type: NATS; with Memory a broadcast would reach only one replica's clients",
        breaches: |spec| {
            one_if(spec.broker.kind == BrokerKind::Memory && spec.replicas > 1, || Breach {
                path: "spec.replicas".into(),
                value: spec.replicas.to_string(),
                problem: "more than one replica with broker.type: Memory".into(),
            })
        },
    },
    Rule {
        at: "",
        cel: Some(
            "self.broker.type != 'Memory' || !has(self.autoscaling) || self.autoscaling.maxReplicas <= 1",
        ),
        message: "maxReplicas above 1 needs broker.type: NATS; with Memory a broadcast would reach only one replica's clients",
        breaches: |spec| {
            let replicas =
                spec.autoscaling.as_ref().map_or(1, |autoscaling| autoscaling.max_replicas);
            one_if(spec.broker.kind == BrokerKind::Memory && replicas > 1, || Breach {
                path: "spec.autoscaling.maxReplicas".into(),
                value: replicas.to_string(),
                problem: "more than one replica with broker.type: Memory".into(),
            })
        },
    },
    Rule {
        at: "",
        cel: Some("duration(self.drain.period).getMilliseconds() >= self.maxConnections"),
        message: "drain.period must be at least 1s for every 1,000 of maxConnections, since 1,000 connections are closed per second",
        breaches: |spec| {
            one_if(spec.drain.period.as_millis() < u64::from(spec.max_connections), || Breach {
                path: "spec.drain.period".into(),
                value: spec.drain.period.to_string(),
                problem: format!("too short for {} connections", spec.max_connections),
            })
        },
    },
    Rule {
        at: "",
        cel: Some(
            "quantity(string(self.limits.sendQueueBytes)).compareTo(quantity(string(self.maxMessageSize))) >= 0",
        ),
        message: "limits.sendQueueBytes must be at least maxMessageSize, or a message of that size could not be delivered",
        breaches: |spec| {
            one_if(spec.limits.send_queue_bytes < spec.max_message_size, || Breach {
                path: "spec.limits.sendQueueBytes".into(),
                value: spec.limits.send_queue_bytes.to_string(),
                problem: format!("smaller than maxMessageSize ({})", spec.max_message_size),
            })
        },
    },
    Rule {
        at: "clientAddress",
        cel: Some("self.from == 'Socket' || size(self.trustedProxies) > 0"),
        message: "clientAddress.from other than Socket needs trustedProxies: nobody else's word counts",
        breaches: |spec| {
            let address = &spec.client_address;
            one_if(
                address.from != ClientAddressFrom::Socket && address.trusted_proxies.is_empty(),
                || Breach {
                    path: "spec.clientAddress.trustedProxies".into(),
                    value: String::new(),
                    problem: "no proxy is trusted".into(),
                },
            )
        },
    },
    Rule {
        at: "limits.connectRate",
        cel: Some(RATE_CEL),
        message: RATE,
        breaches: |spec| rate("spec.limits.connectRate", spec.limits.connect_rate),
    },
    Rule {
        at: "limits.perAddress.connectRate",
        cel: Some(RATE_CEL),
        message: RATE,
        breaches: |spec| {
            rate("spec.limits.perAddress.connectRate", spec.limits.per_address.connect_rate)
        },
    },
    Rule {
        at: "limits.messageRate",
        cel: Some(RATE_CEL),
        message: RATE,
        breaches: |spec| rate("spec.limits.messageRate", spec.limits.message_rate),
    },
    Rule {
        at: "limits.subscribeRate",
        cel: Some(RATE_CEL),
        message: RATE,
        breaches: |spec| rate("spec.limits.subscribeRate", spec.limits.subscribe_rate),
    },
    Rule {
        at: "limits.byteRate",
        cel: Some(
            "quantity(string(self.perSecond)).compareTo(quantity('0')) == 0 \
             || quantity(string(self.burst)).compareTo(quantity('1')) >= 0",
        ),
        message: RATE,
        breaches: |spec| {
            let ByteRate { per_second, burst } = spec.limits.byte_rate;
            one_if(per_second.bytes() > 0 && burst.bytes() == 0, || {
                no_burst("spec.limits.byteRate")
            })
        },
    },
    Rule {
        at: "auth",
        cel: Some("self.mode == 'Disabled' || has(self.jwt)"),
        message: NEEDS_KEY,
        breaches: |spec| {
            one_if(spec.auth.mode != AuthMode::Disabled && spec.auth.jwt.is_none(), || Breach {
                path: "spec.auth".into(),
                value: String::new(),
                problem: NO_KEY.into(),
            })
        },
    },
    Rule {
        at: "auth.jwt",
        cel: Some("size(self.keys) > 0 || has(self.jwks)"),
        message: "auth needs a key in auth.jwt.keys, or auth.jwt.jwks, or auth.mode: Disabled and no jwt",
        breaches: |spec| {
            let has_none = |jwt: &Jwt| jwt.keys.is_empty() && jwt.jwks.is_none();
            one_if(spec.auth.jwt.as_ref().is_some_and(has_none), || Breach {
                path: "spec.auth.jwt".into(),
                value: String::new(),
                problem: NO_KEY.into(),
            })
        },
    },
    Rule {
        at: "auth.jwt",
        cel: Some("size(self.keys) == 0 || has(self.keysSecretName)"),
        message: "auth.jwt.keys needs keysSecretName: the Secret that has the keys' files",
        breaches: |spec| {
            let has_none = |jwt: &Jwt| !jwt.keys.is_empty() && jwt.keys_secret_name.is_none();
            one_if(spec.auth.jwt.as_ref().is_some_and(has_none), || Breach {
                path: "spec.auth.jwt.keysSecretName".into(),
                value: String::new(),
                problem: "missing".into(),
            })
        },
    },
    Rule {
        at: "auth.jwt",
        cel: Some(
            "self.keys.all(one, !has(one.kid) || self.keys.exists_one(same, has(same.kid) && same.kid == one.kid))",
        ),
        message: "auth.jwt.keys must not have the same kid twice",
        breaches: repeated_kids,
    },
    Rule {
        at: "drain",
        cel: Some("duration(self.period) + duration(self.endpointGrace) <= duration('10m')"),
        message: "drain.period and drain.endpointGrace together must be at most 10m, since pods are ended after 630 s",
        breaches: |spec| {
            let whole = spec.drain.period.get() + spec.drain.endpoint_grace.get();
            one_if(whole > DRAIN_MAX.get(), || Breach {
                path: "spec.drain.period".into(),
                value: spec.drain.period.to_string(),
                problem: format!(
                    "with endpointGrace ({}) longer than 10m",
                    spec.drain.endpoint_grace
                ),
            })
        },
    },
    Rule {
        at: "broker",
        cel: Some("(self.type == 'NATS') == has(self.nats)"),
        message: "broker.nats must be there with broker.type: NATS, and only then",
        breaches: |spec| {
            let (is_nats, has_nats) =
                (spec.broker.kind == BrokerKind::Nats, spec.broker.nats.is_some());
            one_if(is_nats != has_nats, || Breach {
                path: "spec.broker.nats".into(),
                value: String::new(),
                problem: if is_nats {
                    "missing with type: NATS"
                } else {
                    "there with type: Memory"
                }
                .into(),
            })
        },
    },
    Rule {
        at: "autoscaling",
        cel: Some("self.minReplicas <= self.maxReplicas"),
        message: "minReplicas must not be above maxReplicas",
        breaches: |spec| match &spec.autoscaling {
            Some(autoscaling) => {
                one_if(autoscaling.min_replicas > autoscaling.max_replicas, || Breach {
                    path: "spec.autoscaling.minReplicas".into(),
                    value: autoscaling.min_replicas.to_string(),
                    problem: format!("above maxReplicas ({})", autoscaling.max_replicas),
                })
            }
            None => Vec::new(),
        },
    },
    Rule {
        at: "route",
        cel: Some("!has(self.ingressClassName) || size(self.parentRefs) == 0"),
        message: "route must have ingressClassName (an Ingress) or parentRefs (an HTTPRoute), not both",
        breaches: |spec| match &spec.route {
            Some(route) => {
                one_if(route.ingress_class_name.is_some() && !route.parent_refs.is_empty(), || {
                    Breach {
                        path: "spec.route.ingressClassName".into(),
                        value: route.ingress_class_name.clone().unwrap_or_default(),
                        problem: "there beside parentRefs".into(),
                    }
                })
            }
            None => Vec::new(),
        },
    },
    Rule {
        at: "networkPolicy.internalFrom",
        cel: Some("has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))"),
        message: "each of networkPolicy.internalFrom must have ipBlock, or podSelector, namespaceSelector or both",
        breaches: peers_unclear,
    },
];

/// The problem of a gateway that nobody could connect to. The words are promised.
pub const NO_KEY: &str = "no key and no `auth.mode: Disabled`";

/// What a gateway that nobody could connect to needs.
pub const NEEDS_KEY: &str =
    "auth needs a key in auth.jwt.keys, or auth.jwt.jwks, or auth.mode: Disabled";

const RATE: &str = "burst must be at least 1 where perSecond is not 0, or nothing would ever pass";
const RATE_CEL: &str = "self.perSecond == 0 || self.burst >= 1";

fn rate(path: &str, Rate { per_second, burst }: Rate) -> Vec<Breach> {
    one_if(per_second > 0 && burst == 0, || no_burst(path))
}

fn no_burst(path: &str) -> Breach {
    Breach {
        path: format!("{path}.burst"),
        value: "0".into(),
        problem: "nothing would ever pass".into(),
    }
}

fn repeated_kids(spec: &RealtimeGatewaySpec) -> Vec<Breach> {
    let keys = spec.auth.jwt.iter().flat_map(|jwt| jwt.keys.iter().enumerate());
    let mut seen = std::collections::BTreeSet::new();
    keys.filter_map(|(index, key)| Some((index, key.kid.as_deref()?)))
        .filter(|(_, kid)| !seen.insert(*kid))
        .map(|(index, kid)| Breach {
            path: format!("spec.auth.jwt.keys[{index}].kid"),
            value: kid.to_owned(),
            problem: "there already".into(),
        })
        .collect()
}

fn peers_unclear(spec: &RealtimeGatewaySpec) -> Vec<Breach> {
    let peers = spec.network_policy.internal_from.iter().enumerate();
    peers
        .filter(|(_, peer)| {
            let has_selector = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
            peer.ip_block.is_some() == has_selector
        })
        .map(|(index, _)| Breach {
            path: format!("spec.networkPolicy.internalFrom[{index}]"),
            value: String::new(),
            problem: "names nobody, or addresses and pods at once".into(),
        })
        .collect()
}

fn one_if(is_broken: bool, breach: impl FnOnce() -> Breach) -> Vec<Breach> {
    if is_broken { vec![breach()] } else { Vec::new() }
}
