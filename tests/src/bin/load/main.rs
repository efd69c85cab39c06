//! What one gateway process bears: ten thousand clients and what they cost, a storm of handshakes,
//! and whether memory comes back. Fails where a message or a connection is lost.
//!
//! The gateway has one core and the clients spin on another, in one process each: neither passes
//! 20,000 open files.

mod churn;
mod seed;
mod storm;

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use headgate_tests::{
    gateway::Gateway,
    server::Cores,
    table::{Table, goal},
};

/// Loads the gateway and prints what it took.
#[derive(Debug, Parser)]
struct Options {
    /// The gateway's binary, built with --release.
    #[arg(long, default_value = "target/release/headgate-gateway")]
    gateway: PathBuf,
    /// Do these alone.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Load>,
    /// Connections of the seed's load.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=19_000))]
    connections: u32,
    /// Seconds of the seed's load.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Cycles of connecting and closing.
    #[arg(long, default_value_t = 100_000)]
    cycles: u32,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// 10,000 connections, a broadcast to all, then 10,000 deliveries a second.
    Seed,
    /// 2,000 new connections a second.
    Storm,
    /// Connecting and closing, for as long as it takes to see a leak.
    Churn,
}

/// One figure that was read.
struct Reading {
    what: String,
    figure: String,
    goal: String,
}

impl Reading {
    /// A figure without a goal.
    fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), goal: String::new() }
    }

    /// A figure that should be `most` of its unit at most.
    fn with_goal(what: impl Into<String>, figure: f64, unit: &str, most: f64) -> Self {
        let goal = goal(Some(figure), most, &format!("at most {most} {unit}"));
        Self { goal, ..Self::new(what, format!("{figure:.2} {unit}")) }
    }
}

fn main() -> ExitCode {
    headgate_tests::exit(&run())
}

fn run() -> Result<()> {
    let options = Options::parse();
    let cores = Cores::take()?;
    let gateway = Gateway::prepare(&options.gateway)?;
    let mut table = Table::new(["what", "figure", "goal"]);
    let mut failed = Vec::new();
    for load in [Load::Seed, Load::Storm, Load::Churn] {
        if !options.only.is_empty() && !options.only.contains(&load) {
            continue;
        }
        let done = match load {
            Load::Seed => {
                seed::run(&gateway, cores, options.connections as usize, options.seconds.into())
            }
            Load::Storm => storm::run(&gateway, cores),
            Load::Churn => churn::run(&gateway, cores, options.cycles as usize),
        };
        match done {
            Ok(readings) => {
                writeln!(stdout(), "{load:?} is done")?;
                for Reading { what, figure, goal } in readings {
                    table.row(vec![what, figure, goal]);
                }
            }
            Err(error) => failed.push(format!("{load:?}: {error:#}")),
        }
    }
    writeln!(stdout(), "\n{table}")?;
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// The share of a core that `cpu_ns` is of `ns`, in per cent.
fn per_cent(cpu_ns: u64, ns: u64) -> f64 {
    cpu_ns as f64 / ns as f64 * 100.0
}

/// KiB as MB, the unit of the goals.
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1_024.0 / 1e6
}
