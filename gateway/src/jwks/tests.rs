use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time};

use super::{
    Keys, keep,
    provider::{Answer, Provider},
};
use crate::{
    auth::{
        identity::KeyId,
        signer::Signer,
        token::{Key, KeySet, TokenError, Verifier},
    },
    config::{Config, Secret, document::Document},
};

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(20);

const NO_KEY: TokenError = TokenError::Refused("no key for alg and kid");

/// A configuration with `auth` as it stands in a manifest.
fn config(auth: &str, ca: Option<&str>, keys: Vec<Key>) -> Arc<Config> {
    let manifest = format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: chat}}\n\
         spec: {{auth: {auth}}}"
    );
    let document = Document::parse(manifest.as_bytes()).unwrap();
    Arc::new(Config {
        name: document.name,
        namespace: document.namespace,
        hash: document.hash,
        rules: document.spec.channel_rules(),
        spec: Arc::new(document.spec),
        verifier: Verifier { keys, ..Verifier::default() },
        jwks_ca: ca.map(|ca| Secret::new(ca.into())),
        api_keys: Vec::new(),
        nats: None,
        tls: None,
    })
}

fn of(provider: &Provider, period: &str) -> Arc<Config> {
    let url = &provider.url;
    let jwks = format!("{{url: \"{url}\", refreshPeriod: {period}, caSecretName: ca}}");
    config(&format!("{{jwt: {{jwks: {jwks}}}}}"), Some(&provider.ca), Vec::new())
}

/// What of a gateway has to do with keys.
struct Gateway {
    config: watch::Sender<Arc<Config>>,
    keys: Keys,
    task: JoinSet<()>,
}

impl Gateway {
    fn start(config: Arc<Config>) -> Self {
        let (config, seen) = watch::channel(config);
        let (keys, task) = keep(seen);
        let mut running = JoinSet::new();
        running.spawn(task.run());
        Self { config, keys, task: running }
    }

    /// With the keys of the provider.
    async fn started(provider: &Provider, period: &str) -> Self {
        let mut gateway = Self::start(of(provider, period));
        gateway.until("the key set is known", is_known).await;
        gateway
    }

    fn verify(&self, token: &str) -> Result<KeyId, TokenError> {
        let verifier = Arc::clone(&self.keys.verifier.borrow());
        self.keys.asks.verify(&verifier, token, 0).map(|identity| identity.key.unwrap())
    }

    fn vouches(&self, key: KeyId) -> bool {
        self.keys.verifier.borrow().vouches(key)
    }

    async fn until(&mut self, what: &str, is: impl Fn(&Verifier) -> bool) {
        let waiting = self.keys.verifier.wait_for(|verifier| is(verifier));
        time::timeout(BOUND, waiting)
            .await
            .unwrap_or_else(|_| panic!("waited for: {what}"))
            .unwrap();
    }

    /// Until a fetch has failed `count` times.
    async fn until_failed(&mut self, count: u64) {
        let waiting = self.keys.state.wait_for(|state| state.failed >= count);
        time::timeout(BOUND, waiting).await.expect("waited for a fetch to fail").unwrap();
    }
}

fn is_known(verifier: &Verifier) -> bool {
    matches!(verifier.set, KeySet::Known { .. })
}

fn token(signer: &Signer, kid: &str) -> String {
    signer.sign(&json!({"kid": kid}), &json!({"sub": "al", "exp": 9}))
}

fn jwk(signer: &Signer, kid: &str) -> Value {
    signer.jwk(&json!({"kid": kid}))
}

#[tokio::test]
async fn a_token_is_undecided_until_the_key_set_has_come() {
    let signer = Signer::new("RS256");
    let provider = Provider::start(Answer::Set(vec![jwk(&signer, "1")])).await;
    let mut gateway = Gateway::start(of(&provider, "10m"));
    assert_eq!(gateway.verify(&token(&signer, "1")), Err(TokenError::Undecided));

    gateway.until("the key set is known", is_known).await;

    let key = gateway.verify(&token(&signer, "1")).unwrap();
    assert!(gateway.vouches(key));
    assert_eq!(
        gateway.verify(&token(&Signer::new("RS256"), "1")),
        Err(TokenError::Refused("signature"))
    );
    let state = gateway.keys.state.borrow().clone();
    assert_eq!((state.keys, state.fetched, state.failed, state.error), (1, 1, 0, None));
    assert!(state.fetched_at.is_some());
}

