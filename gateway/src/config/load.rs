//! Reads the manifest and the Secrets it names from folders, and again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use headgate_crds::{
    manifest::{self, Finding},
    v1alpha1::{AddressSource, AuthMode, BrokerType, RealtimeGatewaySpec},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tracing::{info, warn};

use super::settings::Settings;
use crate::auth::token::{Key, Verifier};

/// How often files are looked at. With the time to apply, a change is live within a second.
const POLL: Duration = Duration::from_millis(250);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Source {
    /// The manifest.
    pub manifest: PathBuf,
    /// `<secrets>/<secretName>/<key>`.
    pub secrets: PathBuf,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The manifest cannot be read.
    #[error("cannot read the manifest {}", .0.display())]
    Manifest(PathBuf, #[source] Arc<io::Error>),
    /// Everything that is wrong with it.
    #[error("the manifest is refused: {}", list(.0))]
    Refused(Vec<Finding>),
    /// A Secret that is named is not there.
    #[error("waiting for the Secret {0}")]
    Missing(String),
    /// What is in a Secret is of no use.
    #[error("the Secret {0}: {1}")]
    Secret(String, String),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What became of the latest change.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The configuration in use.
    pub settings: Option<Arc<Settings>>,
    /// Why the latest one is not in use.
    pub error: Option<String>,
    /// Fields that are read at start and differ from what was read.
    pub restart_required: Vec<&'static str>,
    /// Configurations that were applied, and refused.
    pub reloads: (u64, u64),
}

/// Reads everything once.
pub fn load(source: &Source) -> Result<(Settings, Vec<Finding>), LoadError> {
    let text = fs::read_to_string(&source.manifest)
        .map_err(|error| LoadError::Manifest(source.manifest.clone(), Arc::new(error)))?;
    let manifest = manifest::read(&text).map_err(LoadError::Refused)?;
    let spec = manifest.spec;
    let unsupported = unsupported(&spec);
    if !unsupported.is_empty() {
        return Err(LoadError::Refused(unsupported));
    }
    let verifier = verifier(&spec, &source.secrets)?;
    let api_keys = api_keys(&spec, &source.secrets)?;
    let (tls, certificate_expires) = match &spec.tls {
        None => (None, None),
        Some(tls) => {
            let (config, expires) = server_config(&source.secrets, &tls.secret_name)?;
            (Some(config), Some(expires))
        }
    };
    let rules = spec.rules();
    let hash = Sha256::digest(&text).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let settings = Settings {
        name: manifest.name,
        namespace: manifest.namespace,
        spec,
        rules,
        verifier,
        api_keys,
        tls,
        certificate_expires,
        hash,
    };
    Ok((settings, manifest.warnings))
}

/// What the resource has and this gateway does not.
fn unsupported(spec: &RealtimeGatewaySpec) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut refuse = |path: &str, value: &str, right: &str| {
        found.push(Finding {
            path: path.to_owned(),
            value: value.to_owned(),
            problem: "is not supported by this version of the gateway".to_owned(),
            right: right.to_owned(),
        });
    };
    if spec.broker.kind == BrokerType::NATS {
        refuse("spec.broker.type", "NATS", "Memory");
    }
    if spec.client_address.from == AddressSource::ProxyProtocol {
        refuse("spec.clientAddress.from", "ProxyProtocol", "Socket or XForwardedFor");
    }
    if spec.auth.jwt.as_ref().is_some_and(|jwt| jwt.jwks.is_some()) {
        refuse("spec.auth.jwt.jwks", "", "auth.jwt.keys");
    }
    if spec.telemetry.otlp.is_some() {
        refuse("spec.telemetry.otlp", "", "leaving it out");
    }
    found
}

fn secret(secrets: &Path, name: &str, key: &str) -> Result<Vec<u8>, LoadError> {
    let is_name = |it: &str| !it.is_empty() && !it.contains('/') && it != "." && it != "..";
    if !is_name(name) || !is_name(key) {
        return Err(LoadError::Secret(name.to_owned(), format!("{key:?} is no key")));
    }
    match fs::read(secrets.join(name).join(key)) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(LoadError::Missing(format!("{name} (key {key})")))
        }
        Err(error) => Err(LoadError::Secret(name.to_owned(), format!("{key}: {error}"))),
    }
}

