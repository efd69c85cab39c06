//! What `/status` says of this pod, and why it is not live or not ready.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headgate_crds::v1alpha1::BrokerKind;

use super::{drain::Phase, node::Node};
use crate::{
    api::status::{
        Broker, Certificate, Config, Drain, DrainState, Finding, Reason, Refused, Secrets, State,
        Status,
    },
    config, nats,
};

/// A worker that has not shown life for so long is stuck: it does so twenty times a second.
const STUCK: Duration = Duration::from_secs(5);

/// Findings of a refused manifest that are told.
const FINDINGS_MAX: usize = 100;

impl Node {
    /// The state of this pod.
    pub(super) fn pod_status(&self) -> Status {
        let phase = *self.phase.borrow();
        let state = self.state.borrow().clone();
        let running = self.running.borrow().clone();
        let connections = running.as_ref().map_or(0, |it| it.pool.shared.load.connections());
        let capacity = running.as_ref().map_or(0, |it| it.pool.shared.settings.load().capacity);
        Status {
            name: self.document.name.clone(),
            namespace: self.document.namespace.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: match phase {
                Phase::Starting => State::Starting,
                Phase::Serving => State::Serving,
                Phase::Grace { .. } | Phase::Closing { .. } | Phase::Done => State::Draining,
            },
            not_ready: self.reasons_not_ready(),
            connections: connections as u64,
            capacity: capacity.into(),
            refused_full_30s: self.full.load(Ordering::Relaxed),
            config: configuration(&state),
            secrets: Secrets {
                missing: state.missing.iter().map(ToString::to_string).collect(),
                vanished: state.vanished.iter().map(ToString::to_string).collect(),
            },
            drain: drain(phase, connections as u64),
            broker: self.broker_status(),
            certificate: state.certificate_not_after.map(|not_after| Certificate { not_after }),
        }
    }

    fn broker_status(&self) -> Broker {
        let shared = self.broker.borrow();
        match self.document.spec.broker.kind {
            BrokerKind::Memory => Broker { kind: "Memory", connected: true, problem: None },
            BrokerKind::Nats => {
                let state = shared.as_ref().map(|it| it.state.borrow().clone());
                let problem = match &state {
                    Some(nats::State::Refused(problem)) => Some(problem.clone()),
                    Some(nats::State::Connecting | nats::State::Lost) => {
                        shared.as_ref().and_then(|it| it.unreachable.borrow().clone())
                    }
                    Some(nats::State::Connected) => {
                        shared.as_ref().and_then(|it| it.complaint.borrow().clone())
                    }
                    None => None,
                };
                let connected = state == Some(nats::State::Connected);
                Broker { kind: "NATS", connected, problem }
            }
        }
    }

    /// Why the process should be restarted.
    pub(super) fn reasons_not_live(&self) -> Vec<Reason> {
        let running = self.running.borrow();
        let is_alive = running.as_ref().is_none_or(|it| it.pool.shared.is_alive(STUCK));
        if is_alive {
            return Vec::new();
        }
        let message = format!("a worker has not shown life for {} s", STUCK.as_secs());
        vec![Reason { code: "worker_stuck", message }]
    }

    /// Why this pod should get no traffic.
    pub(super) fn reasons_not_ready(&self) -> Vec<Reason> {
        match *self.phase.borrow() {
            Phase::Serving | Phase::Grace { .. } => Vec::new(),
            Phase::Closing { .. } | Phase::Done => vec![Reason {
                code: "draining",
                message: "this pod goes away and takes no more connections".to_owned(),
            }],
            Phase::Starting => self.reasons_not_started(),
        }
    }

    fn reasons_not_started(&self) -> Vec<Reason> {
        let state = self.state.borrow();
        let missing = state.missing.iter().map(|file| Reason {
            code: "secret_missing",
            message: format!(
                "waiting for the Secret {}, which {} names",
                file.described(),
                file.field
            ),
        });
        let findings = state.refusal.iter().flat_map(|refusal| &refusal.findings);
        let refused =
            findings.map(|finding| Reason { code: "config_refused", message: finding.to_string() });
        let mut reasons: Vec<_> = missing.chain(refused).take(FINDINGS_MAX).collect();
        if self.broker.borrow().is_some() {
            let waiting = "waiting for NATS, which spec.broker.nats.url names";
            let message = self
                .broker_status()
                .problem
                .map_or_else(|| waiting.to_owned(), |problem| format!("{waiting}: {problem}"));
            reasons.push(Reason { code: "broker", message });
        }
        if reasons.is_empty() {
            let message = "the gateway is starting".to_owned();
            return vec![Reason { code: "starting", message }];
        }
        reasons
    }
}

fn configuration(state: &config::State) -> Config {
    Config {
        hash: state.hash.clone(),
        applied_at: state.applied_at.map(unix),
        error: state.refusal.as_ref().map(|refusal| Refused {
            hash: refusal.hash.clone(),
            findings: refusal.findings.iter().take(FINDINGS_MAX).map(finding).collect(),
        }),
        restart_required: state.restart_required.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn finding(finding: &headgate_crds::manifest::Finding) -> Finding {
    Finding {
        path: finding.path.clone(),
        line: finding.line.map(|line| line as u64),
        value: finding.value.clone(),
        problem: finding.problem.clone(),
        right: finding.right.clone(),
    }
}

fn drain(phase: Phase, connections: u64) -> Drain {
    match phase {
        Phase::Starting | Phase::Serving => {
            Drain { state: DrainState::None, remaining: 0, deadline: None }
        }
        Phase::Grace { deadline } => {
            let deadline = Some(unix(deadline));
            Drain { state: DrainState::Grace, remaining: connections, deadline }
        }
        Phase::Closing { deadline } => {
            let deadline = Some(unix(deadline));
            Drain { state: DrainState::Closing, remaining: connections, deadline }
        }
        Phase::Done => Drain { state: DrainState::Done, remaining: 0, deadline: None },
    }
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
