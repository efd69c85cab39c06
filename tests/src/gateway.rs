//! The gateway as it is measured: its manifest, its Secrets, its tokens.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use jsonwebtoken::{EncodingKey, Header};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::{
    client::Target,
    server::{Cores, Server},
};

/// The key of the server API.
pub const API_KEY: &str = "measure-measure-measure";

const SECRET: &[u8] = b"a secret of thirty-two bytes, no";

/// A gateway's files, in a folder that is removed in the end.
#[derive(Debug)]
pub struct Gateway {
    binary: PathBuf,
    folder: PathBuf,
    certificate: rcgen::Certificate,
}

/// Which manifest it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Heartbeats as they are by default.
    Plain,
    /// Everybody is pinged within 5 s, since a round of pings belongs to what idle clients cost.
    Pinged,
    /// The same over TLS.
    Tls,
}

impl Setup {
    const ALL: [Self; 3] = [Self::Plain, Self::Pinged, Self::Tls];

    /// How long it takes until everybody has been pinged, where that is soon.
    pub const PINGED_MS: u64 = 5_200;

    const fn file(self) -> &'static str {
        match self {
            Self::Plain => "plain.yaml",
            Self::Pinged => "pinged.yaml",
            Self::Tls => "tls.yaml",
        }
    }
}

impl Gateway {
    /// Writes manifests and Secrets for the gateway at `binary`.
    pub fn prepare(binary: &Path) -> Result<Self> {
        let binary = fs::canonicalize(binary)
            .with_context(|| format!("no gateway at {}", binary.display()))?;
        let folder = std::env::temp_dir().join(format!("headgate-measure-{}", std::process::id()));
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&folder))?;
            fs::write(path, bytes)
        };
        for setup in Setup::ALL {
            write(setup.file(), manifest(setup).to_string().as_bytes())?;
        }
        write("secrets/jwt/hmac", SECRET)?;
        write("secrets/api/api-key", API_KEY.as_bytes())?;
        write("secrets/tls/tls.crt", cert.pem().as_bytes())?;
        write("secrets/tls/tls.key", signing_key.serialize_pem().as_bytes())?;
        Ok(Self { binary, folder, certificate: cert })
    }

    /// Starts it.
    pub fn start(&self, cores: Cores, setup: Setup) -> Result<Server> {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg(self.folder.join(setup.file()));
        command.args(["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
        command.arg("--secrets").arg(self.folder.join("secrets")).args(["--log-format", "json"]);
        Server::start(&mut command, cores, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let address = |name| Some(event.get(name)?.as_str()?.to_owned());
            Some((address("public")?, address("internal")))
        })
    }

    /// What trusts its certificate.
    pub fn tls_client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone())?;
        Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What is left over in the temporary folder is no reason to fail.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// All limits are in force, and wide enough for one publisher to be the whole load.
fn manifest(setup: Setup) -> Value {
    let wide = json!({"perSecond": 1_000_000, "burst": 1_000_000});
    let mut spec = json!({
        "maxConnections": 19_000,
        "auth": {"mode": "Optional", "jwt": {
            "keysSecretName": "jwt", "keys": [{"algorithm": "HS256", "key": "hmac"}]}},
        "channels": [{"match": "**", "subscribe": "Anyone", "publish": "Anyone"}],
        "limits": {"connectRate": wide, "messageRate": wide,
                   "byteRate": {"perSecond": "1Gi", "burst": "1Gi"}},
        "api": {"keySecretName": "api"},
    });
    if setup != Setup::Plain {
        spec["pingPeriod"] = json!("5s");
    }
    if setup == Setup::Tls {
        spec["tls"] = json!({"secretName": "tls"});
    }
    json!({
        "apiVersion": "headgate.dev/v1alpha1", "kind": "RealtimeGateway",
        "metadata": {"name": "measured"}, "spec": spec,
    })
}

/// Where a client of a server connects, without a token.
pub fn target(server: &Server) -> Target {
    Target { address: server.address.clone(), path: "/ws".to_owned(), token: None }
}

/// The same for many, each with the token of a user of its own.
pub fn targets_with_tokens(server: &Server, users: Range<usize>) -> Result<Vec<Target>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let key = EncodingKey::from_secret(SECRET);
    let with_token = |user| {
        let claims = json!({
            "sub": format!("user-{user}"), "exp": now + 3_600,
            "headgate": {"subscribe": ["room.*"], "publish": ["room.*"]},
        });
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key)?;
        Ok(Target { token: Some(token), ..target(server) })
    };
    users.map(with_token).collect()
}
