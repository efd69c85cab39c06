//! Three gateways and one NATS server, and what they use.

use std::sync::Arc;

use anyhow::{Result, ensure};
use headgate_tests::{
    checker::{Client, Topic, TopicId},
    clock::now_ns,
    nodes::{
        Folder,
        gateways::{self, Gateways, for_users},
        nats::Nats,
    },
    swarm::{Peer, Swarm, ledger::Ledger},
};
use serde_json::json;

use crate::{Options, Reading};

pub const GATEWAYS: usize = 3;

/// What runs. Fields are dropped in this order: the folder is removed last.
pub struct Stage {
    pub swarm: Swarm,
    pub gateways: Gateways,
    pub nats: Nats,
    _folder: Folder,
}

/// CPU time of the gateways and of NATS until some moment.
pub struct Used {
    at: u64,
    gateways: u64,
    nats: u64,
}

impl Stage {
    pub fn new(options: &Options, name: &str, topics: Vec<Topic>) -> Result<Self> {
        let folder = Folder::new(&format!("fleet-{name}"))?;
        let nats = Nats::start(&options.programs.nats_server, 1, &folder, None)?;
        let spec = gateways::spec(&json!([
            for_users(json!({"match": "kept.*", "history": {"messages": 100, "maxAge": "5m"}})),
            for_users(json!({"match": "hall", "presence": "Announced"})),
            for_users(json!({"match": "live.*"})),
        ]));
        let broker = |_| Ok(json!({"type": "NATS", "nats": {"url": nats.url("127.0.0.1")}}));
        let gateway = &options.programs.gateway;
        let gateways = Gateways::start(gateway, GATEWAYS, &folder, None, &spec, broker)?;
        let ledger = Arc::new(Ledger::new(topics, 64));
        let swarm = Swarm::new(gateways.places()?, ledger)?;
        Ok(Self { swarm, gateways, nats, _folder: folder })
    }

    /// Adds a client that connects to a gateway at some time.
    pub fn add(&mut self, user: u32, home: usize, wants: Vec<TopicId>, at: u64) -> Result<()> {
        let client = Client { name: format!("client {user}"), user, wants, ..Client::default() };
        let token = gateways::token(user)?;
        self.swarm.peers.push(Peer::new(client, token, home, GATEWAYS, at));
        Ok(())
    }

    /// Waits until everybody is there.
    pub fn settle(&mut self, ms: u64) -> Result<()> {
        let came = self.swarm.turn_until(ms, |it| it.settled() == it.peers.len())?;
        let (settled, all) = (self.swarm.settled(), self.swarm.peers.len());
        ensure!(came, "{settled} of {all} clients came: {:?}", self.swarm.ledger.oddities());
        Ok(())
    }

    pub fn used(&mut self) -> Result<Used> {
        let mut gateways = 0;
        for number in 0..GATEWAYS {
            gateways += self.gateways.process(number).map_or(0, |it| it.cpu_ns());
        }
        Ok(Used { at: now_ns(), gateways, nats: self.nats.process(0)?.cpu_ns() })
    }

    /// The shares of a core that were used since then.
    pub fn used_since(&mut self, before: &Used) -> Result<Reading> {
        let Used { at, gateways, nats } = self.used()?;
        let share = |now: u64, then: u64| {
            now.saturating_sub(then) as f64 * 100.0 / (at - before.at).max(1) as f64
        };
        let figure = format!(
            "{:.1} % and {:.1} %",
            share(gateways, before.gateways),
            share(nats, before.nats)
        );
        Ok(("CPU of the gateways together and of NATS, of one core".to_owned(), figure))
    }
}
