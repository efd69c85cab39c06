//! One run: everybody comes, something breaks, everybody calms down, and all is written down.

use std::{
    io::{Write, stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use headgate_tests::{
    checker::{PublicationId, Rules, Run, TopicId, check},
    clock::now_ns,
    nodes::{
        Folder,
        gateways::{self, Gateways},
        nats::Nats,
        network::Network,
    },
    swarm::{Peer, Swarm, ledger::Ledger},
};
use serde_json::json;

use crate::{
    Broker, Options,
    fault::{Broken, Fault, Inside, Nodes},
    layout::Layout,
    report::Report,
    traffic::{self, Backend, Timetable},
};

/// How long everybody may take to come, and to come back.
const CALM_MS: u64 = 90_000;

/// How long something may be under way while nothing is broken.
const SETTLE_NS: u64 = 5_000_000_000;

/// How soon something that was lost has to be told, or come after all.
const TOLD_NS: u64 = 15_000_000_000;

/// How soon a closing publication has to be everywhere.
const CONVERGE: Duration = Duration::from_secs(20);

pub struct Scene {
    fault: Fault,
    length: Duration,
    layout: Layout,
    nodes: Nodes,
    swarm: Swarm,
    ledger: Arc<Ledger>,
}

impl Scene {
    /// Plays it to the end.
    pub fn run(options: &Options, fault: Fault) -> Result<Report> {
        let mut folder = Folder::new("faults")?;
        let scene = Self::prepare(options, fault, &folder);
        let report = scene.and_then(|mut it| it.play(options));
        let is_clean = report.as_ref().is_ok_and(|it| it.verdict.is_clean());
        if options.keep || !is_clean {
            folder.is_kept = true;
            writeln!(stdout(), "logs and manifests are in {}", folder.path.display())?;
        }
        report
    }

    fn prepare(options: &Options, fault: Fault, folder: &Folder) -> Result<Self> {
        let is_memory = options.broker == Broker::Memory;
        let network = fault.inside().map(|_| Network::new()).transpose()?;
        let around = |inside| network.as_ref().filter(|_| fault.inside() == Some(inside));
        let (server, servers) = (&options.programs.nats_server, fault.nats_servers());
        let nats = (!is_memory)
            .then(|| Nats::start(server, servers, folder, around(Inside::NatsServer)))
            .transpose()?;
        let count = if is_memory { 1 } else { 3 };
        let broker = |number: usize| {
            let Some(nats) = &nats else {
                return Ok(json!({"type": "Memory", "historyBytes": "256Mi"}));
            };
            let url = match (fault.inside(), &network) {
                (Some(Inside::NatsServer), _) => nats.url_of(number)?,
                (Some(Inside::Gateway), Some(it)) if number + 1 == count => {
                    nats.url(&it.outside(Network::NATS))
                }
                _ => nats.url("127.0.0.1"),
            };
            Ok(json!({"type": "NATS", "historyBytes": "1Gi", "nats": {"url": url}}))
        };
        let spec = gateways::spec(&Layout::channels());
        let gateway = &options.programs.gateway;
        let inside = around(Inside::Gateway);
        let gateways = Gateways::start(gateway, count, folder, inside, &spec, broker)?;
        let layout = Layout::new(options.clients);
        let ledger = Arc::new(Ledger::new(layout.topics(), 64));
        let mut swarm = Swarm::new(gateways.places()?, Arc::clone(&ledger))?;
        let now = now_ns();
        for number in 0..options.clients {
            let client = Layout::client(number);
            let (token, home) = (gateways::token(client.user)?, number as usize % count);
            let at = now + u64::from(number) * 2_000_000;
            swarm.peers.push(Peer::new(client, token, home, count, at));
        }
        let nodes = Nodes { gateways, nats, network };
        Ok(Self { fault, length: options.length(), layout, nodes, swarm, ledger })
    }

    fn play(&mut self, options: &Options) -> Result<Report> {
        let everybody = self.swarm.peers.len();
        let came = self.swarm.turn_until(CALM_MS, |it| it.settled() == everybody)?;
        ensure!(
            came,
            "only {} of {everybody} clients came: {:?}",
            self.swarm.settled(),
            self.ledger.oddities()
        );
        let mut timetable = Timetable::new(options.rate * 5 / 8);
        let count = self.nodes.gateways.len();
        let backends = (0..count)
            .map(|it| {
                let rate = (options.rate * 3 / 8).div_ceil(count as u64);
                Backend::start(&self.nodes.gateways, it, &self.ledger, self.layout, rate)
            })
            .collect::<Result<Vec<_>>>()?;
        let began = now_ns();
        let broken = self.disturb(&mut timetable, began, &options.slow_rate);
        let stopped: Vec<_> = backends.into_iter().map(Backend::stop).collect();
        let broken = broken?;
        let is_calm = |it: &Swarm| {
            it.settled() == it.peers.len()
                && it.peers.iter().all(|it| it.pending() == 0)
                && stopped.iter().all(std::thread::JoinHandle::is_finished)
        };
        let calm_since = now_ns();
        if !self.swarm.turn_until(CALM_MS, is_calm)? {
            let (settled, pending) =
                (self.swarm.settled(), self.swarm.peers.iter().map(Peer::pending).sum::<usize>());
            writeln!(
                stdout(),
                "not calm after 90 s: {settled} of {everybody} clients are back, {pending} answers are due"
            )?;
        }
        let calm_ns = now_ns() - calm_since;
        self.swarm.turn_for(1_000)?;
        let closing = self.close()?;
        self.finish(closing, broken, calm_ns)
    }

    /// Breaks something while everybody goes on.
    fn disturb(
        &mut self,
        timetable: &mut Timetable,
        began: u64,
        slow_rate: &str,
    ) -> Result<Broken> {
        let Self { nodes, swarm, fault, length, .. } = self;
        let length_ns = u64::try_from(length.as_nanos())?;
        let calm_ns = (length_ns / 6).min(15_000_000_000);
        let mut go_on = |swarm: &mut Swarm, is_over: &dyn Fn() -> bool| {
            while !is_over() {
                timetable.publish(swarm);
                swarm.turn()?;
            }
            anyhow::Ok(())
        };
        go_on(swarm, &|| now_ns() > began + calm_ns)?;
        let broken = std::thread::scope(|scope| {
            let injector = scope.spawn(|| fault.inject(nodes, *length, slow_rate));
            go_on(swarm, &|| injector.is_finished())?;
            injector.join().ok().context("the injector panicked")?
        })?;
        go_on(swarm, &|| now_ns() > began + length_ns)?;
        Ok(broken)
    }

    /// A publication in every topic, through the gateways in turn, until each is acknowledged.
    fn close(&mut self) -> Result<Vec<PublicationId>> {
        let Self { swarm, ledger, nodes, .. } = self;
        let topics = u32::try_from(ledger.topics().len())?;
        let count = u32::try_from(nodes.gateways.len())?;
        let addresses: Vec<_> =
            (0..count).map(|it| nodes.gateways.internal(it as usize)).collect::<Result<_>>()?;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..)
                .zip(&addresses)
                .map(|(gateway, address)| {
                    let mine = (0..topics).filter(move |it| it % count == gateway);
                    let ledger = &*ledger;
                    scope.spawn(move || -> Vec<_> {
                        let lane = ledger.lane();
                        let until = now_ns() + 30_000_000_000;
                        let close = |topic| loop {
                            let (id, is_acked) =
                                traffic::publish(ledger, address, TopicId(topic), lane, gateway);
                            if is_acked || now_ns() > until {
                                return id;
                            }
                        };
                        mine.map(close).collect()
                    })
                })
                .collect();
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                swarm.turn()?;
            }
            let mut closing = Vec::new();
            for thread in threads {
                closing.extend(thread.join().ok().context("a publisher panicked")?);
            }
            Ok(closing)
        })
    }

    fn finish(
        &mut self,
        closing: Vec<PublicationId>,
        broken: Broken,
        calm_ns: u64,
    ) -> Result<Report> {
        let events = |it: &Swarm| -> usize {
            let sessions = it.peers.iter().filter_map(|it| it.diary.client.sessions.last());
            sessions.map(|it| it.events.len()).sum()
        };
        let until = now_ns() + u64::try_from(CONVERGE.as_nanos())? + 5_000_000_000;
        loop {
            let before = events(&self.swarm);
            self.swarm.turn_for(3_000)?;
            if events(&self.swarm) == before || now_ns() > until {
                break;
            }
        }
        let peers = std::mem::take(&mut self.swarm.peers);
        let lacked = peers.iter().flat_map(|it| it.lacked.iter().copied()).collect();
        let closes = peers.iter().flat_map(|it| it.closes.iter().copied()).collect();
        let run = Run {
            topics: self.ledger.topics().to_vec(),
            publications: self.ledger.publications(),
            closing,
            clients: peers.into_iter().map(|it| it.diary.client).collect(),
        };
        let rules = Rules {
            broken_from: broken.from,
            broken_until: broken.until,
            told_ns: TOLD_NS,
            cut_reach_ns: SETTLE_NS,
            settle_ns: SETTLE_NS,
            converge_ns: u64::try_from(CONVERGE.as_nanos())?,
            alone: broken.alone,
        };
        let verdict = check(&run, &rules);
        let oddities = self.ledger.oddities();
        Ok(Report::new(self.fault, &run, verdict, lacked, closes, oddities, calm_ns))
    }
}
