//! `serve`: the options of the server.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::{config::Source, telemetry::log::Format};

/// How to serve.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER)]
pub struct Serve {
    /// The manifest. It is watched: a change is applied within a second, or refused whole.
    pub manifest: PathBuf,
    /// The public address: the WebSocket path and nothing else. Port 0 takes one that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// The internal address: metrics, health, status and the server API.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090", value_parser = address)]
    pub internal_listen: SocketAddr,
    /// The folder of the Secrets; watched as well.
    #[arg(long, value_name = "DIR", default_value = "/etc/headgate/secrets")]
    pub secrets: PathBuf,
    /// How a line of the log looks. The log goes to standard output.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
    /// Serve a page on the internal address that connects, publishes and draws. Loopback only.
    #[arg(long)]
    pub console: bool,
    /// Echo every message on this path, without token or rate limit: for conformance suites alone.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub conformance_echo: Option<String>,
}

const AFTER: &str = "\
The log event `listening` carries the addresses: `public` and `internal`. A Secret that is named
and not there keeps the gateway not ready until it appears; docs/events.md lists what the log says.

SIGTERM drains: the gateway stays ready for drain.endpointGrace, then closes its clients over
drain.period and exits with 0. A second Ctrl-C ends at once.";

impl Serve {
    /// Where the files are.
    pub fn source(&self) -> Source {
        Source { manifest: self.manifest.clone(), secrets: self.secrets.clone() }
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path { Ok(text.to_owned()) } else { Err("not a path: it has to begin with /") }
}
