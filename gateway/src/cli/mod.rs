//! The command line.
//!
//! Results go to standard output, what went wrong to standard error. Exit codes are public (after
//! `sysexits.h`) and never change meaning.

mod check;
mod input;
mod serve;
pub mod start;
mod token;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use headgate_crds::manifest::Finding;

pub use self::{serve::Serve, token::Token};

/// Exit codes.
pub mod exit {
    /// The arguments make no sense (`EX_USAGE`).
    pub const USAGE: u8 = 64;
    /// The manifest is refused (`EX_DATAERR`).
    pub const REFUSED: u8 = 65;
    /// A file cannot be read (`EX_NOINPUT`).
    pub const NO_INPUT: u8 = 66;
    /// An address cannot be listened on (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: u8 = 69;
    /// A defect of ours (`EX_SOFTWARE`).
    pub const INTERNAL: u8 = 70;
}

/// A WebSocket hub that a manifest describes.
///
/// The manifest is the `RealtimeGateway` that you apply to a cluster: the same file runs here.
#[derive(Debug, Parser)]
#[command(name = "headgate-gateway", version, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Examples:
  headgate-gateway check gateway.yaml
  headgate-gateway serve gateway.yaml --listen 127.0.0.1:8080 --secrets ./secrets --console
  headgate-gateway token --secret ./secrets/chat-jwt/hmac --user alice --subscribe 'room.*'
  headgate-gateway schema > gateway.schema.json

Files:
  A Secret that the manifest names is a folder of files, <DIR>/<secretName>/<key>, as a pod
  mounts it: chat-tls/tls.crt, chat-tls/tls.key, chat-api/api-key (a key a line), and the files
  that auth.jwt.keys names in auth.jwt.keysSecretName. In a pod the manifest is
  /etc/headgate/config/gateway.yaml and DIR is /etc/headgate/secrets.

Exit codes:
  0 done   64 wrong usage   65 the manifest is refused   66 a file cannot be read
  69 an address cannot be listened on   70 internal error";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a manifest.
    Serve(Serve),
    /// Say everything that is wrong with manifests.
    Check(check::Check),
    /// Mint a token for a user, signed with HS256: for development and for tests.
    Token(Token),
    /// Print the JSON Schema of a manifest, for editors.
    Schema,
    /// Print a completion script.
    #[command(after_help = "Example:\n  headgate-gateway completions bash > \
                            /etc/bash_completion.d/headgate-gateway")]
    Completions {
        /// For this shell.
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Reads the arguments of a process.
    ///
    /// # Errors
    ///
    /// With the code to exit with, once help, the version or what is wrong has been printed.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Where it cannot be printed, there is nobody to read it.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(exit::USAGE),
            }
        })
    }
}

/// Does what needs no server, and hands `serve` what does.
pub fn run(cli: Cli, serve: impl FnOnce(Serve) -> ExitCode) -> ExitCode {
    let mut output = io::stdout().lock();
    let done = match cli.command {
        Command::Serve(options) => {
            // The log writes there too, from a thread of its own.
            drop(output);
            return serve(options);
        }
        Command::Check(check) => check.run(&mut output),
        Command::Token(token) => token.run(&mut output),
        Command::Schema => {
            writeln!(output, "{:#}", headgate_crds::schema()).map_err(Failure::Output)
        }
        Command::Completions { shell } => completions(shell, &mut output),
    };
    done.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell, output: &mut impl Write) -> Result<(), Failure> {
    // It panics where the pipe is closed, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "headgate-gateway", &mut script);
    output.write_all(&script).map_err(Failure::Output)
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    /// What is wrong has been said.
    #[error("refused")]
    Refused,
    #[error("cannot read {}", .0.display())]
    Input(PathBuf, #[source] io::Error),
    #[error("cannot write")]
    Output(#[source] io::Error),
}

impl Failure {
    /// Says what is left to say, and how to exit.
    fn report(&self) -> ExitCode {
        let code = match self {
            Self::Usage(_) => exit::USAGE,
            Self::Refused => exit::REFUSED,
            Self::Input(..) => exit::NO_INPUT,
            // Whoever closed the pipe (`| head`) has what they wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => exit::INTERNAL,
        };
        if !matches!((self, code), (Self::Refused, _) | (_, 0)) {
            complain(self);
        }
        ExitCode::from(code)
    }
}

/// Says on standard error what went wrong, with its causes.
pub fn complain(error: &dyn std::error::Error) {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    // Where it cannot be printed, there is nobody to read it.
    let _ = writeln!(io::stderr(), "headgate-gateway: {}", texts.join(": "));
}

/// Says on standard error everything that is wrong with a manifest.
pub fn complain_of(manifest: &Path, findings: &[Finding]) {
    for finding in findings {
        let _ = writeln!(io::stderr(), "{}: {finding}", manifest.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
