//! What three gateways bear together with one NATS: figures, not promises.
//!
//! All of it shares one machine, so the figures say what a publication costs and what grows with
//! what, not how fast a cluster is.

mod channels;
mod deliver;
mod presence;
mod stage;

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use headgate_tests::{nodes::Programs, server::Cores, table::Table};

/// Measures gateways that share a NATS server.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Do these alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Seconds of publications.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Publications per second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Clients of `deliver`, and users of `presence`.
    #[arg(long, default_value_t = 3_000)]
    clients: u32,
    /// Channels of `channels`, in connections of 125.
    #[arg(long, default_value_t = 100_000)]
    channels: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Publications without history, from and to all gateways.
    Deliver,
    /// The same with history.
    Kept,
    /// Many channels on one gateway, and NATS starting again.
    Channels,
    /// Many users in one channel, and a gateway that is lost.
    Presence,
}

/// A figure and what it says.
type Reading = (String, String);

fn main() -> ExitCode {
    headgate_tests::exit(&run())
}

fn run() -> Result<()> {
    let options = Options::parse();
    Cores::raise_files()?;
    let mut table = Table::new(["what", "figure"]);
    let mut failed = Vec::new();
    for measure in Measure::value_variants() {
        if !options.only.is_empty() && !options.only.contains(measure) {
            continue;
        }
        let done = match measure {
            Measure::Deliver => deliver::run(&options, "live"),
            Measure::Kept => deliver::run(&options, "kept"),
            Measure::Channels => channels::run(&options),
            Measure::Presence => presence::run(&options),
        };
        match done {
            Ok(readings) => {
                writeln!(stdout(), "{measure:?} is done")?;
                for (what, figure) in readings {
                    table.row(vec![what, figure]);
                }
            }
            Err(error) => failed.push(format!("{measure:?}: {error:#}")),
        }
    }
    writeln!(stdout(), "\n{table}")?;
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}
