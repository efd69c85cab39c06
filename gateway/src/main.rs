//! The binary: arguments, logs, and one of the commands.

use std::process::ExitCode;

use clap::Parser;
use headgate_gateway::{
    cli::{self, Cli, Command},
    serve,
    telemetry::log,
};

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let Command::Serve(options) = cli.command else { return Ok(cli::run(&cli.command)) };
    let log = log::start(options.log_format);
    // What is beside the workers: the server API, configuration, logs.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let code = runtime.block_on(serve::serve(options, log));
    runtime.shutdown_background();
    Ok(code)
}