fn verifier(spec: &RealtimeGatewaySpec, secrets: &Path) -> Result<Verifier, LoadError> {
    let Some(jwt) = &spec.auth.jwt else { return Ok(Verifier::default()) };
    let name = jwt.keys_secret_name.as_deref().unwrap_or_default();
    let mut keys = Vec::new();
    for it in &jwt.keys {
        let file = secret(secrets, name, &it.key)?;
        let key = Key::parse(it.algorithm, it.kid.clone(), &file)
            .map_err(|error| LoadError::Secret(name.to_owned(), format!("{}: {error}", it.key)))?;
        keys.push(key);
    }
    Ok(Verifier {
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        requires_user: spec.auth.mode == AuthMode::Required,
        keys,
    })
}

fn api_keys(spec: &RealtimeGatewaySpec, secrets: &Path) -> Result<Vec<String>, LoadError> {
    let Some(api) = &spec.api else { return Ok(Vec::new()) };
    let name = &api.key_secret_name;
    let wrong = |what: &str| LoadError::Secret(name.clone(), format!("api-key: {what}"));
    let file = secret(secrets, name, "api-key")?;
    let text = String::from_utf8(file).map_err(|_| wrong("is not text"))?;
    let keys: Vec<_> =
        text.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    match keys.iter().map(String::len).min() {
        None => Err(wrong("holds no key")),
        Some(0..16) => Err(wrong("holds a key of less than 16 characters")),
        Some(_) => Ok(keys),
    }
}

fn server_config(
    secrets: &Path,
    name: &str,
) -> Result<(Arc<rustls::ServerConfig>, i64), LoadError> {
    let wrong = |what: String| LoadError::Secret(name.to_owned(), what);
    let chain = secret(secrets, name, "tls.crt")?;
    let key = secret(secrets, name, "tls.key")?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("tls.crt: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| wrong("tls.key: no private key in PEM".to_owned()))?;
    let leaf = chain.first().ok_or_else(|| wrong("tls.crt: no certificate in it".to_owned()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| wrong(format!("tls.crt: {error}")))?;
    let expires = parsed.validity().not_after.timestamp();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(format!("tls.crt and tls.key: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), expires))
}

/// What a file looked like: enough to see that it changed, through Kubernetes' links too.
fn stamp(path: &Path) -> Option<(SystemTime, u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.ino(), meta.len()))
}

type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

fn stamps(source: &Source) -> Stamps {
    let mut stamps = vec![stamp(&source.manifest)];
    let mut folders: Vec<_> = fs::read_dir(&source.secrets)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    for folder in folders {
        let mut files: Vec<_> =
            fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok).collect();
        files.sort_by_key(fs::DirEntry::file_name);
        stamps.push(stamp(&folder));
        stamps.extend(files.iter().map(|file| stamp(&file.path())));
    }
    stamps
}

/// Keeps `state` true until nobody reads it any more.
pub async fn watch(source: Source, state: watch::Sender<State>) {
    let mut seen: Option<Stamps> = None;
    while !state.is_closed() {
        let now = stamps(&source);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            let loaded = load(&source);
            state.send_modify(|state| apply(state, loaded));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Takes a configuration into use, or says why not.
pub fn apply(state: &mut State, loaded: Result<(Settings, Vec<Finding>), LoadError>) {
    match loaded {
        Ok((settings, warnings)) => {
            for warning in warnings {
                warn!(event = "config_warning", %warning, "ignored in the manifest");
            }
            if let Some(first) = &state.settings {
                let differs = |(new, old): ((_, String), (_, String))| (new != old).then_some(new.0);
                state.restart_required = settings
                    .spec
                    .startup()
                    .into_iter()
                    .zip(first.spec.startup())
                    .filter_map(differs)
                    .collect();
            }
            for field in &state.restart_required {
                warn!(event = "restart_required", field, "is read at start: restart to apply it");
            }
            info!(event = "config_applied", hash = settings.hash, "configuration applied");
            // What is read at start stays as it was, whatever the document says now.
            let mut settings = settings;
            if let Some(first) = &state.settings {
                settings.spec.path.clone_from(&first.spec.path);
                if first.tls.is_none() {
                    settings.tls = None;
                }
            }
            state.settings = Some(Arc::new(settings));
            state.error = None;
            state.reloads.0 += 1;
        }
        Err(error) => {
            warn!(event = "config_refused", %error, "configuration refused; what was good before stays");
            state.error = Some(error.to_string());
            state.reloads.1 += 1;
        }
    }
}
