//! One NATS server with `JetStream`, or three that are one cluster.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Folder, free_port, process::Process, program, wait_for, wait_for_port};
use crate::http;

/// How long a server may take until it listens, and a cluster until it has a leader.
const START: Duration = Duration::from_secs(20);

/// A server that may be down.
#[derive(Debug)]
struct Node {
    port: u16,
    monitor: u16,
    config: PathBuf,
    store: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

/// The servers.
#[derive(Debug)]
pub struct Nats {
    binary: PathBuf,
    nodes: Vec<Node>,
}

impl Nats {
    /// Starts so many.
    pub fn start(binary: &Path, count: usize, folder: &Folder) -> Result<Self> {
        let binary = program(binary)?;
        let routes: Vec<u16> = (0..count).map(|_| free_port()).collect::<Result<_>>()?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let (port, monitor) = (free_port()?, free_port()?);
            let store = folder.path.join(format!("nats-{number}"));
            let mut config = format!(
                "server_name: n{number}\nlisten: \"0.0.0.0:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
                 jetstream {{ store_dir: {:?}, max_memory_store: 256MB, max_file_store: 4GB }}\n",
                store.display().to_string()
            );
            if count > 1 {
                let listen = routes.get(number).context("no route")?;
                let others: Vec<_> =
                    routes.iter().map(|it| format!("\"nats://127.0.0.1:{it}\"")).collect();
                // Writing to a String never fails.
                let _ = writeln!(
                    config,
                    "cluster {{ name: faults, listen: \"127.0.0.1:{listen}\", routes: [{}] }}",
                    others.join(", ")
                );
            }
            let config = folder.write(&format!("nats-{number}.conf"), config.as_bytes())?;
            let log = folder.path.join(format!("nats-{number}.log"));
            nodes.push(Node { port, monitor, config, store, log, process: None });
        }
        let mut nats = Self { binary, nodes };
        for number in 0..count {
            nats.begin(number)?;
        }
        if count > 1 {
            let has_leader =
                || nats.get(0, "/jsz").is_ok_and(|it| it["meta_cluster"]["leader"].is_string());
            wait_for("a leader of the cluster", START, has_leader)?;
        }
        Ok(nats)
    }

    /// Where gateways find them, at an address of this machine.
    pub fn url(&self, host: &str) -> String {
        let urls: Vec<_> =
            self.nodes.iter().map(|it| format!("nats://{host}:{}", it.port)).collect();
        urls.join(",")
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(number).context("no such server")
    }

    /// Starts one and waits until it listens.
    pub fn begin(&mut self, number: usize) -> Result<()> {
        let binary = self.binary.clone();
        let node = self.node(number)?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&node.config);
        node.process = Some(Process::start(&mut command, &node.log)?);
        wait_for_port(&format!("127.0.0.1:{}", node.port), START)
    }

    /// Ends one as a crash does.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        let process = self.node(number)?.process.take();
        process.context("it does not run")?.kill()
    }

    /// Forgets everything that one stored; it must be down.
    pub fn empty(&mut self, number: usize) -> Result<()> {
        Ok(fs::remove_dir_all(&self.node(number)?.store)?)
    }

    /// A process.
    pub fn process(&self, number: usize) -> Result<&Process> {
        self.nodes.get(number).and_then(|it| it.process.as_ref()).context("it does not run")
    }

    fn get(&self, number: usize, path: &str) -> Result<Value> {
        let node = self.nodes.get(number).context("no such server")?;
        let (status, body) = http::get(&format!("127.0.0.1:{}", node.monitor), path)?;
        anyhow::ensure!(status == 200, "GET {path}: {status}");
        Ok(serde_json::from_str(&body)?)
    }

    /// The server that leads a stream whose name holds this.
    pub fn leader(&self, stream: &str) -> Result<usize> {
        let jsz = self.get(0, "/jsz?streams=true")?;
        let accounts = jsz["account_details"].as_array().context("no accounts")?;
        let streams = accounts.iter().filter_map(|it| it["stream_detail"].as_array()).flatten();
        let found = streams
            .filter(|it| it["name"].as_str().is_some_and(|it| it.contains(stream)))
            .find_map(|it| it["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok());
        found.with_context(|| format!("no stream {stream}, or nobody leads it: {jsz}"))
    }
}
