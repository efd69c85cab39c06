//! What the gateway costs, as ratios to a bare epoll loop in the same run.
//!
//! An absolute figure says how fast a machine is on one day; the ratio of two servers that were
//! measured in turns says something about the code. So every round starts each server anew, pinned to
//! one core while the clients spin on another, and the table shows the medians of all rounds.

use std::{
    fs,
    io::{Write, stdout},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use headgate_tests::{
    clients::{Clients, open},
    clock::{now_ns, percentile},
    measured::Measured,
};
use serde_json::Value;

/// Measures the gateway against the reference loop, in turns.
#[derive(Debug, Parser)]
struct Options {
    /// The gateway's binary, built with --release.
    #[arg(long, default_value = "target/release/headgate-gateway")]
    gateway: PathBuf,
    /// The reference loop's binary, built with --release.
    #[arg(long, default_value = "target/release/reference")]
    reference: PathBuf,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of the broadcast and of the idle memory; two files each, one per process.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// The rows of the table, in the order in which [`measure`] returns them.
const ROWS: [&str; 8] = [
    "1k receivers, one at a time, CPU us per delivery",
    "1k receivers, 8 in flight, CPU us per delivery",
    "broadcast to all, CPU us per delivery",
    "broadcast to all, p99 until the last has it, ms",
    "handshake, CPU us",
    "handshake, p99 ms",
    "handshake with a token, CPU us",
    "idle, KiB per connection",
];

const SERVERS: [&str; 3] = ["reference", "coalescing", "gateway"];

const MANIFEST: &str = r#"{"apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "bench"},
"spec": {"maxConnections": 19000, "drain": {"period": "60s", "endpointGrace": "0s"},
  "auth": {"mode": "Optional", "jwt": {"keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}},
  "channels": [{"match": "**", "subscribe": "Anyone", "publish": "Anyone"}],
  "limits": {"connectRate": {"perSecond": 0, "burst": 0}, "messageRate": {"perSecond": 0, "burst": 0},
             "byteRate": {"perSecond": "0", "burst": "0"}}}}"#;

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = prepare()?;
    let token = mint(&options, &folder)?;
    let mut results = vec![Vec::new(); SERVERS.len()];
    for round in 1..=options.rounds {
        for (server, name) in SERVERS.iter().enumerate() {
            let figures = measure(&options, name, &folder, &token)
                .with_context(|| format!("{name}, round {round}"))?;
            results[server].push(figures);
        }
        writeln!(stdout(), "round {round} of {} is done", options.rounds)?;
    }
    fs::remove_dir_all(folder)?;
    print_table(&results)
}

/// A folder with the gateway's manifest and key.
fn prepare() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("headgate-bench-{}", std::process::id()));
    fs::create_dir_all(folder.join("secrets/jwt"))?;
    fs::write(folder.join("secrets/jwt/hmac"), [b'k'; 32])?;
    fs::write(folder.join("gateway.yaml"), MANIFEST)?;
    Ok(folder)
}

