//! Breaks what is between gateways and clients on purpose, and judges what clients saw.
//!
//! Three gateways, NATS, and a thousand clients that come back by themselves, publishers over
//! WebSocket and by the server API. One fault, then calm, then a closing publication in every topic.
//! The checker reads everybody's history: what was lost must have been told.

mod fault;
mod layout;
mod report;
mod scene;
mod traffic;

use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use headgate_tests::{nodes::Programs, server::Cores, table::Table};

use crate::{fault::Fault, scene::Scene};

/// Breaks things and says whether clients were told the truth.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    programs: Programs,
    /// What is to be broken; everything, if left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    fault: Vec<Fault>,
    /// How long each run takes, without the calm at its end.
    #[arg(long, default_value_t = 3)]
    minutes: u64,
    /// The same in seconds, for quick trials.
    #[arg(long)]
    seconds: Option<u64>,
    /// Clients that listen.
    #[arg(long, default_value_t = 1_000)]
    clients: u32,
    /// Publications per second, by WebSocket and by the server API together.
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// What carries publications. With Memory there is one gateway.
    #[arg(long, value_enum, default_value = "nats")]
    broker: Broker,
    /// How much passes in the fault `slow`, as `tc` takes it.
    #[arg(long, default_value = "600kbit")]
    slow_rate: String,
    /// Keep manifests, stores and logs even if all is well.
    #[arg(long)]
    keep: bool,
}

/// A kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Broker {
    Memory,
    Nats,
}

impl Options {
    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.minutes * 60))
    }
}

fn main() -> ExitCode {
    headgate_tests::exit(&run())
}

fn run() -> Result<()> {
    let options = Options::parse();
    // Raises the limit of open files; nothing here is pinned to a core.
    Cores::raise_files()?;
    let faults = if options.fault.is_empty() { Fault::ALL.to_vec() } else { options.fault.clone() };
    let mut table = Table::new(report::HEADINGS);
    let mut failed = Vec::new();
    for fault in faults {
        writeln!(stdout(), "{fault:?}")?;
        let report = Scene::run(&options, fault)?;
        writeln!(stdout(), "{report}")?;
        table.row(report.row());
        if !report.verdict.is_clean() {
            failed.push(format!("{fault:?}"));
        }
    }
    writeln!(stdout(), "{table}")?;
    ensure!(failed.is_empty(), "promises were broken under {}", failed.join(", "));
    Ok(())
}
