//! What happens to the configuration when files in the folders change.
//!
//! The files are real and the clock is not: a second that a test waits is a second for the watcher.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use headgate_gateway::config::{Config, ConfigError, SecretFile, Source, State, Watched, open};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle, time};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The folders of a gateway.
struct Folders {
    root: TempDir,
}

impl Folders {
    fn new(spec: &str) -> Self {
        let folders = Self { root: tempfile::tempdir().unwrap() };
        folders.manifest(spec);
        folders
    }

    fn source(&self) -> Source {
        Source { manifest: self.path("gateway.yaml"), secrets: self.path("secrets") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces the manifest, as an editor does.
    fn manifest(&self, spec: &str) {
        let text = format!(
            "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: chat}}\n\
             spec:\n{spec}"
        );
        fs::write(self.path("new.yaml"), text).unwrap();
        fs::rename(self.path("new.yaml"), self.path("gateway.yaml")).unwrap();
    }

    fn secret(&self, secret: &str, key: &str, contents: &str) {
        let folder = self.path("secrets").join(secret);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("new"), contents).unwrap();
        fs::rename(folder.join("new"), folder.join(key)).unwrap();
    }

    fn remove_secret(&self, secret: &str) {
        fs::remove_dir_all(self.path("secrets").join(secret)).unwrap();
    }
}

/// A certificate and its key.
fn certificate() -> (String, String) {
    let it = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (it.cert.pem(), it.signing_key.serialize_pem())
}

/// A gateway's view of its configuration.
struct Gateway {
    state: watch::Receiver<Arc<State>>,
    config: watch::Receiver<Arc<Config>>,
    _watcher: JoinHandle<()>,
}

impl Gateway {
    async fn start(folders: &Folders) -> Self {
        let (watcher, watched) = open(folders.source()).unwrap();
        let watcher = tokio::spawn(watcher.run());
        let state = watched.state.clone();
        let config = complete(watched).await.expect("something is missing");
        Self { state, config, _watcher: watcher }
    }

    /// What is in use a second after the change before this call.
    async fn after_a_second(&self) -> (Arc<Config>, Arc<State>) {
        time::sleep(Duration::from_secs(1)).await;
        (self.config.borrow().clone(), self.state.borrow().clone())
    }
}

async fn complete(watched: Watched) -> Option<watch::Receiver<Arc<Config>>> {
    time::timeout(Duration::from_secs(1), watched.complete()).await.ok()?
}

fn said(state: &State) -> Vec<String> {
    state.refusal.iter().flat_map(|it| &it.findings).map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_is_applied_within_a_second() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;

    folders.manifest("  auth: {mode: Disabled}\n  maxConnections: 7\n");

    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.spec.max_connections, 7);
    assert_eq!(state.hash.as_ref(), Some(&config.hash));
    assert_eq!((state.applied, state.refused), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bad_manifest_is_refused_whole_with_every_finding() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;
    let first = gateway.config.borrow().hash.clone();

    folders.manifest("  auth: {mode: Nobody}\n  maxConnections: 0\n  missingOrigin: Deny\n");
    let (config, state) = gateway.after_a_second().await;

    assert_eq!(config.hash, first);
    let said = said(&state);
    assert!(said.len() == 2 && said[0].contains("spec.auth.mode"), "{said:?}");
    assert!(said[1].starts_with("line 6") && said[1].contains("maxConnections"), "{said:?}");
    assert_eq!((state.applied, state.refused), (1, 1));

    folders.manifest("  auth: {mode: Disabled}\n  maxConnections: 5\n");
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.spec.max_connections, 5);
    assert_eq!(state.refusal, None);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_not_read_while_it_is_being_written() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;
    let text = fs::read_to_string(folders.path("gateway.yaml")).unwrap();

    // Each of these prefixes would be a manifest of its own.
    for lines in 1..=8 {
        let text = text.clone() + &"  # a comment\n".repeat(lines) + "  maxConnections: 9\n";
        fs::write(folders.path("gateway.yaml"), text).unwrap();
        time::sleep(Duration::from_millis(240)).await;
    }

