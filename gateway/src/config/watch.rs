//! Brings what is in the folders, for as long as the process lives.
//!
//! Looking four times a second costs a few system calls and works with Kubernetes' swapped links,
//! with editors that replace a file, and on every file system. Files are read once they have looked
//! the same twice, so a change is applied within a second of its end.

use std::{
    collections::BTreeMap,
    mem,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use headgate_crds::manifest::Finding;
use tokio::{
    sync::{oneshot, watch},
    task,
    time::{self, MissedTickBehavior},
};
use tracing::{info, warn};

use super::{
    Config, ConfigError, Refusal, Source, State,
    document::{self, Document},
    evaluate::{Current, Next, Verdict, evaluate, not_there},
    secret::SecretFile,
    snapshot::{Snapshot, Stamps},
};

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// Reads the manifest for the first time, without the Secrets: those may come later.
///
/// # Errors
///
/// If the manifest cannot be read, or with everything that is wrong with it.
pub fn open(source: Source) -> Result<(Watcher, Watched), ConfigError> {
    let path = || source.manifest.clone();
    let text = Snapshot::manifest(&source)
        .manifest
        .map_err(|error| ConfigError::Unreadable { path: path(), source: error })?;
    let document = Document::parse(&text)
        .map_err(|findings| ConfigError::Refused { path: path(), findings })?;

    let mut secrets: Vec<_> =
        document.spec.secrets().into_iter().map(|(_, name)| name.to_owned()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let current = Current { start: document.spec.clone(), config: None, contents: BTreeMap::new() };
    let (state, state_seen) = watch::channel(Arc::new(State::default()));
    let (first, first_seen) = oneshot::channel();
    let watcher =
        Watcher { source, secrets, current, state, config: Sender::Waiting(first), seen: None };
    Ok((watcher, Watched { document: Arc::new(document), state: state_seen, first: first_seen }))
}

/// What the rest of the process sees of the configuration.
#[derive(Debug)]
pub struct Watched {
    /// The manifest of the start: enough to open the internal port and say what is missing.
    pub document: Arc<Document>,
    /// What there is to say about the configuration.
    pub state: watch::Receiver<Arc<State>>,
    first: oneshot::Receiver<watch::Receiver<Arc<Config>>>,
}

impl Watched {
    /// Waits until everything that the manifest names has been there once.
    ///
    /// From then on there always is a configuration. `None` if the watcher is gone.
    pub async fn complete(self) -> Option<watch::Receiver<Arc<Config>>> {
        self.first.await.ok()
    }
}

/// The task that watches the folders.
#[derive(Debug)]
pub struct Watcher {
    source: Source,
    /// The Secrets that the manifest of the start names: no other is mounted.
    secrets: Vec<String>,
    current: Current,
    state: watch::Sender<Arc<State>>,
    config: Sender,
    /// How the files looked when they were read last.
    seen: Option<Stamps>,
}

/// Who gets the configuration: first the one who waits for it, then everybody.
#[derive(Debug)]
enum Sender {
    Waiting(oneshot::Sender<watch::Receiver<Arc<Config>>>),
    Live(watch::Sender<Arc<Config>>),
    Nobody,
}

impl Watcher {
    /// Watches until the process ends. The first reading is at once.
    pub async fn run(mut self) {
        let mut ticks = time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = self.look().await;
        loop {
            ticks.tick().await;
            let now = self.look().await;
            let is_still = mem::replace(&mut before, now.clone()) == now;
            if is_still && self.seen.as_ref() != Some(&now) {
                let snapshot = self.read().await;
                // What changed while it was read is half old and half new: look again.
                before = self.look().await;
                if before == now {
                    self.seen = Some(now);
                    self.update(&snapshot);
                }
            }
        }
    }

    async fn look(&self) -> Stamps {
        let (source, secrets) = (self.source.clone(), self.secrets.clone());
        blocking(move || Stamps::take(&source, &secrets)).await
    }

    async fn read(&self) -> Snapshot {
        let (source, secrets) = (self.source.clone(), self.secrets.clone());
        blocking(move || Snapshot::read(&source, &secrets)).await
    }

    /// Applies what was read, or says why not.
    fn update(&mut self, snapshot: &Snapshot) {
        let before = self.state.borrow().clone();
        let mut state = State { refusal: None, missing: Vec::new(), ..(*before).clone() };
        let (hash, document) = match &snapshot.manifest {
            Ok(text) => (Some(document::hash(text)), Document::parse(text)),
            Err(error) => (None, Err(vec![self.unreadable(error)])),
        };
        let verdict = match document {
            Ok(document) => evaluate(document, snapshot, &self.current),
            Err(findings) => Verdict::Refuse { findings, missing: Vec::new() },
        };
        match verdict {
            Verdict::Apply(next) => self.apply(*next, hash, &mut state),
            Verdict::Refuse { findings, missing } => {
                self.refuse(findings, missing, hash, &mut state);
            }
        }
        log(&before, &state, &self.source.secrets);
        self.state.send_replace(Arc::new(state));
    }

    fn apply(&mut self, next: Next, hash: Option<String>, state: &mut State) {
        let Next { config, contents, warnings, restart_required, findings, vanished } = next;
        let is_new = state.hash != hash || contents != self.current.contents;
        state.restart_required = restart_required;
        state.vanished = vanished;
        if !findings.is_empty() {
            state.refused += 1;
            state.refusal = Some(Refusal { hash: hash.clone(), findings });
        }
        // A touched file is no new configuration.
        if !is_new {
            return;
        }
        let is_first = self.current.config.is_none();
        let config = Arc::new(config);
        state.hash = hash;
        state.applied += 1;
        state.applied_at = Some(SystemTime::now());
        state.certificate_not_after = config.tls.as_ref().map(|tls| tls.not_after);
        for finding in &warnings {
            warn!(event = "config_warning", %finding, "the manifest has something unknown");
        }
        info!(event = "config_applied", hash = config.hash, "configuration applied");
        if !is_first && self.has_new_certificate(&config) {
            info!(
                event = "tls_reloaded",
                not_after = state.certificate_not_after,
                "new certificate"
            );
        }
        self.current.contents = contents;
        self.current.config = Some(Arc::clone(&config));
        self.config.send(config);
    }

    fn refuse(
        &self,
        mut findings: Vec<Finding>,
        missing: Vec<SecretFile>,
        hash: Option<String>,
        state: &mut State,
    ) {
        // Before the first configuration a Secret that is not there yet is waited for.
        if self.current.config.is_some() || !findings.is_empty() {
            findings.extend(missing.iter().map(not_there));
            state.refused += 1;
            state.refusal = Some(Refusal { hash, findings });
        }
        state.missing = missing;
    }

    fn has_new_certificate(&self, config: &Config) -> bool {
        let server = |config: &Config| config.tls.as_ref().map(|tls| Arc::clone(&tls.server));
        let old = self.current.config.as_deref().and_then(server);
        match (old, server(config)) {
            (Some(old), Some(new)) => !Arc::ptr_eq(&old, &new),
            (old, new) => old.is_some() != new.is_some(),
        }
    }

    fn unreadable(&self, error: &std::io::Error) -> Finding {
        let path = self.source.manifest.display();
        let problem = format!("cannot read {path}: {error}");
        document::finding("", &problem, "the manifest has to be there")
    }
}

impl Sender {
    fn send(&mut self, config: Arc<Config>) {
        match mem::replace(self, Self::Nobody) {
            Self::Waiting(first) => {
                let (sender, receiver) = watch::channel(config);
                // Nobody waits any more if the process is about to end.
                if first.send(receiver).is_ok() {
                    *self = Self::Live(sender);
                }
            }
            Self::Live(sender) => {
                sender.send_replace(config);
                *self = Self::Live(sender);
            }
            Self::Nobody => {}
        }
    }
}

/// Says what is not as it was: whoever reads the log has read the rest.
fn log(before: &State, state: &State, secrets: &Path) {
    if state.refusal != before.refusal {
        for finding in state.refusal.iter().flat_map(|refusal| &refusal.findings) {
            warn!(event = "config_refused", %finding, "not applied");
        }
    }
    // The last word must not be that of a refusal which is over.
    let is_mended = before.refusal.is_some() && state.refusal.is_none();
    if let Some(hash) = state.hash.as_ref().filter(|_| is_mended && state.applied == before.applied)
    {
        info!(event = "config_applied", hash, "what was refused is gone: nothing is left to apply");
    }
    let path = |file: &SecretFile| secrets.join(file.to_string()).display().to_string();
    for file in state.missing.iter().filter(|file| !before.missing.contains(file)) {
        let instead = (!file.instead.is_empty()).then_some(file.instead);
        warn!(
            event = "secret_missing",
            path = path(file),
            field = file.field,
            instead,
            "not there"
        );
    }
    for file in state.vanished.iter().filter(|file| !before.vanished.contains(file)) {
        warn!(event = "secret_vanished", path = path(file), field = file.field, "gone");
    }
    if state.restart_required != before.restart_required && !state.restart_required.is_empty() {
        let fields = state.restart_required.join(" ");
        warn!(event = "restart_required", fields, "read at start alone");
    }
}

/// Runs something that waits for a disk on a thread that may wait.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(read).await {
        Ok(read) => read,
        // It neither panics nor is cancelled, unless the runtime ends and this task with it.
        Err(_) => std::future::pending().await,
    }
}
