//! Who publishes: clients on a timetable, and backends by the server API, one for each gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::Result;
use headgate_tests::{
    checker::{Outcome, PublicationId, TopicId},
    clock::{now_ns, pause_ms},
    gateway::API_KEY,
    http,
    nodes::gateways::{Gateways, user_name},
    swarm::{Swarm, ledger::Ledger},
};
use serde_json::Value;

use crate::layout::Layout;

/// Clients that publish as well.
const PUBLISHERS: u64 = 30;

/// Numbers that look like chance, and are the same each time.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Clients that publish so many messages a second.
#[derive(Debug)]
pub struct Timetable {
    period_ns: u64,
    next: u64,
    dice: Dice,
}

impl Timetable {
    pub fn new(rate: u64) -> Self {
        Self { period_ns: 1_000_000_000 / rate.max(1), next: now_ns(), dice: Dice(1) }
    }

    /// Publishes what is due.
    pub fn publish(&mut self, swarm: &mut Swarm) {
        while self.next <= now_ns() {
            self.next += self.period_ns;
            let who = self.dice.next() % PUBLISHERS.min(swarm.peers.len() as u64);
            let topic = Layout::for_clients(self.dice.next());
            // Who is cut off does not publish, and nobody does it in its place.
            swarm.publish(usize::try_from(who).unwrap_or(0), topic);
        }
    }
}

/// A backend that calls the API of one gateway until it is told to stop.
pub struct Backend {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Backend {
    pub fn start(
        gateways: &Gateways,
        number: usize,
        ledger: &Arc<Ledger>,
        layout: Layout,
        rate: u64,
    ) -> Result<Self> {
        let (address, ledger) = (gateways.internal(number)?, Arc::clone(ledger));
        let stop = Arc::new(AtomicBool::new(false));
        let (is_over, period_ms) = (Arc::clone(&stop), 1_000 / rate.max(1));
        let gateway = u32::try_from(number)?;
        let thread = std::thread::spawn(move || {
            let (mut dice, mut lane) = (Dice(gateway.into()), ledger.lane());
            while !is_over.load(Ordering::Relaxed) {
                let topic = layout.for_api(dice.next());
                let (_, is_acked) = publish(&ledger, &address, topic, lane, gateway);
                if !is_acked {
                    // Order is promised to whoever waits for the answer.
                    lane = ledger.lane();
                }
                pause_ms(period_ms);
            }
        });
        Ok(Self { stop, thread })
    }

    /// Stops it, after the answer it waits for.
    pub fn stop(self) -> JoinHandle<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
    }
}

/// Publishes by the API; says whether it was acknowledged.
pub fn publish(
    ledger: &Ledger,
    address: &str,
    topic: TopicId,
    lane: u32,
    gateway: u32,
) -> (PublicationId, bool) {
    let (id, data) = ledger.begin(topic, lane, gateway);
    let channel = ledger.channel(topic);
    let user = ledger.topics().get(topic.0 as usize).and_then(|it| it.user);
    let (path, body) = match (channel, user) {
        ("@all", _) => ("/api/v1/broadcast".to_owned(), format!(r#"{{"data":{data}}}"#)),
        (_, Some(user)) => {
            (format!("/api/v1/users/{}/messages", user_name(user)), format!(r#"{{"data":{data}}}"#))
        }
        _ => {
            let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
            ("/api/v1/publish".to_owned(), body)
        }
    };
    match http::call(address, &path, API_KEY, &body) {
        Ok((200, answer)) => {
            ledger.end(id, outcome(ledger, &answer));
            (id, true)
        }
        Ok((status, answer)) => {
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            let code = answer["error"]["code"].as_str().unwrap_or_default();
            let is_refused = status < 500;
            ledger.odd(format!("API: {status} {code}"));
            ledger.end(id, if is_refused { Outcome::Refused } else { Outcome::Unknown });
            (id, false)
        }
        // It was killed, or cut off.
        Err(_) => (id, false),
    }
}

fn outcome(ledger: &Ledger, answer: &str) -> Outcome {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let place = answer.get("results").and_then(|it| it.get(0)).unwrap_or(&answer);
    let epoch = place["epoch"].as_str().map(|it| ledger.epoch(it));
    Outcome::Acked { epoch, offset: place["offset"].as_u64() }
}
