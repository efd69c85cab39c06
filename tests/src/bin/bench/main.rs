//! What the gateway costs, as ratios to a bare epoll loop in the same run.
//!
//! An absolute figure says how fast a machine is on one day; the ratio of two servers that were
//! measured in turns says something about the code. So each round measures one thing on every server
//! before it goes to the next thing, each time in a new process that has one core for itself while
//! the clients spin on another. Every server is driven as its users would: one publisher, over
//! WebSocket, to a channel that all receivers have subscribed to.

mod report;
mod scenario;
mod subject;

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use headgate_tests::{gateway::Gateway, server::Cores};

use crate::{
    report::Report,
    scenario::Scenario,
    subject::{Binaries, Subject},
};

/// Measures the gateway against the reference loop, in turns.
#[derive(Debug, Parser)]
struct Options {
    /// The gateway's binary, built with --release.
    #[arg(long, default_value = "target/release/headgate-gateway")]
    gateway: PathBuf,
    /// The reference loop's binary, built with --release.
    #[arg(long, default_value = "target/release/reference")]
    reference: PathBuf,
    /// Centrifugo's binary, to measure it in the same run.
    #[arg(long)]
    centrifugo: Option<PathBuf>,
    /// Rounds; each measures everything once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure these alone, for a profile.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Measure the gateway alone, for a profile.
    #[arg(long)]
    alone: bool,
}

fn main() -> ExitCode {
    headgate_tests::exit(&run())
}

fn run() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0, "--rounds is 0, must be at least 1");
    let cores = Cores::take()?;
    let subjects = match (options.alone, &options.centrifugo) {
        (true, _) => vec![Subject::Gateway],
        (false, None) => vec![Subject::Reference, Subject::Coalescing, Subject::Gateway],
        (false, Some(_)) => Subject::ALL.to_vec(),
    };
    let gateway = Gateway::prepare(&options.gateway)?;
    let binaries =
        Binaries { gateway, reference: options.reference, centrifugo: options.centrifugo };
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for scenario in Scenario::ALL {
            if !options.only.is_empty() && !options.only.contains(&scenario) {
                continue;
            }
            for subject in &subjects {
                let figures = scenario
                    .measure(*subject, &binaries, cores)
                    .with_context(|| format!("{subject:?}, {scenario:?}, round {round}"))?;
                for (row, figure) in figures {
                    report.add(row, *subject, figure);
                }
            }
        }
        writeln!(stdout(), "round {round} of {} is done", options.rounds)?;
    }
    writeln!(stdout(), "\nmedian (least to most) of {} rounds\n\n{report}", options.rounds)?;
    Ok(())
}
