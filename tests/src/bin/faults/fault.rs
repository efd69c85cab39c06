//! What is broken, and how it is mended.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use headgate_tests::{
    checker::Alone,
    clock::{now_ns, pause_ms},
    nodes::{gateways::Gateways, nats::Nats, network::Network},
};
use rustix::process::Signal;

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// NATS is killed, and back after 10 s with what it stored.
    NatsKill,
    /// NATS stands still.
    NatsStop,
    /// NATS is killed and comes back with an empty store.
    NatsEmpty,
    /// Nothing passes between one gateway and NATS.
    Partition,
    /// A gateway is killed and started again.
    GatewayKill,
    /// All gateways are drained and started again, one after the other.
    Rolling,
    /// Little passes between one gateway and NATS.
    Slow,
    /// Of three NATS servers, the one that leads a stream is killed, and back after 20 s.
    Leader,
    /// Nothing passes between one NATS server and the two others, while each keeps its gateway.
    ServerPartition,
}

/// What stands behind wires that can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Gateway,
    NatsServer,
}

/// What a fault works on.
pub struct Nodes {
    pub gateways: Gateways,
    pub nats: Option<Nats>,
    pub network: Option<Network>,
}

/// What was broken.
pub struct Broken {
    /// Since when; never, where nothing was.
    pub from: u64,
    /// Until when publications may have been lost or late on their way between gateways.
    pub until: u64,
    /// The times in which a gateway was alone.
    pub alone: Vec<Alone>,
}

impl Fault {
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::NatsKill,
        Self::NatsStop,
        Self::NatsEmpty,
        Self::Partition,
        Self::GatewayKill,
        Self::Rolling,
        Self::Slow,
        Self::Leader,
        Self::ServerPartition,
    ];

    /// What has to stand behind wires of its own.
    pub fn inside(self) -> Option<Inside> {
        match self {
            Self::Partition | Self::Slow => Some(Inside::Gateway),
            Self::ServerPartition => Some(Inside::NatsServer),
            _ => None,
        }
    }

    /// How many NATS servers there are.
    pub fn nats_servers(self) -> usize {
        if matches!(self, Self::Leader | Self::ServerPartition) { 3 } else { 1 }
    }

    /// How long it lasts, where a minute is the most that the run has room for.
    fn hold_ms(self, length: Duration) -> u64 {
        let most = match self {
            Self::NatsKill => 10,
            Self::Leader => 20,
            Self::GatewayKill => 3,
            Self::NatsEmpty => 1,
            _ => 60,
        };
        (most * 1_000).min(u64::try_from(length.as_millis() / 3).unwrap_or(u64::MAX))
    }

    /// Breaks it and mends it.
    pub fn inject(self, nodes: &mut Nodes, length: Duration, rate: &str) -> Result<Broken> {
        let (began, hold_ms) = (now_ns(), self.hold_ms(length));
        let mut alone = Vec::new();
        match self {
            Self::None => return Ok(Broken { from: u64::MAX, until: 0, alone }),
            Self::NatsKill => nodes.kill_nats(0, hold_ms, false)?,
            Self::NatsEmpty => nodes.kill_nats(0, hold_ms, true)?,
            Self::NatsStop => nodes.stop_nats(hold_ms)?,
            Self::Leader => {
                let leader = nodes.nats()?.leader("kept")?;
                nodes.kill_nats(leader, hold_ms, false)?;
            }
            Self::GatewayKill => {
                let killed = nodes.kill_gateway(hold_ms)?;
                alone.push(is_alone(0, began, killed));
            }
            Self::Rolling => nodes.restart_gateways()?,
            Self::Partition => {
                nodes.cut(hold_ms)?;
                alone.push(is_alone(nodes.gateways.len() - 1, began, now_ns()));
            }
            // What is slow comes late, and is not lost.
            Self::Slow => nodes.slow(rate, hold_ms)?,
            // Who publishes on one side is told `published`; those on the other are told that it is lost.
            Self::ServerPartition => {
                nodes.cut(hold_ms)?;
                let nats = nodes.nats()?;
                nats.wait_for_routes(nats.len() - 1)?;
            }
        }
        let until = if self.is_in_gateways() { 0 } else { now_ns() };
        // What was under way just then is hit as well.
        Ok(Broken { from: began.saturating_sub(1_000_000_000), until, alone })
    }

    /// Whether what is between the gateways stays whole.
    fn is_in_gateways(self) -> bool {
        matches!(self, Self::None | Self::GatewayKill | Self::Rolling)
    }
}

impl Nodes {
    fn nats(&mut self) -> Result<&mut Nats> {
        self.nats.as_mut().context("this fault needs NATS")
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("no network to break")
    }

    fn kill_nats(&mut self, server: usize, hold_ms: u64, is_emptied: bool) -> Result<()> {
        let nats = self.nats()?;
        nats.kill(server)?;
        if is_emptied {
            nats.empty(server)?;
        }
        pause_ms(hold_ms);
        nats.begin(server, None)
    }

    fn stop_nats(&mut self, hold_ms: u64) -> Result<()> {
        let process = self.nats()?.process(0)?;
        process.signal(Signal::STOP)?;
        pause_ms(hold_ms);
        process.signal(Signal::CONT)
    }

    /// Kills the first; says when it was dead.
    fn kill_gateway(&mut self, hold_ms: u64) -> Result<u64> {
        self.gateways.process(0)?.kill()?;
        let killed = now_ns();
        pause_ms(hold_ms);
        self.gateways.begin(0, self.network.as_ref())?;
        self.gateways.wait(0)?;
        Ok(killed)
    }

    fn restart_gateways(&mut self) -> Result<()> {
        for number in 0..self.gateways.len() {
            self.gateways.process(number)?.end(Duration::from_secs(30))?;
            self.gateways.begin(number, self.network.as_ref())?;
            self.gateways.wait(number)?;
            pause_ms(2_000);
        }
        Ok(())
    }

    fn cut(&self, hold_ms: u64) -> Result<()> {
        self.network()?.cut()?;
        pause_ms(hold_ms);
        self.network()?.mend()
    }

    fn slow(&self, rate: &str, hold_ms: u64) -> Result<()> {
        self.network()?.slow(rate)?;
        pause_ms(hold_ms);
        self.network()?.fast()
    }
}

/// A gateway was alone, and some seconds before and after that it may not have known.
fn is_alone(gateway: usize, from: u64, until: u64) -> Alone {
    let margin = |seconds: u64| seconds * 1_000_000_000;
    let gateway = u32::try_from(gateway).unwrap_or(u32::MAX);
    Alone { gateway, from: from.saturating_sub(margin(2)), until: until + margin(10) }
}
