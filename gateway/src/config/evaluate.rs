//! Decides what to do with what is in the folders. Pure.
//!
//! A manifest is taken whole or not at all. Of a Secret the last good contents stay in use where the
//! new ones are no good or gone, since a mistake in a certificate must not hold up the rest. One
//! thing is taken at its word: a token's or API key's file that is no longer in a Secret that is
//! there. Whoever removes a key means it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use headgate_crds::{
    manifest::Finding,
    v1alpha1::{RealtimeGatewaySpec, Startup},
};

use super::{
    Config, api_keys,
    document::{Document, finding},
    keys,
    nats::Credentials,
    secret::{self, Secret, SecretFile},
    snapshot::Snapshot,
    tls::Tls,
};

/// What is in use, and what the next configuration has to fit to.
#[derive(Debug)]
pub(super) struct Current {
    /// The manifest of the start: it says what is read at start.
    pub(super) start: RealtimeGatewaySpec,
    /// The configuration in use; `None` until there was a whole one.
    pub(super) config: Option<Arc<Config>>,
    /// The contents in use by file; `None` where the file was removed from its Secret.
    pub(super) contents: Contents,
}

/// What files contain, by Secret and key.
type Contents = BTreeMap<(String, String), Option<Secret>>;

/// What to do.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Apply it.
    Apply(Box<Next>),
    /// Keep what is in use.
    Refuse {
        /// What is wrong, but for the files that are not there.
        findings: Vec<Finding>,
        /// The files that are not there.
        missing: Vec<SecretFile>,
    },
}

/// A configuration that can be applied.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) config: Config,
    pub(super) contents: Contents,
    /// Unknown fields of the manifest.
    pub(super) warnings: Vec<Finding>,
    /// Fields that keep the value of the start.
    pub(super) restart_required: Vec<&'static str>,
    /// What is wrong with new contents of Secrets, whose old ones stay in use.
    pub(super) findings: Vec<Finding>,
    /// Files that are gone.
    pub(super) vanished: Vec<SecretFile>,
}

/// Decides about what the folders contain now.
pub(super) fn evaluate(document: Document, snapshot: &Snapshot, current: &Current) -> Verdict {
    let restart_required = document.spec.startup().changed_since(&current.start.startup());
    let spec = as_started(document.spec, current);
    let mut choice = Choice::new(snapshot, &current.contents);

    let verifier = keys::verifier(&spec, choice.keys(&spec));
    let jwks_ca = choice.jwks_ca(&spec);
    let api_keys = choice.api_keys(&spec);
    let tls = choice.tls(&spec, current.config.as_deref());
    let nats = choice.nats(&spec);

    let Choice { used, missing, vanished, kept, fatal, .. } = choice;
    if !fatal.is_empty() || !missing.is_empty() {
        return Verdict::Refuse { findings: fatal, missing };
    }
    let config = Config {
        name: document.name,
        namespace: document.namespace,
        hash: document.hash,
        rules: spec.channel_rules(),
        spec: Arc::new(spec),
        verifier,
        jwks_ca,
        api_keys,
        nats,
        tls,
    };
    let warnings = document.warnings;
    let next =
        Next { config, contents: used, warnings, restart_required, findings: kept, vanished };
    Verdict::Apply(Box::new(next))
}

/// The spec with what is read at start as it was then.
///
/// Where the name of a Secret under `auth` is not the one of the start, all of `auth` stays as it is
/// in use: its parts only make sense together, and the new Secret is not mounted.
fn as_started(spec: RealtimeGatewaySpec, current: &Current) -> RealtimeGatewaySpec {
    let Startup { path, tls, broker, api, keys_secret_name, ca_secret_name } =
        current.start.startup();
    let now = spec.startup();
    let is_same = now.keys_secret_name == keys_secret_name && now.ca_secret_name == ca_secret_name;
    let auth = match &current.config {
        _ if is_same => spec.auth,
        Some(config) => config.spec.auth.clone(),
        None => current.start.auth.clone(),
    };
    RealtimeGatewaySpec { path, tls, broker, api, auth, ..spec }
}

/// Chooses, Secret by Secret, between the contents that are there now and those in use.
struct Choice<'a> {
    snapshot: &'a Snapshot,
    in_use: &'a Contents,
    used: Contents,
    missing: Vec<SecretFile>,
    vanished: Vec<SecretFile>,
    /// What is wrong with contents that have older ones to fall back to.
    kept: Vec<Finding>,
    /// What is wrong with contents that have none.
    fatal: Vec<Finding>,
}

impl<'a> Choice<'a> {
    fn new(snapshot: &'a Snapshot, in_use: &'a Contents) -> Self {
        Self {
            snapshot,
            in_use,
            used: Contents::new(),
            missing: Vec::new(),
            vanished: Vec::new(),
            kept: Vec::new(),
            fatal: Vec::new(),
        }
    }

