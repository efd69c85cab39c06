//! An identity provider on loopback, for tests: real TLS by a CA of its own, and any answer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};
use tokio_rustls::TlsAcceptor;

/// What the provider says to the next who ask.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// A key set.
    Set(Vec<Value>),
    /// Any bytes, and then the end.
    Raw(String),
    /// A body that comes letter by letter and never ends.
    Drip,
    /// A body as long as anybody reads.
    Flood,
    /// Nothing at all.
    Silence,
}

/// The provider. It ends with this.
pub(super) struct Provider {
    /// Where its key set is.
    pub(super) url: String,
    /// The certificate of its CA, as PEM.
    pub(super) ca: String,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Provider {
    pub(super) async fn start(answer: Answer) -> Self {
        let (ca, server) = certificates();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/jwks.json", listener.local_addr().unwrap().port());
        let answer = Arc::new(Mutex::new(answer));
        let requests = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(serve(listener, server, Arc::clone(&answer), Arc::clone(&requests)));
        Self { url, ca, answer, requests, _task: task }
    }

    pub(super) fn set(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    /// How many have asked.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(
    listener: TcpListener,
    server: TlsAcceptor,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (server, answer) = (server.clone(), Arc::clone(&answer));
        let requests = Arc::clone(&requests);
        // Clients that do not trust us or have heard enough go away; that is what is tested.
        connections.spawn(async move { drop(talk(stream, server, &answer, &requests).await) });
    }
}

async fn talk(
    stream: TcpStream,
    server: TlsAcceptor,
    answer: &Mutex<Answer>,
    requests: &AtomicUsize,
) -> io::Result<()> {
    let mut stream = server.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(head.starts_with(b"GET /jwks.json HTTP/1.1\r\n"), "{head:?}");
    requests.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().clone();
    write(&mut stream, answer).await?;
    stream.shutdown().await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[";
    match answer {
        Answer::Set(keys) => {
            let body = serde_json::json!({ "keys": keys }).to_string();
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all((head + &body).as_bytes()).await
        }
        Answer::Raw(text) => stream.write_all(text.as_bytes()).await,
        Answer::Drip => {
            stream.write_all(ENDLESS).await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                time::sleep(Duration::from_millis(50)).await;
            }
        }
        Answer::Flood => {
            stream.write_all(ENDLESS).await?;
            loop {
                stream.write_all(&[b' '; 4_096]).await?;
            }
        }
        Answer::Silence => std::future::pending().await,
    }
}

/// A CA, as PEM, and a server for `localhost` that has its certificate from it.
fn certificates() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "a CA for tests");
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap();

    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(server)))
}
