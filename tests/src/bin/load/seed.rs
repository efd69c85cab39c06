//! The seed's table: 10,000 connections in 1,000 channels, and 10,000 deliveries a second.
//!
//! One publisher sends on a timetable that does not wait for anybody, so a late delivery cannot
//! delay the next one and hide itself. Latency counts from when a message should have been sent.

use anyhow::{Context, Result, ensure};
use headgate_tests::{
    clients::Clients,
    clock::{Samples, now_ns},
    gateway::{API_KEY, Gateway, Setup, targets_with_tokens},
    http,
    server::{Cores, Server},
    speech::Speech,
};

use crate::{Reading, megabytes, per_cent};

const CHANNELS: usize = 1_000;

/// Publications per second.
const RATE: u64 = 1_000;

const PERIOD_NS: u64 = 1_000_000_000 / RATE;

/// How long after the last publication a delivery may still come.
const PATIENCE_NS: u64 = 10_000_000_000;

pub fn run(
    gateway: &Gateway,
    cores: Cores,
    connections: usize,
    seconds: u64,
) -> Result<Vec<Reading>> {
    let mut server = gateway.start(cores, Setup::Plain)?;
    drop(open(&server, 100)?);
    server.settle()?;
    let before = server.resident_kib()?;
    let mut clients = open(&server, connections)?;
    server.settle()?;
    let idle = server.resident_kib()?.saturating_sub(before);
    let broadcast = broadcast(&server, &mut clients)?;
    clients.subscribe(|client| channel(client % CHANNELS))?;
    server.settle()?;
    let per_connection = idle as f64 / connections as f64;
    let mut readings = vec![
        Reading::with_goal(
            format!("{connections} connections with a token each: KiB per connection"),
            per_connection,
            "KiB",
            4.0,
        ),
        Reading::new("a broadcast by the server API, until the last has it", broadcast),
    ];
    let load = publish(&server, &mut clients, RATE * seconds)?;
    let growth = megabytes(server.resident_max_kib()?.saturating_sub(before));
    let deliveries = RATE * connections as u64 / CHANNELS as u64;
    readings.push(Reading::new(
        format!("{deliveries} deliveries a second for {seconds} s"),
        format!("all {} arrived, in order", load.delivered),
    ));
    readings.push(Reading::with_goal("CPU of one core meanwhile", load.cpu, "%", 12.0));
    readings.push(Reading::new("latency", load.latency.summary()));
    readings.push(Reading::with_goal("p99", load.latency.percentile_ms(0.99), "ms", 10.0));
    readings.push(Reading::with_goal(
        "most memory at any time, above the start",
        growth,
        "MB",
        40.0,
    ));
    server.check_alive()?;
    drop(clients);
    server.settle()?;
    let after = megabytes(server.resident_kib()?.saturating_sub(before));
    readings.push(Reading::new("memory above the start, all gone", format!("{after:.2} MB")));
    Ok(readings)
}

fn open(server: &Server, count: usize) -> Result<Clients> {
    Clients::open(Speech::Headgate, &targets_with_tokens(server, 0..count)?)
}

fn channel(number: usize) -> String {
    format!("room.{number}")
}

/// One message to everybody through the server API; says how long it took.
fn broadcast(server: &Server, clients: &mut Clients) -> Result<String> {
    let internal = server.internal.as_ref().context("no internal address")?;
    let want = clients.received + clients.len() as u64;
    let began = now_ns();
    http::post(internal, "/api/v1/broadcast", API_KEY, r#"{"data":"hello, all"}"#)?;
    clients.wait_for(want)?;
    let took = now_ns() - began;
    ensure!(clients.received == want, "{} messages instead of {want}", clients.received);
    Ok(format!("{} in {:.0} ms", clients.len(), took as f64 / 1e6))
}

struct Measured {
    delivered: u64,
    latency: Samples,
    cpu: f64,
}

/// Publishes `count` messages on time, to one channel after the other, and checks that each
/// subscriber gets each message of its channel once and in order.
fn publish(server: &Server, clients: &mut Clients, count: u64) -> Result<Measured> {
    let mut publisher = open(server, 1)?;
    let mut next: Vec<u64> = (0..clients.len()).map(|it| (it % CHANNELS) as u64).collect();
    let per_channel = clients.len() / CHANNELS;
    let want = count * per_channel as u64;
    let mut latencies = Vec::with_capacity(usize::try_from(want)?);
    let cpu = server.cpu()?;
    let began = now_ns();
    let due = |number: u64| began + number * PERIOD_NS;
    let (mut published, mut ended) = (0, began);
    let mut wrong = None;
    while (latencies.len() as u64) < want {
        let now = now_ns();
        while published < count && due(published) <= now {
            let channel = channel(usize::try_from(published)? % CHANNELS);
            publisher.send(0, &Speech::Headgate.publish(&channel, published))?;
            published += 1;
            ended = now;
        }
        publisher.read_ready(&mut |_, _| ())?;
        clients.read_ready(&mut |client, message| {
            let number = Speech::number(message);
            if number == Some(next[client]) {
                latencies.push(now_ns().saturating_sub(due(next[client])));
                next[client] += CHANNELS as u64;
            } else {
                wrong = Some((client, next[client], number));
            }
        })?;
        if let Some((client, expected, number)) = wrong {
            anyhow::bail!("client {client} expected message {expected} and got {number:?}");
        }
        ensure!(
            published < count || now < ended + PATIENCE_NS,
            "{} of {want} deliveries arrived",
            latencies.len()
        );
    }
    let cpu = per_cent(server.cpu_since(&cpu)?, now_ns() - began);
    Ok(Measured { delivered: want, latency: Samples::new(latencies), cpu })
}
