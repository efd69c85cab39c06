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
}

/// What a fault works on.
pub struct Nodes {
    pub gateways: Gateways,
    pub nats: Option<Nats>,
    pub network: Option<Network>,
}

/// What was broken.
pub struct Broken {
    /// Since when.
    pub from: u64,
    /// The times in which a gateway was alone.
    pub alone: Vec<Alone>,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NatsKill,
        Self::NatsStop,
        Self::NatsEmpty,
        Self::Partition,
        Self::GatewayKill,
        Self::Rolling,
        Self::Slow,
        Self::Leader,
    ];

    /// Whether one gateway has to stand behind wires of its own.
    pub fn needs_network(self) -> bool {
        matches!(self, Self::Partition | Self::Slow)
    }

    /// How many NATS servers there are.
    pub fn nats_servers(self) -> usize {
        if self == Self::Leader { 3 } else { 1 }
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

    /// How far before a `gap` without a place something may have been lost: as long as NATS was away,
    /// and until the gateway found it again.
    pub fn gap_reach(self, length: Duration) -> Duration {
        let away = match self {
            Self::None | Self::GatewayKill | Self::Rolling => Duration::ZERO,
            _ => Duration::from_millis(self.hold_ms(length)),
        };
        away + Duration::from_secs(15)
    }

    /// Breaks it and mends it.
    pub fn inject(self, nodes: &mut Nodes, length: Duration, rate: &str) -> Result<Broken> {
        let from = now_ns();
        let alone = self.inject_from(from, nodes, length, rate)?;
        // What was under way just then is hit as well.
        Ok(Broken { from: from.saturating_sub(1_000_000_000), alone })
    }

    fn inject_from(
        self,
        from: u64,
        nodes: &mut Nodes,
        length: Duration,
        rate: &str,
    ) -> Result<Vec<Alone>> {
        let hold_ms = self.hold_ms(length);
        let nats = || "this fault needs NATS";
        match self {
            Self::None => {}
            Self::NatsKill | Self::NatsEmpty => {
                let nats = nodes.nats.as_mut().with_context(nats)?;
                nats.kill(0)?;
                if self == Self::NatsEmpty {
                    nats.empty(0)?;
                }
                pause_ms(hold_ms);
                nats.begin(0)?;
            }
            Self::NatsStop => {
                let nats = nodes.nats.as_ref().with_context(nats)?;
                nats.process(0)?.signal(Signal::STOP)?;
                pause_ms(hold_ms);
                nats.process(0)?.signal(Signal::CONT)?;
            }
            Self::Leader => {
                let nats = nodes.nats.as_mut().with_context(nats)?;
                let leader = nats.leader("kept")?;
                nats.kill(leader)?;
                pause_ms(hold_ms);
                nats.begin(leader)?;
            }
            Self::GatewayKill => {
                nodes.gateways.process(0)?.kill()?;
                let until = now_ns();
                pause_ms(hold_ms);
                nodes.gateways.begin(0, nodes.network.as_ref())?;
                nodes.gateways.wait(0)?;
                return Ok(alone(0, from, until));
            }
            Self::Rolling => {
                for number in 0..nodes.gateways.len() {
                    nodes.gateways.process(number)?.end(Duration::from_secs(30))?;
                    nodes.gateways.begin(number, nodes.network.as_ref())?;
                    nodes.gateways.wait(number)?;
                    pause_ms(2_000);
                }
            }
            Self::Partition | Self::Slow => {
                let network = nodes.network.as_ref().context("no network to break")?;
                if self == Self::Partition {
                    network.cut()?;
                } else {
                    network.slow(rate)?;
                }
                pause_ms(hold_ms);
                if self == Self::Partition {
                    network.mend()?;
                } else {
                    network.fast()?;
                }
                // What is slow comes late, and is not lost.
                if self == Self::Partition {
                    return Ok(alone(nodes.gateways.len() - 1, from, now_ns()));
                }
            }
        }
        Ok(Vec::new())
    }
}

/// A gateway was alone, and some seconds before and after that it may not have known.
fn alone(gateway: usize, from: u64, until: u64) -> Vec<Alone> {
    let margin = |seconds: u64| seconds * 1_000_000_000;
    let gateway = u32::try_from(gateway).unwrap_or(u32::MAX);
    vec![Alone { gateway, from: from - margin(2), until: until + margin(10) }]
}
