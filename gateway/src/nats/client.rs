//! The connection to NATS: where to, as whom, and whom to take for NATS.
//!
//! Credentials and CAs are looked up at each attempt, so that new contents of the Secret count
//! without a restart, from the next connection on.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Auth, AuthError, Client, ConnectError, ConnectOptions, Event, ServerAddr, ServerError,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    server::VerifierBuilderError,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    sync::{mpsc, watch},
    task,
};

use super::{interest::Refusals, tried::Tried};
use crate::{
    broker::nats::names::Names,
    config::{
        Config, Secret,
        nats::{Credentials, Login},
    },
};

/// How often a connection that is silent is asked for life. The client gives it up when two answers
/// are owed at the third time.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and the longest wait before an attempt. Between them it doubles, and each time it is
/// a random part of that, so that a fleet does not come back at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Messages of one subscription that may wait for its task. It never waits itself, so what comes
/// while it does not run is all; beyond it the client says so, and clients are told of a gap.
pub const SUBSCRIPTION_MAX: usize = 8_192;

/// Events that may wait: more than come while streams are looked at, however often the connection is
/// lost meanwhile.
const EVENTS_MAX: usize = 4_096;

/// What happens to the connection, as the client tells it.
pub type Events = mpsc::Receiver<Event>;

/// A connection that is looked for.
#[derive(Debug)]
pub struct Connecting {
    /// Its client.
    pub client: Client,
    /// What happens to it.
    pub events: Events,
    /// Why no server can be used, with the servers that were tried.
    pub unreachable: watch::Receiver<Option<String>>,
}

/// Begins to connect, and goes on until it succeeds and whenever it is lost. `refusals` is told what
/// the server says against subscriptions.
pub async fn connect(
    url: &str,
    names: &Names,
    pod: &str,
    config: watch::Receiver<Arc<Config>>,
    refusals: watch::Sender<Refusals>,
) -> Result<Connecting, ConnectError> {
    let servers: Vec<ServerAddr> = url.split(',').filter_map(|url| url.parse().ok()).collect();
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let is_private = url.contains("tls://") || credentials(&config).roots.is_some();
    let logins = config.clone();
    let tried = Arc::new(Tried::new());
    let unreachable = tried.problem();
    let rounds = Arc::clone(&tried);
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let auth = auth(&credentials(&logins).login, &nonce);
        async move { auth }
    })
    .name(format!("headgate {} {pod}", names.prefix()))
    .custom_inbox_prefix(names.own("inbox"))
    .retry_on_initial_connect()
    .max_reconnects(None)
    .ping_interval(PING_EVERY)
    .connection_timeout(CONNECT_TIMEOUT)
    .request_timeout(Some(REQUEST_TIMEOUT))
    .subscription_capacity(SUBSCRIPTION_MAX)
    .reconnect_delay_callback(backoff)
    .require_tls(is_private)
    .tls_client_config(tls(config).await)
    .reconnect_to_server_callback(move |servers, _| {
        rounds.begins(servers);
        // The client's own choice is right.
        async { None }
    })
    .event_callback(move |event| {
        if let Some(is_limit) = refuses_subscription(&event) {
            refusals.send_modify(|it| *it = Refusals { count: it.count + 1, is_limit });
        }
        let (sender, tried) = (sender.clone(), Arc::clone(&tried));
        async move {
            // Refused only when the process is about to end and nobody listens, or beyond `EVENTS_MAX`.
            let _ = sender.try_send(tried.complete(event).await);
        }
    });
    Ok(Connecting { client: options.connect(servers).await?, events, unreachable })
}

/// How often the client has connected.
pub fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

/// Whether the server this client is at is one of a cluster.
pub fn is_clustered(client: &Client) -> bool {
    client.server_info().cluster.is_some()
}

/// Whether the server refuses a subscription beyond a limit of the account, or for want of a right; `None`
/// where it says something else.
fn refuses_subscription(event: &Event) -> Option<bool> {
    let Event::ServerError(ServerError::Other(error)) = event else { return None };
    // There are no codes.
    let error = error.to_lowercase();
    let is_limit = error.contains("maximum subscriptions exceeded");
    (is_limit || error.contains("permissions violation for subscription to")).then_some(is_limit)
}

fn credentials(config: &watch::Receiver<Arc<Config>>) -> Credentials {
    config.borrow().nats.clone().unwrap_or_default()
}

fn auth(login: &Login, nonce: &[u8]) -> Result<Auth, AuthError> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.bytes()).into_owned();
    let mut auth = Auth::new();
    match login {
        Login::Nobody => {}
        Login::Jwt { jwt, seed } => {
            let key = nkeys::KeyPair::from_seed(&text(seed)).map_err(AuthError::new)?;
            auth.signature = Some(key.sign(nonce).map_err(AuthError::new)?);
            auth.jwt = Some(jwt.clone());
        }
        Login::Password { user, password } => {
            auth.username = Some(user.clone());
            auth.password = Some(text(password));
        }
        Login::Token(token) => auth.token = Some(text(token)),
    }
    Ok(auth)
}

/// How long to wait before an attempt, the first one after a loss too.
fn backoff(attempt: usize) -> Duration {
    let (least, most) = BACKOFF;
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let longest = least.saturating_mul(1 << doublings).min(most);
    least.mul_f64(0.5) + longest.mul_f64(fastrand::f64())
}

#[expect(clippy::expect_used, reason = "it is so for each provider of rustls")]
async fn tls(config: watch::Receiver<Arc<Config>>) -> ClientConfig {
    let mut system = RootCertStore::empty();
    // Files are read, so on a thread that may wait.
    if let Ok(loaded) = task::spawn_blocking(rustls_native_certs::load_native_certs).await {
        system.add_parsable_certificates(loaded.certs);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { config, system: Arc::new(system), provider: Arc::clone(&provider) };
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has what TLS 1.2 and 1.3 need")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

/// Verifies certificates as ever, with the CAs that are in the Secret now.
struct Verifier {
    config: watch::Receiver<Arc<Config>>,
    system: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    fn now(&self) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
        let roots = credentials(&self.config).roots.unwrap_or_else(|| Arc::clone(&self.system));
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider)).build()
    }
}

fn unusable(error: &VerifierBuilderError) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.now().map_err(|error| unusable(&error))?.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        for attempt in [0, 1, 2, 5, 20, usize::MAX] {
            for _ in 0..100 {
                let wait = backoff(attempt);
                assert!(wait >= BACKOFF.0 / 2 && wait <= BACKOFF.0 + BACKOFF.1, "{wait:?}");
            }
        }
        assert!(backoff(1) <= Duration::from_millis(150));
    }
}