fn mint(options: &Options, folder: &std::path::Path) -> Result<String> {
    let mut command = Command::new(&options.gateway);
    command.args(["token", "--user", "bench", "--secret"]).arg(folder.join("secrets/jwt/hmac"));
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Starts a server on the first core; the clients have the second.
fn start(options: &Options, name: &str, folder: &std::path::Path) -> Result<Measured> {
    if name == "gateway" {
        let mut command = Command::new(&options.gateway);
        command.arg("serve").arg(folder.join("gateway.yaml"));
        command.args(["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
        command.arg("--secrets").arg(folder.join("secrets")).args(["--log-format", "json"]);
        return Measured::start(&mut command, (0, 1), |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event.get("public")?.as_str().map(str::to_owned)
        });
    }
    let mut command = Command::new(&options.reference);
    command.args((name == "coalescing").then_some("coalesce"));
    Measured::start(&mut command, (0, 1), |line| line.strip_prefix("listening ").map(str::to_owned))
}

/// One server, measured once: the figures of [`ROWS`].
fn measure(
    options: &Options,
    name: &str,
    folder: &std::path::Path,
    token: &str,
) -> Result<[f64; ROWS.len()]> {
    let mut server = start(options, name, folder)?;

    let mut few = receivers(&server.address, 1_000)?.0;
    let one = fan_out(&server, &mut few, 500, 1)?.cpu_us;
    let eight = fan_out(&server, &mut few, 1_500, 8)?.cpu_us;
    drop(few);
    settle();

    let (memory, cpu) = (server.resident_kib()?, server.cpu_ns()?);
    let (mut all, mut took) = Clients::open(&server.address, "/ws", options.connections)?;
    let handshake = us_each(server.cpu_ns()? - cpu, options.connections);
    took.sort_unstable();
    settle();
    let idle = server.resident_kib()?.saturating_sub(memory) as f64 / options.connections as f64;
    subscribe(&mut all)?;
    let broadcast = fan_out(&server, &mut all, 60, 1)?;
    drop(all);
    settle();

    let cpu = server.cpu_ns()?;
    for _ in 0..3_000 {
        open(&server.address, "/ws", Some(token))?;
    }
    let handshake_token = us_each(server.cpu_ns()? - cpu, 3_000);
    server.check_alive()?;
    Ok([
        one,
        eight,
        broadcast.cpu_us,
        broadcast.p99_ms,
        handshake,
        percentile(&took, 0.99) as f64 / 1e6,
        handshake_token,
        idle,
    ])
}

/// Lets the server see that connections are gone, and return memory.
fn settle() {
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here that it could block")]
    std::thread::sleep(Duration::from_secs(1));
}

fn us_each(ns: u64, count: usize) -> f64 {
    ns as f64 / 1e3 / count as f64
}

fn receivers(address: &str, count: usize) -> Result<(Clients, Vec<u64>)> {
    let (mut clients, took) = Clients::open(address, "/ws", count)?;
    subscribe(&mut clients)?;
    Ok((clients, took))
}

fn subscribe(clients: &mut Clients) -> Result<()> {
    clients.ask_all(|_| r#"{"type":"subscribe","payload":{"channel":"bench"},"id":1}"#.to_owned())
}

struct FanOut {
    cpu_us: f64,
    p99_ms: f64,
}

/// Publishes `count` messages to all receivers, with `window` of them on their way at a time.
fn fan_out(server: &Measured, to: &mut Clients, count: u64, window: u64) -> Result<FanOut> {
    let mut publisher = Clients::open(&server.address, "/ws", 1)?.0;
    let data = "x".repeat(64);
    let text = format!(r#"{{"type":"message","payload":{{"channel":"bench","data":"{data}"}}}}"#);
    let (begin, receivers) = (to.received, to.len() as u64);
    let mut sent_at = Vec::new();
    let mut took = Vec::new();
    let cpu = server.cpu_ns()?;
    for published in 1..=count {
        sent_at.push(now_ns());
        publisher.send(0, &text)?;
        if published >= window {
            let whole = published - window + 1;
            to.wait_for(begin + whole * receivers)?;
            took.push(now_ns() - sent_at[usize::try_from(whole - 1)?]);
        }
    }
    to.wait_for(begin + count * receivers)?;
    let cpu = server.cpu_ns()? - cpu;
    took.sort_unstable();
    Ok(FanOut {
        cpu_us: cpu as f64 / 1e3 / (count * receivers) as f64,
        p99_ms: percentile(&took, 0.99) as f64 / 1e6,
    })
}

/// Median (min to max) per row and server, and the gateway's ratio to the reference loops.
fn print_table(results: &[Vec<[f64; ROWS.len()]>]) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(
        out,
        "\n{:<50} {}",
        "median (min to max)",
        SERVERS.map(|it| format!("{it:>24}")).join("")
    )?;
    for (row, name) in ROWS.iter().enumerate() {
        let mut medians = Vec::new();
        write!(out, "{name:<50} ")?;
        for rounds in results {
            let mut figures: Vec<f64> = rounds.iter().map(|it| it[row]).collect();
            figures.sort_by(f64::total_cmp);
            let [min, .., max] = figures[..] else {
                write!(out, "{:>24.2}", figures[0])?;
                medians.push(figures[0]);
                continue;
            };
            let median = figures[figures.len() / 2];
            write!(out, "{:>24}", format!("{median:.2} ({min:.2} to {max:.2})"))?;
            medians.push(median);
        }
        let [reference, coalescing, gateway] = medians[..] else { continue };
        writeln!(out, "   x{:.2} x{:.2}", gateway / reference, gateway / coalescing)?;
    }
    writeln!(out, "the last two columns: the gateway to the reference, and to the coalescing one")?;
    Ok(())
}