#[tokio::test]
async fn a_provider_that_is_down_at_start_is_tried_again() {
    let signer = Signer::new("ES256");
    let provider = Provider::start(Answer::Raw("HTTP/1.1 503 Busy\r\n\r\n".into())).await;
    let mut gateway = Gateway::start(of(&provider, "24h"));
    gateway.until_failed(1).await;
    assert_eq!(gateway.verify(&token(&signer, "1")), Err(TokenError::Undecided));
    let error = gateway.keys.state.borrow().error.clone().unwrap();
    assert_eq!(error, "the answer is 503 Service Unavailable, must be 200");

    provider.set(Answer::Set(vec![jwk(&signer, "1")]));

    gateway.until("the key set is known", is_known).await;
    assert!(gateway.verify(&token(&signer, "1")).is_ok());
    assert_eq!(gateway.keys.state.borrow().error, None);
}

#[tokio::test]
async fn a_rotation_is_noticed_by_the_first_token_of_the_new_key() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let provider = Provider::start(Answer::Set(vec![jwk(&old, "1")])).await;
    let mut gateway = Gateway::started(&provider, "24h").await;
    let session = gateway.verify(&token(&old, "1")).unwrap();
    provider.set(Answer::Set(vec![jwk(&new, "2")]));

    assert_eq!(gateway.verify(&token(&new, "2")), Err(TokenError::Undecided));
    gateway.until("the new key", |verifier| verifier.set.has("2")).await;

    assert!(gateway.verify(&token(&new, "2")).is_ok());
    assert!(!gateway.vouches(session), "a key that the provider drops vouches no longer");
}

#[tokio::test]
async fn a_key_that_is_dropped_is_noticed_within_the_period() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let provider = Provider::start(Answer::Set(vec![jwk(&old, "1"), jwk(&new, "2")])).await;
    let mut gateway = Gateway::started(&provider, "1s").await;
    let (gone, stays) =
        (gateway.verify(&token(&old, "1")).unwrap(), gateway.verify(&token(&new, "2")).unwrap());

    provider.set(Answer::Set(vec![jwk(&new, "2")]));

    gateway.until("the key is dropped", |verifier| !verifier.vouches(gone)).await;
    assert!(gateway.vouches(stays));
}

#[tokio::test]
async fn a_fetch_that_fails_takes_nothing_from_anybody() {
    let signer = Signer::new("ES256");
    let provider = Provider::start(Answer::Set(vec![jwk(&signer, "1")])).await;
    let mut gateway = Gateway::started(&provider, "1s").await;
    let session = gateway.verify(&token(&signer, "1")).unwrap();

    for (failed, answer) in [Answer::Raw("HTTP/1.1 500 Oh\r\n\r\n".into()), Answer::Set(Vec::new())]
        .into_iter()
        .enumerate()
    {
        provider.set(answer);
        gateway.until_failed(failed as u64 + 1).await;
        assert!(gateway.verify(&token(&signer, "1")).is_ok());
        assert!(gateway.vouches(session));
    }
}

#[tokio::test]
async fn a_storm_of_unknown_names_is_one_fetch() {
    let signer = Signer::new("EdDSA");
    let provider = Provider::start(Answer::Set(vec![jwk(&signer, "1")])).await;
    let mut gateway = Gateway::started(&provider, "24h").await;
    let stranger = Signer::new("EdDSA");

    for number in 0..2_000 {
        let unknown = token(&stranger, &format!("x{number}"));
        assert_eq!(gateway.verify(&unknown), Err(TokenError::Undecided));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    gateway.until("names are known to be absent", has_absent).await;
    let first = token(&stranger, "x0");
    assert_eq!(gateway.verify(&first), Err(NO_KEY), "it was looked for");
    for number in 0..100 {
        let _ = gateway.verify(&token(&stranger, &format!("y{number}")));
        tokio::task::yield_now().await;
    }

    assert_eq!(gateway.keys.state.borrow().fetched, 2);
    assert_eq!(provider.requests(), 2);
    assert!(gateway.verify(&token(&signer, "1")).is_ok());
}

fn has_absent(verifier: &Verifier) -> bool {
    matches!(&verifier.set, KeySet::Known { absent, .. } if !absent.is_empty())
}

#[tokio::test]
async fn the_keys_of_the_manifest_need_no_provider() {
    let ours = Signer::new("HS256");
    let provider = Provider::start(Answer::Silence).await;
    let auth = format!("{{jwt: {{jwks: {{url: \"{}\"}}}}}}", provider.url);
    let gateway = Gateway::start(config(&auth, Some(&provider.ca), vec![ours.verifying(None)]));

    assert!(gateway.verify(&token(&ours, "any")).is_ok());
    assert_eq!(gateway.verify(&token(&Signer::new("RS256"), "any")), Err(TokenError::Undecided));
}

#[tokio::test]
async fn another_provider_takes_over_when_its_keys_have_come() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let first = Provider::start(Answer::Set(vec![jwk(&old, "1")])).await;
    let second = Provider::start(Answer::Raw("HTTP/1.1 500 Oh\r\n\r\n".into())).await;
    let mut gateway = Gateway::started(&first, "24h").await;
    let session = gateway.verify(&token(&old, "1")).unwrap();

    gateway.config.send_replace(of(&second, "24h"));
    gateway.until("keys are awaited", |verifier| !is_known(verifier)).await;
    assert_eq!(gateway.verify(&token(&old, "1")), Err(TokenError::Undecided));
    assert!(gateway.vouches(session), "nobody has withdrawn it yet");

    second.set(Answer::Set(vec![jwk(&new, "1")]));
    gateway.until("the key set is known", is_known).await;
    assert!(gateway.verify(&token(&new, "1")).is_ok());
    assert!(!gateway.vouches(session));
    assert_eq!(first.requests(), 1);
}