    fn keys(&mut self, spec: &RealtimeGatewaySpec) -> Vec<crate::auth::token::Key> {
        let keys = spec.auth.jwt.iter().flat_map(|jwt| &jwt.keys);
        let files = secret::keys(spec);
        keys.zip(&files)
            .filter(|(_, file)| !self.is_removed(file))
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|(key, file)| {
                self.choose(std::slice::from_ref(file), |contents| keys::parse(key, &contents[0]))
            })
            .collect()
    }

    fn api_keys(&mut self, spec: &RealtimeGatewaySpec) -> Vec<Secret> {
        let file = secret::api_keys(spec).filter(|file| !self.is_removed(file));
        file.and_then(|file| self.choose(&[file], |contents| api_keys::parse(contents[0].bytes())))
            .unwrap_or_default()
    }

    fn jwks_ca(&mut self, spec: &RealtimeGatewaySpec) -> Option<Secret> {
        let file = secret::jwks_ca(spec)?;
        self.choose(&[file], |contents| Ok::<_, std::convert::Infallible>(contents[0].clone()))
    }

    fn nats(&mut self, spec: &RealtimeGatewaySpec) -> Option<Credentials> {
        let has = |file: &SecretFile| self.snapshot.file(file).is_some();
        let files = secret::nats(spec, has)?;
        let names: Vec<_> = files.iter().map(|file| file.key.as_str()).collect();
        self.choose(&files, |contents| Credentials::parse(&names, contents))
    }

    /// The pair; with the settings in use if it is the pair in use, so that clients can go on to
    /// resume their TLS sessions.
    fn tls(&mut self, spec: &RealtimeGatewaySpec, config: Option<&Config>) -> Option<Tls> {
        let files = secret::tls(spec)?;
        let in_use = config.and_then(|config| config.tls.clone());
        let old = self.in_use(&files);
        self.choose(&files, |pair| match &in_use {
            Some(tls) if old.as_deref() == Some(pair) => Ok(tls.clone()),
            _ => Tls::parse(pair[0].bytes(), pair[1].bytes()),
        })
    }

    /// Whether a key's file was taken out of a Secret that is there. Remembers that it was.
    fn is_removed(&mut self, file: &SecretFile) -> bool {
        let was_there = self.in_use.contains_key(&id(file));
        let is_gone = self.snapshot.has_secret_of(file) && self.snapshot.file(file).is_none();
        if was_there && is_gone {
            self.used.insert(id(file), None);
            self.vanished.push(file.clone());
        }
        was_there && is_gone
    }

    /// What files that belong together say: as they are now, else as they are in use.
    fn choose<T, E: fmt::Display>(
        &mut self,
        files: &[SecretFile],
        parse: impl Fn(&[Secret]) -> Result<T, E>,
    ) -> Option<T> {
        let absent: Vec<_> =
            files.iter().filter(|file| self.snapshot.file(file).is_none()).cloned().collect();
        let now: Vec<_> =
            files.iter().filter_map(|file| self.snapshot.file(file)).cloned().collect();
        let problem = if absent.is_empty() {
            match parse(&now) {
                Ok(parsed) => return Some(self.take(files, now, parsed)),
                Err(error) => Some(error.to_string()),
            }
        } else {
            None
        };

        let old = self.in_use(files);
        let fallback = old.and_then(|old| Some((parse(&old).ok()?, old)));
        let findings = if fallback.is_some() { &mut self.kept } else { &mut self.fatal };
        findings.extend(problem.map(|problem| unusable(files, &problem)));
        let Some((parsed, old)) = fallback else {
            self.missing.extend(absent);
            return None;
        };
        self.vanished.extend(absent);
        Some(self.take(files, old, parsed))
    }

    fn take<T>(&mut self, files: &[SecretFile], contents: Vec<Secret>, parsed: T) -> T {
        self.used.extend(files.iter().map(id).zip(contents.into_iter().map(Some)));
        parsed
    }

    /// The contents in use of all the files, or nothing.
    fn in_use(&self, files: &[SecretFile]) -> Option<Vec<Secret>> {
        files.iter().map(|file| self.in_use.get(&id(file))?.clone()).collect()
    }
}

fn id(file: &SecretFile) -> (String, String) {
    (file.secret.clone(), file.key.clone())
}

fn unusable(files: &[SecretFile], problem: &str) -> Finding {
    let (secret, field) =
        files.first().map_or(("", ""), |file| (file.secret.as_str(), file.field.as_str()));
    let key = if let [file] = files { format!("/{}", file.key) } else { String::new() };
    let value = format!("{secret}{key}");
    Finding { value, ..finding(field, problem, "the Secret has to be put right") }
}

/// What to say of a file that is not there and never was.
pub(super) fn not_there(file: &SecretFile) -> Finding {
    let right = "the Secret has to be there, with this file in it";
    Finding { value: file.described(), ..finding(&file.field, "not there", right) }
}