    assert_eq!(gateway.state.borrow().applied, 1);
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.spec.max_connections, 9);
    assert_eq!(state.applied, 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_only_touched_changes_nothing() {
    let spec = "  auth: {mode: Disabled}\n";
    let folders = Folders::new(spec);
    let gateway = Gateway::start(&folders).await;
    let before = gateway.config.borrow().clone();

    folders.manifest(spec);

    let (config, state) = gateway.after_a_second().await;
    assert!(Arc::ptr_eq(&config, &before));
    assert_eq!((state.applied, state.refused), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_gone_stays_in_use() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;

    fs::remove_file(folders.path("gateway.yaml")).unwrap();

    let (_, state) = gateway.after_a_second().await;
    assert!(said(&state)[0].contains("cannot read"), "{state:?}");
    assert!(state.hash.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_swap_of_kubernetes_is_a_change() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let volume = folders.path("volume");
    let text = fs::read_to_string(folders.path("gateway.yaml")).unwrap();
    for (version, text) in [("..1", text.clone()), ("..2", text + "  maxConnections: 3\n")] {
        fs::create_dir_all(volume.join(version)).unwrap();
        fs::write(volume.join(version).join("gateway.yaml"), text).unwrap();
    }
    symlink("..1", volume.join("..data")).unwrap();
    symlink("..data/gateway.yaml", volume.join("gateway.yaml")).unwrap();
    fs::remove_file(folders.path("gateway.yaml")).unwrap();
    symlink(volume.join("gateway.yaml"), folders.path("gateway.yaml")).unwrap();
    let gateway = Gateway::start(&folders).await;

    symlink("..2", volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();

    let (config, _) = gateway.after_a_second().await;
    assert_eq!(config.spec.max_connections, 3);
}

const WITH_KEYS: &str = "  auth:\n    jwt:\n      keysSecretName: chat-jwt\n      keys:\n      \
     - {algorithm: HS256, key: old, kid: a}\n      - {algorithm: HS256, key: new, kid: b}\n";

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_is_waited_for() {
    let folders = Folders::new(WITH_KEYS);
    let (watcher, watched) = open(folders.source()).unwrap();
    let _watcher = tokio::spawn(watcher.run());
    let state = watched.state.clone();
    let complete = tokio::spawn(watched.complete());
    let missing = |state: &State| -> Vec<_> {
        state.missing.iter().map(|it| format!("{it} of {}", it.field)).collect()
    };

    time::sleep(Duration::from_secs(1)).await;
    let files =
        ["chat-jwt/old of spec.auth.jwt.keys[0].key", "chat-jwt/new of spec.auth.jwt.keys[1].key"];
    assert_eq!(missing(&state.borrow()), files);
    assert_eq!((state.borrow().refused, state.borrow().hash.clone()), (0, None));
    assert!(!complete.is_finished());

    folders.secret("chat-jwt", "old", KEY);
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(missing(&state.borrow()), files[1..]);

    folders.secret("chat-jwt", "new", KEY);
    let config = time::timeout(Duration::from_secs(1), complete).await.unwrap().unwrap().unwrap();
    assert_eq!(config.borrow().verifier.keys.len(), 2);
    assert!(state.borrow().missing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_for_nats_is_told_with_every_choice() {
    let folders = Folders::new(
        "  auth: {mode: Disabled}\n  \
         broker: {type: NATS, nats: {url: \"nats://nats:4222\", credentialsSecretName: chat-nats}}\n",
    );
    let (watcher, watched) = open(folders.source()).unwrap();
    let _watcher = tokio::spawn(watcher.run());
    let missing =
        || -> Vec<_> { watched.state.borrow().missing.iter().map(SecretFile::described).collect() };

    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        missing(),
        [
            "chat-nats/nats.creds (or user and password, or token; ca.crt beside any of them, or alone)"
        ]
    );

    // Whoever has begun with one choice is told the rest of that one.
    folders.secret("chat-nats", "user", "chat");
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(missing(), ["chat-nats/password"]);

    folders.secret("chat-nats", "password", "a-password");
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(missing(), [""; 0]);
    assert!(complete(watched).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_broken_at_start_is_waited_for_and_said() {
    let folders = Folders::new(WITH_KEYS);
    folders.secret("chat-jwt", "old", "short");
    folders.secret("chat-jwt", "new", KEY);
    let (watcher, watched) = open(folders.source()).unwrap();
    let _watcher = tokio::spawn(watcher.run());
    let state = watched.state.clone();

    assert!(complete(watched).await.is_none());

    let said = said(&state.borrow());
    assert!(said[0].starts_with("spec.auth.jwt.keys[0].key is chat-jwt/old: "), "{said:?}");
    assert!(!said[0].contains("short"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_vanishes_stays_in_use_and_a_key_that_is_removed_does_not() {
    let folders = Folders::new(WITH_KEYS);
    folders.secret("chat-jwt", "old", KEY);
    folders.secret("chat-jwt", "new", KEY);
    let gateway = Gateway::start(&folders).await;
    let vanished =
        |state: &State| state.vanished.iter().map(ToString::to_string).collect::<Vec<_>>();

    folders.remove_secret("chat-jwt");
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.verifier.keys.len(), 2);
    assert_eq!(vanished(&state), ["chat-jwt/old", "chat-jwt/new"]);
    assert_eq!(state.applied, 1);

    folders.secret("chat-jwt", "new", KEY);
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.verifier.keys.len(), 1);
    assert_eq!(vanished(&state), ["chat-jwt/old"]);

    // It counts as removed from then on, and does not hold up what comes later.
    folders.manifest(&(WITH_KEYS.to_owned() + "  maxConnections: 4\n"));
    let (config, _) = gateway.after_a_second().await;
    assert_eq!((config.verifier.keys.len(), config.spec.max_connections), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_names_a_key_that_is_not_there_waits_for_it() {
    let folders = Folders::new(WITH_KEYS);
    folders.secret("chat-jwt", "old", KEY);
    folders.secret("chat-jwt", "new", KEY);
    let gateway = Gateway::start(&folders).await;

    folders.manifest(&WITH_KEYS.replace("key: new", "key: newer"));
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.spec.auth.jwt.as_ref().unwrap().keys[1].key, "new");
    assert!(said(&state)[0].contains("chat-jwt/newer: not there"), "{:?}", said(&state));

    folders.secret("chat-jwt", "newer", KEY);
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.spec.auth.jwt.as_ref().unwrap().keys[1].key, "newer");
    assert_eq!(state.refusal, None);
}

#[tokio::test(start_paused = true)]
async fn a_bad_certificate_leaves_the_old_one_and_holds_up_nothing_else() {
    let spec = "  auth: {mode: Disabled}\n  tls: {secretName: chat-tls}\n";
    let folders = Folders::new(spec);
    let (chain, key) = certificate();
    folders.secret("chat-tls", "tls.crt", &chain);
    folders.secret("chat-tls", "tls.key", &key);
    let gateway = Gateway::start(&folders).await;
    let server = |config: &Config| Arc::clone(&config.tls.as_ref().unwrap().server);
    let first = server(&gateway.config.borrow());

    let (other_chain, other_key) = certificate();
    folders.secret("chat-tls", "tls.crt", &other_chain);
    folders.manifest(&(spec.to_owned() + "  maxConnections: 6\n"));
    let (config, state) = gateway.after_a_second().await;
    assert!(Arc::ptr_eq(&server(&config), &first));
    assert_eq!(config.spec.max_connections, 6);
    assert_eq!(
        said(&state),
        ["spec.tls.secretName is chat-tls: tls.key is not the key of the first certificate in \
          tls.crt; the Secret has to be put right"]
    );

    folders.secret("chat-tls", "tls.key", &other_key);
    let (config, state) = gateway.after_a_second().await;
    assert!(!Arc::ptr_eq(&server(&config), &first));
    assert_eq!(state.refusal, None);
    assert_eq!(state.certificate_not_after, Some(config.tls.as_ref().unwrap().not_after));
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_api_rotate_and_end_with_their_file() {
    let folders = Folders::new("  auth: {mode: Disabled}\n  api: {keySecretName: chat-api}\n");
    folders.secret("chat-api", "api-key", KEY);
    let gateway = Gateway::start(&folders).await;

    folders.secret("chat-api", "api-key", &format!("{KEY}\nanother-long-enough-key\n"));
    let (config, _) = gateway.after_a_second().await;
    assert_eq!(config.api_keys.len(), 2);

    folders.secret("chat-api", "unrelated", "");
    fs::remove_file(folders.path("secrets/chat-api/api-key")).unwrap();
    let (config, state) = gateway.after_a_second().await;
    assert_eq!(config.api_keys.len(), 0);
    assert_eq!(state.vanished[0].to_string(), "chat-api/api-key");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_at_start_waits_for_a_restart_and_the_rest_does_not() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;

    folders.manifest(
        "  auth: {mode: Disabled}\n  path: /other\n  tls: {secretName: chat-tls}\n  \
         broker: {historyBytes: 1Mi}\n  maxConnections: 8\n",
    );
    let (config, state) = gateway.after_a_second().await;

    assert_eq!(state.restart_required, ["spec.path", "spec.tls", "spec.broker"]);
    assert_eq!((config.spec.path.as_str(), config.spec.max_connections), ("/ws", 8));
    assert!(config.tls.is_none() && state.missing.is_empty() && state.refusal.is_none());

    folders.manifest("  auth: {mode: Disabled}\n");
    let (_, state) = gateway.after_a_second().await;
    assert!(state.restart_required.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_name_leaves_all_of_auth_as_it_is() {
    let folders = Folders::new("  auth: {mode: Disabled}\n");
    let gateway = Gateway::start(&folders).await;

    folders.manifest(&(WITH_KEYS.to_owned() + "  maxConnections: 2\n"));
    let (config, state) = gateway.after_a_second().await;

    assert_eq!(state.restart_required, ["spec.auth.jwt.keysSecretName"]);
    assert!(config.spec.auth.jwt.is_none());
    assert_eq!(config.spec.max_connections, 2);
}

#[test]
fn a_first_manifest_that_is_no_good_is_an_error_with_every_finding() {
    let folders = Folders::new("  maxConnections: 0\n  path: ws\n");

    let error = open(folders.source()).unwrap_err();

    let ConfigError::Refused { findings, .. } = error else { panic!("{error}") };
    let paths: Vec<_> = findings.iter().map(|it| it.path.as_str()).collect();
    assert!(paths.contains(&"spec.maxConnections") && paths.contains(&"spec.path"), "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_shows_a_secret() {
    let folders = Folders::new(
        &(WITH_KEYS.to_owned()
            + "  tls: {secretName: chat-tls}\n  api: {keySecretName: chat-api}\n"),
    );
    let (chain, key) = certificate();
    folders.secret("chat-tls", "tls.crt", &chain);
    folders.secret("chat-tls", "tls.key", &key);
    folders.secret("chat-jwt", "old", KEY);
    folders.secret("chat-jwt", "new", KEY);
    folders.secret("chat-api", "api-key", KEY);
    let gateway = Gateway::start(&folders).await;

    let shown = format!("{:?} {:?}", gateway.config.borrow(), gateway.state.borrow());

    let bytes = format!("{:?}", KEY.as_bytes());
    assert!(!shown.contains(KEY) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    assert!(!shown.contains(key.lines().nth(1).unwrap()), "{shown}");
}
