//! Some gateways of one manifest, each at ports of its own that it keeps over restarts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Folder, free_port, network::Network, process::Process, program, wait_for};
use crate::{gateway::API_KEY, http, swarm::Place};

const SECRET: &[u8] = b"a secret of thirty-two bytes, no";

/// How long a gateway may take until it is ready.
const START: Duration = Duration::from_secs(20);

/// A gateway that may be down.
#[derive(Debug)]
struct Node {
    host: String,
    public: u16,
    internal: u16,
    manifest: PathBuf,
    log: PathBuf,
    is_inside: bool,
    process: Option<Process>,
}

/// The gateways of a run.
#[derive(Debug)]
pub struct Gateways {
    binary: PathBuf,
    secrets: PathBuf,
    nodes: Vec<Node>,
}

impl Gateways {
    /// Starts so many and waits until all are ready. `broker` gives the broker's part of the manifest of each; the last one
    /// is inside the network, if there is one.
    pub fn start(
        binary: &Path,
        count: usize,
        folder: &Folder,
        network: Option<&Network>,
        spec: &Value,
        broker: impl Fn(usize) -> Result<Value>,
    ) -> Result<Self> {
        folder.write("secrets/jwt/hmac", SECRET)?;
        folder.write("secrets/api/api-key", API_KEY.as_bytes())?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let inside = network.filter(|_| number + 1 == count);
            let host = inside.map(|it| it.inside(Network::CLIENTS));
            let mut spec = spec.clone();
            spec["broker"] = broker(number)?;
            let manifest = json!({
                "apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway",
                "metadata": {"name": "faults", "namespace": "tests"}, "spec": spec,
            });
            let name = format!("gateway-{number}");
            nodes.push(Node {
                host: host.unwrap_or("127.0.0.1".to_owned()),
                public: free_port()?,
                internal: free_port()?,
                manifest: folder.write(&format!("{name}.yaml"), manifest.to_string().as_bytes())?,
                log: folder.path.join(format!("{name}.log")),
                is_inside: inside.is_some(),
                process: None,
            });
        }
        let secrets = folder.path.join("secrets");
        let mut gateways = Self { binary: program(binary)?, secrets, nodes };
        (0..count).try_for_each(|it| gateways.begin(it, network))?;
        (0..count).try_for_each(|it| gateways.wait(it))?;
        Ok(gateways)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn node(&self, number: usize) -> Result<&Node> {
        self.nodes.get(number).context("no such gateway")
    }

    /// Starts one, without waiting until it is ready.
    pub fn begin(&mut self, number: usize, network: Option<&Network>) -> Result<()> {
        let node = self.node(number)?;
        let mut command = match network.filter(|_| node.is_inside) {
            Some(network) => network.command(&self.binary),
            None => Command::new(&self.binary),
        };
        command.arg("serve").arg(&node.manifest).arg("--secrets").arg(&self.secrets);
        command.args(["--log-format", "json"]);
        command.arg("--listen").arg(format!("{}:{}", node.host, node.public));
        command.arg("--internal-listen").arg(format!("{}:{}", node.host, node.internal));
        let process = Process::start(&mut command, &node.log)?;
        self.nodes.get_mut(number).context("no such gateway")?.process = Some(process);
        Ok(())
    }

    /// Waits until one is ready.
    pub fn wait(&self, number: usize) -> Result<()> {
        let address = self.internal(number)?;
        let is_ready = || http::get(&address, "/readyz").is_ok_and(|it| it.0 == 200);
        wait_for(&format!("gateway {number} to be ready"), START, is_ready)
    }

    /// The process of one.
    pub fn process(&mut self, number: usize) -> Result<&mut Process> {
        let node = self.nodes.get_mut(number).context("no such gateway")?;
        node.process.as_mut().context("it does not run")
    }

    /// Where backends call one.
    pub fn internal(&self, number: usize) -> Result<String> {
        let node = self.node(number)?;
        Ok(format!("{}:{}", node.host, node.internal))
    }

    /// Where clients connect.
    pub fn places(&self) -> Result<Vec<Place>> {
        let address = |node: &Node| {
            let address: SocketAddr = format!("{}:{}", node.host, node.public).parse()?;
            Ok(Place { address })
        };
        self.nodes.iter().map(address).collect()
    }
}

/// The token of a user who may do everything that the rules let users do.
pub fn token(user: u32) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({"sub": user_name(user), "exp": now + 7_200});
    let key = EncodingKey::from_secret(SECRET);
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
}

/// What a user is called.
pub fn user_name(user: u32) -> String {
    format!("u{user}")
}

/// A rule by which whoever has a token may subscribe and publish.
pub fn for_users(mut rule: Value) -> Value {
    rule["subscribe"] = json!("Authenticated");
    rule["publish"] = json!("Authenticated");
    rule
}

/// What the manifests of all runs have in common: wide limits, so that only faults are in the way.
pub fn spec(channels: &Value) -> Value {
    let wide = json!({"perSecond": 1_000_000, "burst": 1_000_000});
    json!({
        "maxConnections": 5_000,
        "pingPeriod": "20s", "pongWait": "40s",
        "auth": {"mode": "Required", "jwt": {
            "keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}},
        "channels": channels,
        "limits": {"connectRate": wide, "messageRate": wide, "subscribeRate": wide,
                   "sendQueueMessages": 4_096, "sendQueueBytes": "4Mi",
                   "byteRate": {"perSecond": "1Gi", "burst": "1Gi"}},
        "drain": {"period": "6s", "endpointGrace": "1s"},
        "api": {"keySecretName": "api"},
    })
}