#[tokio::test]
async fn without_a_provider_its_keys_count_no_longer() {
    let (signer, ours) = (Signer::new("ES256"), Signer::new("HS256"));
    let provider = Provider::start(Answer::Set(vec![jwk(&signer, "1")])).await;
    let mut gateway = Gateway::started(&provider, "24h").await;
    let session = gateway.verify(&token(&signer, "1")).unwrap();

    let auth = "{jwt: {keysSecretName: k, keys: [{algorithm: HS256, key: hmac}]}}";
    gateway.config.send_replace(config(auth, None, vec![ours.verifying(None)]));

    gateway.until("it is gone", |verifier| matches!(verifier.set, KeySet::Unused)).await;
    assert_eq!(gateway.verify(&token(&signer, "1")), Err(NO_KEY));
    assert!(gateway.verify(&token(&ours, "1")).is_ok());
    assert!(!gateway.vouches(session));
    assert_eq!(gateway.keys.state.borrow().keys, 0);
}

#[tokio::test]
async fn a_change_of_something_else_leaves_the_key_set_alone() {
    let signer = Signer::new("ES256");
    let provider = Provider::start(Answer::Set(vec![jwk(&signer, "1")])).await;
    let mut gateway = Gateway::started(&provider, "24h").await;
    let changed = Config {
        verifier: Verifier { issuer: Some("https://me".into()), ..Verifier::default() },
        ..Arc::into_inner(of(&provider, "24h")).unwrap()
    };

    gateway.config.send_replace(Arc::new(changed));

    gateway.until("the issuer counts", |verifier| verifier.issuer.is_some()).await;
    assert_eq!(gateway.verify(&token(&signer, "1")), Err(TokenError::Refused("iss")));
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn the_task_ends_with_the_configuration() {
    let provider = Provider::start(Answer::Silence).await;
    let Gateway { config, keys: _keys, mut task } = Gateway::start(of(&provider, "24h"));

    drop(config);

    let ended = time::timeout(BOUND, task.join_next()).await;
    ended.expect("waited for the task to end").unwrap().unwrap();
}

/// Everything that is logged, at every level, by every crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_key_or_body_is_logged_at_any_level() {
    // With only one subscriber alive, tracing asks the thread that meets an event first, which may be another test's.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (signer, stranger) = (Signer::new("ES256"), Signer::new("ES256"));
    let published = json!({"kid": "hunter2-kid", "x-secret": "hunter2-body"});
    let provider = Provider::start(Answer::Set(vec![signer.jwk(&published)])).await;
    let mut gateway = Gateway::started(&provider, "1s").await;

    gateway.verify(&token(&signer, "hunter2-kid")).unwrap();
    for token in [token(&stranger, "hunter2-kid"), token(&stranger, "hunter2-new")] {
        let error = gateway.verify(&token).unwrap_err();
        let verifier = &gateway.keys.verifier;
        tracing::event!(tracing::Level::TRACE, %error, ?error, ?verifier, "refused");
    }
    gateway.until("names are known to be absent", has_absent).await;
    provider.set(Answer::Raw("HTTP/1.1 200 OK\r\n\r\nhunter2-junk".into()));
    gateway.until_failed(1).await;

    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    for event in ["jwks_fetched", "jwks_failed"] {
        assert!(text.contains(event), "{event} is not in the log");
    }
    let coordinate = published_x(&signer);
    let token = token(&signer, "hunter2-kid");
    let parts = token.split('.').chain([coordinate.as_str(), "hunter2"]);
    for secret in parts {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

fn published_x(signer: &Signer) -> String {
    signer.jwk(&json!({}))["x"].as_str().unwrap().to_owned()
}
