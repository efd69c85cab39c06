//! Gateways, NATS servers and the wires between them, to be broken on purpose.

pub mod gateways;
pub mod nats;
pub mod network;
pub mod process;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::clock::{now_ns, pause_ms};

/// What is run, as arguments of a program say.
#[derive(Clone, Debug, Args)]
pub struct Programs {
    /// The gateway's binary, built with --release.
    #[arg(long, default_value = "target/release/headgate-gateway")]
    pub gateway: PathBuf,
    /// The NATS server's binary.
    #[arg(long, default_value = ".tools/bin/nats-server")]
    pub nats_server: PathBuf,
}

/// A folder of one run: manifests, Secrets, stores and logs. It is removed unless it is kept.
#[derive(Debug)]
pub struct Folder {
    /// Where.
    pub path: PathBuf,
    /// Whether it stays, because something went wrong.
    pub is_kept: bool,
}

impl Folder {
    /// An empty one.
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("headgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path, is_kept: false })
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left over in the temporary folder is no reason to fail.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A port that is free now. Somebody else may take it, which the start of the server then says.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("0.0.0.0:0")?.local_addr()?.port())
}

/// Waits until something listens.
pub fn wait_for_port(address: &str, patience: Duration) -> Result<()> {
    wait_for(&format!("{address} to listen"), patience, || TcpStream::connect(address).is_ok())
}

/// Waits until something is so.
pub fn wait_for(what: &str, patience: Duration, is_so: impl Fn() -> bool) -> Result<()> {
    let began = now_ns();
    while !is_so() {
        let waited = Duration::from_nanos(now_ns() - began);
        ensure!(waited < patience, "waited {} s for {what}", patience.as_secs());
        pause_ms(20);
    }
    Ok(())
}

/// The absolute path of a program.
pub fn program(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("no program at {}", path.display()))
}
