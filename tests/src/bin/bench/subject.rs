//! What is measured, and how it is started.

use std::{net::TcpListener, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use headgate_tests::{
    client::Target,
    gateway::{Gateway, Setup},
    server::{Cores, Server},
    speech::Speech,
};

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Reference,
    Coalescing,
    Gateway,
    Centrifugo,
}

/// The programs behind the subjects.
pub struct Binaries {
    pub gateway: Gateway,
    pub reference: PathBuf,
    pub centrifugo: Option<PathBuf>,
}

impl Subject {
    pub const ALL: [Self; 4] = [Self::Reference, Self::Coalescing, Self::Gateway, Self::Centrifugo];

    /// The heading of its column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Coalescing => "coalescing",
            Self::Gateway => "gateway",
            Self::Centrifugo => "Centrifugo",
        }
    }

    pub const fn speech(self) -> Speech {
        match self {
            Self::Reference | Self::Coalescing | Self::Gateway => Speech::Headgate,
            Self::Centrifugo => Speech::Centrifugo,
        }
    }

    pub fn start(self, binaries: &Binaries, cores: Cores, setup: Setup) -> Result<Server> {
        match self {
            Self::Reference | Self::Coalescing => {
                let mut command = Command::new(&binaries.reference);
                command.args((self == Self::Coalescing).then_some("coalesce"));
                Server::start(&mut command, cores, |line| {
                    Some((line.strip_prefix("listening ")?.to_owned(), None))
                })
            }
            Self::Gateway => binaries.gateway.start(cores, setup),
            Self::Centrifugo => {
                let binary = binaries.centrifugo.as_ref().context("no --centrifugo")?;
                // It does not say which port it took, so it is given one that is free now.
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let mut command = Command::new(binary);
                command.envs([
                    ("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1"),
                    ("CENTRIFUGO_HTTP_SERVER_PORT", &port.to_string()),
                    ("CENTRIFUGO_CLIENT_INSECURE", "true"),
                    ("CENTRIFUGO_CLIENT_CONNECTION_LIMIT", "0"),
                    ("CENTRIFUGO_LOG_LEVEL", "info"),
                ]);
                Server::start_at(&mut command, cores, format!("127.0.0.1:{port}"))
            }
        }
    }

    pub fn target(self, server: &Server) -> Target {
        let path = match self {
            Self::Reference | Self::Coalescing | Self::Gateway => "/ws",
            Self::Centrifugo => "/connection/websocket",
        };
        Target { address: server.address.clone(), path: path.to_owned(), token: None }
    }
}
