//! Connections that come and go: memory must not stay behind.
//!
//! A thousand at a time connect, subscribe to a channel that nobody else has, and end: half of them
//! by the closing handshake, half by ending the TCP connection, as a phone that loses its network.

use anyhow::{Result, ensure};
use headgate_tests::{
    clients::Clients,
    gateway::{Gateway, Setup, targets_with_tokens},
    server::{Cores, Server},
    speech::Speech,
};

use crate::{Reading, megabytes};

/// Connections at the same time.
const WAVE: usize = 1_000;

/// Waves before memory is first read: allocators keep what they once needed.
const WARM: usize = 2;

pub fn run(gateway: &Gateway, cores: Cores, cycles: usize) -> Result<Vec<Reading>> {
    let mut server = gateway.start(cores, Setup::Plain)?;
    for number in 0..WARM {
        wave(&server, number)?;
    }
    server.settle()?;
    let (before, cpu) = (server.resident_kib()?, server.cpu()?);
    let waves = cycles.div_ceil(WAVE);
    for number in WARM..WARM + waves {
        wave(&server, number)?;
    }
    server.settle()?;
    server.check_alive()?;
    let (after, done) = (server.resident_kib()?, waves * WAVE);
    let us = server.cpu_since(&cpu)? as f64 / 1e3 / done as f64;
    let growth = (after as f64 / before as f64 - 1.0) * 100.0;
    ensure!(
        growth <= 10.0,
        "memory grew by {growth:.1} % over {done} cycles: {before} KiB before, {after} KiB after"
    );
    Ok(vec![
        Reading::new(
            format!("memory before and after {done} cycles"),
            format!("{:.1} and {:.1} MB", megabytes(before), megabytes(after)),
        ),
        Reading::with_goal("growth", growth, "%", 10.0),
        Reading::new("CPU per cycle: connect, subscribe, close", format!("{us:.1} us")),
    ])
}

fn wave(server: &Server, number: usize) -> Result<()> {
    let half = |of: usize| -> Result<Clients> {
        let first = number * WAVE + of * WAVE / 2;
        let targets = targets_with_tokens(server, first..first + WAVE / 2)?;
        let mut clients = Clients::open(Speech::Headgate, &targets)?;
        clients.subscribe(|client| format!("room.{}", first + client))?;
        Ok(clients)
    };
    let (polite, abrupt) = (half(0)?, half(1)?);
    drop(abrupt);
    polite.close()
}
