//! One NATS server with `JetStream`, or three that are one cluster, of which the last may stand behind wires of its own.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Folder, free_port, network::Network, process::Process, program, wait_for, wait_for_port,
};
use crate::http;

/// How long a server may take until it listens, and a cluster until it has a leader.
const START: Duration = Duration::from_secs(20);

/// A server that may be down.
#[derive(Debug)]
struct Node {
    /// Where this side reaches it.
    host: String,
    port: u16,
    monitor: u16,
    is_inside: bool,
    config: PathBuf,
    store: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// Its configuration: of a cluster, if there are several routes.
    fn config(&self, number: usize, route: &str, routes: &[String]) -> String {
        let Self { host, port, monitor, store, .. } = self;
        let mut config = format!(
            "server_name: n{number}\nlisten: \"0.0.0.0:{port}\"\nhttp: \"{host}:{monitor}\"\n\
             jetstream {{ store_dir: {:?}, max_memory_store: 256MB, max_file_store: 4GB }}\n",
            store.display().to_string()
        );
        if routes.len() > 1 {
            let all: Vec<_> = routes.iter().map(|it| format!("\"nats://{it}\"")).collect();
            // Gateways stay with the servers that they were told of, and a route over which nothing passes is given up within 6 s.
            // With the 30 s that are the default, TCP would bridge the break. Writing to a String never fails.
            let _ = writeln!(
                config,
                "cluster {{ name: faults, listen: \"{route}\", routes: [{}], no_advertise: true, ping_interval: \"2s\" }}",
                all.join(", ")
            );
        }
        config
    }
}

/// The servers.
#[derive(Debug)]
pub struct Nats {
    binary: PathBuf,
    nodes: Vec<Node>,
}

impl Nats {
    /// Starts so many; the last one is inside the network, if there is one, and its routes to the others go over the wire for NATS.
    pub fn start(
        binary: &Path,
        count: usize,
        folder: &Folder,
        network: Option<&Network>,
    ) -> Result<Self> {
        let binary = program(binary)?;
        let around = |number: usize| network.filter(|_| number + 1 == count);
        let routes = (0..count)
            .map(|number| {
                let host = match (network, around(number)) {
                    (Some(_), Some(network)) => network.inside(Network::NATS),
                    (Some(network), None) => network.outside(Network::NATS),
                    (None, _) => "127.0.0.1".to_owned(),
                };
                Ok(format!("{host}:{}", free_port()?))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut nodes = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let inside = around(number);
            let host = inside.map_or("127.0.0.1".to_owned(), |it| it.inside(Network::CLIENTS));
            let mut node = Node {
                host,
                port: free_port()?,
                monitor: free_port()?,
                is_inside: inside.is_some(),
                config: PathBuf::new(),
                store: folder.path.join(format!("nats-{number}")),
                log: folder.path.join(format!("nats-{number}.log")),
                process: None,
            };
            let config = node.config(number, route, &routes);
            node.config = folder.write(&format!("nats-{number}.conf"), config.as_bytes())?;
            nodes.push(node);
        }
        let mut nats = Self { binary, nodes };
        for number in 0..count {
            nats.begin(number, network)?;
        }
        if count > 1 {
            let has_leader =
                || nats.get(0, "/jsz").is_ok_and(|it| it["meta_cluster"]["leader"].is_string());
            wait_for("a leader of the cluster", START, has_leader)?;
        }
        Ok(nats)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where gateways find all of them, at an address of this machine.
    pub fn url(&self, host: &str) -> String {
        let urls: Vec<_> =
            self.nodes.iter().map(|it| format!("nats://{host}:{}", it.port)).collect();
        urls.join(",")
    }

    /// Where a gateway finds one of them.
    pub fn url_of(&self, number: usize) -> Result<String> {
        let node = self.nodes.get(number).context("no such server")?;
        Ok(format!("nats://{}:{}", node.host, node.port))
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(number).context("no such server")
    }

    /// Starts one and waits until it listens.
    pub fn begin(&mut self, number: usize, network: Option<&Network>) -> Result<()> {
        let binary = self.binary.clone();
        let node = self.node(number)?;
        let mut command = match network.filter(|_| node.is_inside) {
            Some(network) => network.command(&binary),
            None => Command::new(binary),
        };
        command.arg("-c").arg(&node.config);
        node.process = Some(Process::start(&mut command, &node.log)?);
        wait_for_port(&format!("{}:{}", node.host, node.port), START)
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
        let (status, body) = http::get(&format!("{}:{}", node.host, node.monitor), path)?;
        anyhow::ensure!(status == 200, "GET {path}: {status}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Waits until one has routes to all others.
    pub fn wait_for_routes(&self, number: usize) -> Result<()> {
        let others = || {
            let routes = self.get(number, "/routez").ok()?;
            let names = routes["routes"].as_array()?.iter().map(|it| it["remote_name"].as_str());
            Some(names.collect::<HashSet<_>>().len())
        };
        let is_routed = || others() == Some(self.nodes.len() - 1);
        wait_for("routes between NATS servers", START, is_routed)
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
