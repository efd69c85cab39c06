//! What the measurements share: a WebSocket client by hand, thousands of them on one thread that
//! spins, the server under measurement, and the table at the end.

pub mod clock;
pub mod wire;

pub mod client;
pub mod clients;
pub mod speech;
pub mod tls;

pub mod gateway;
pub mod http;
pub mod server;

pub mod table;

pub mod checker;

pub mod nodes;
pub mod swarm;

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

/// Says why a measurement failed, in one line; a backtrace would push the table out of sight.
pub fn exit(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Where even that cannot be written, the code has to do.
    let _ = writeln!(stderr(), "error: {error:#}");
    ExitCode::FAILURE
}
