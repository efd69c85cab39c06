//! The command line.

use std::{
    io::Read,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use headgate_crds::{manifest, value::Duration};
use serde_json::json;

use crate::{auth::mint::mint, telemetry::log::Format};

/// Exit codes, after sysexits.h: they are public.
pub mod exit {
    /// The manifest, or a file it needs, is wrong.
    pub const REFUSED: u8 = 65;
    /// An address cannot be bound.
    pub const UNAVAILABLE: u8 = 69;
    /// A defect of ours.
    pub const INTERNAL: u8 = 70;
    /// A file cannot be read.
    pub const NO_INPUT: u8 = 66;
}

/// A WebSocket hub that a manifest describes.
#[derive(Debug, Parser)]
#[command(name = "headgate-gateway", version, after_help = AFTER)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Examples:
  headgate-gateway check gateway.yaml
  headgate-gateway serve gateway.yaml --listen 127.0.0.1:8080 --secrets ./secrets
  headgate-gateway token --secret ./secrets/chat-jwt/hmac --user alice --subscribe 'room.*'

Exit codes: 0 done, 2 wrong usage, 65 manifest refused, 66 file not readable,
69 address not available, 70 internal error.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a manifest.
    Serve(Serve),
    /// Say everything that is wrong with a manifest; `-` reads standard input.
    Check {
        /// The manifest.
        manifest: PathBuf,
    },
    /// Mint a token, signed with HS256.
    Token(Token),
    /// Print the JSON Schema of `spec`.
    Schema,
    /// Print a completion script.
    Completions {
        /// For this shell.
        shell: clap_complete::Shell,
    },
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// The manifest, as it is applied to a cluster.
    pub manifest: PathBuf,
    /// The public address; port 0 takes any free one.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The internal address: metrics, health, server API.
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub internal_listen: SocketAddr,
    /// Secrets, as pods mount them: `<DIR>/<secretName>/<key>`.
    #[arg(long, default_value = "/etc/headgate/secrets")]
    pub secrets: PathBuf,
    /// How a log line looks.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: Format,
    /// Echo every message on this path, without token or limits: for conformance suites only.
    #[arg(long)]
    pub conformance_echo: Option<String>,
}

/// What a token says.
#[derive(Clone, Debug, Args)]
pub struct Token {
    /// The file with the HMAC secret.
    #[arg(long)]
    pub secret: PathBuf,
    /// The user.
    #[arg(long)]
    pub user: String,
    /// Channels to subscribe to.
    #[arg(long)]
    pub subscribe: Vec<String>,
    /// Channels to publish to.
    #[arg(long)]
    pub publish: Vec<String>,
    /// Channels whose members may be read.
    #[arg(long)]
    pub presence: Vec<String>,
    /// Channels whose history may be read.
    #[arg(long)]
    pub history: Vec<String>,
    /// Channels that are subscribed at connect.
    #[arg(long)]
    pub channel: Vec<String>,
    /// The key's name.
    #[arg(long)]
    pub kid: Option<String>,
    /// `iss`.
    #[arg(long)]
    pub issuer: Option<String>,
    /// `aud`.
    #[arg(long)]
    pub audience: Option<String>,
    /// How long it is good.
    #[arg(long, default_value = "1h")]
    pub expires: Duration,
}

/// Does what needs no server.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Serve(_) => ExitCode::from(exit::INTERNAL),
        Command::Schema => {
            println!("{:#}", headgate_crds::schema());
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "headgate-gateway", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Check { manifest: path } => {
            let text = if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().take(manifest::BYTES_MAX as u64 + 1).read_to_string(&mut text).map(|_| text)
            } else {
                std::fs::read_to_string(path)
            };
            let text = match text {
                Ok(text) => text,
                Err(error) => {
                    eprintln!("cannot read {}: {error}", path.display());
                    return ExitCode::from(exit::NO_INPUT);
                }
            };
            let findings = manifest::check(&text);
            for finding in &findings {
                println!("{finding}");
            }
            if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::REFUSED) }
        }
        Command::Token(token) => {
            let secret = match std::fs::read(&token.secret) {
                Ok(secret) => secret,
                Err(error) => {
                    eprintln!("cannot read {}: {error}", token.secret.display());
                    return ExitCode::from(exit::NO_INPUT);
                }
            };
            match mint(&secret, token.kid.clone(), &claims(token)) {
                Ok(token) => {
                    println!("{token}");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("cannot sign: {error}");
                    ExitCode::from(exit::INTERNAL)
                }
            }
        }
    }
}

fn claims(token: &Token) -> serde_json::Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let mut claims = json!({
        "sub": token.user,
        "exp": now + token.expires.get().as_secs(),
        "headgate": {
            "subscribe": token.subscribe,
            "publish": token.publish,
            "presence": token.presence,
            "history": token.history,
            "channels": token.channel,
        },
    });
    if let (Some(issuer), Some(claims)) = (&token.issuer, claims.as_object_mut()) {
        claims.insert("iss".to_owned(), json!(issuer));
    }
    if let (Some(audience), Some(claims)) = (&token.audience, claims.as_object_mut()) {
        claims.insert("aud".to_owned(), json!(audience));
    }
    claims
}
