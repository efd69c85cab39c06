//! The binary: arguments, a runtime for what is beside the workers, and one of the commands.

use std::{env, process::ExitCode};

use headgate_gateway::{
    cli::{self, Cli, Serve, exit},
    serve,
};
use tokio::runtime;

fn main() -> ExitCode {
    match Cli::read(env::args_os()) {
        Ok(cli) => cli::run(cli, serve),
        Err(code) => code,
    }
}

/// Serves on a runtime of its own. The workers have theirs.
fn serve(options: Serve) -> ExitCode {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("side")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve::serve(options));
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            cli::complain(&error);
            ExitCode::from(exit::INTERNAL)
        }
    }
}
