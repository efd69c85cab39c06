//! A deploy's storm: 2,000 clients a second connect, each with a token of its own, on a timetable.

use anyhow::Result;
use headgate_tests::{
    clients::Clients,
    clock::{Samples, now_ns},
    gateway::{Gateway, Setup, targets_with_tokens},
    server::Cores,
    speech::Speech,
};

use crate::{Reading, per_cent};

/// Connections per second.
const RATE: usize = 2_000;

/// In all.
const COUNT: usize = 5 * RATE;

pub fn run(gateway: &Gateway, cores: Cores) -> Result<Vec<Reading>> {
    let mut server = gateway.start(cores, Setup::Plain)?;
    let targets = targets_with_tokens(&server, 0..COUNT)?;
    let mut clients = Clients::new(Speech::Headgate)?;
    let cpu = server.cpu()?;
    let began = now_ns();
    for (number, target) in (0_u64..).zip(&targets) {
        let due = began + number * 1_000_000_000 / RATE as u64;
        while now_ns() < due {
            clients.read_ready(&mut |_, _| ())?;
        }
        clients.begin(target, due)?;
    }
    clients.wait("upgrades", |it| it.opened.len() == COUNT)?;
    let cpu = per_cent(server.cpu_since(&cpu)?, now_ns() - began);
    server.check_alive()?;
    let latency = Samples::new(clients.opened.clone());
    let what = format!("{RATE} connections a second with tokens, {COUNT} in all");
    Ok(vec![
        Reading::new(format!("{what}: until the 101"), latency.summary()),
        Reading::with_goal("p99", latency.percentile_ms(0.99), "ms", 50.0),
        Reading::new("CPU of one core meanwhile", format!("{cpu:.1} %")),
    ])
}
