//! From an accepted socket to a connection: TLS, the HTTP upgrade, admission.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use headgate_crds::v1alpha1::{AuthMode, CompressionMode, Permission};
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::LocalSet,
    time::timeout,
};
use tracing::debug;

use super::{
    connection::{CLOSE_MS, Connection},
    message::Message,
    pool::Shared,
    state::{self, Worker, unix_now},
    transport::Transport,
};
use crate::{
    admission::{address, load::Place, origin, refusal::Refusal},
    auth::{identity::Identity, token::TokenError},
    broker::publication::ConnectionKey,
    config::settings::Settings,
    protocol::{close::CloseReason, topic::Topic},
    session::{heartbeat::Heartbeat, pace::Pace},
    websocket::{
        handshake::{self, HandshakeError, Upgrade},
        head::{HeadScan, ScanResult},
    },
};

/// Connections that the kernel keeps for us to accept.
const BACKLOG: i32 = 4_096;

/// Binds one listener for each worker to the same address; the kernel spreads connections.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    // Without the sharing first: another process on this port is an error, not a rival.
    let probe = StdListener::bind(address)?;
    let address = probe.local_addr()?;
    drop(probe);
    (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

/// A worker's thread.
pub fn work(index: usize, shared: Arc<Shared>, listener: StdListener, mut inbox: mpsc::Receiver<Message>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let settings = shared.settings.load_full();
    let worker = Rc::new(RefCell::new(Worker::new(index, Arc::clone(&shared), settings)));
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        tokio::task::spawn_local(state::clock(Rc::clone(&worker)));
        tokio::task::spawn_local(accept(Rc::clone(&worker), Arc::clone(&shared), listener));
        // Broadcasts reach every worker, whoever is connected.
        let key = ConnectionKey::new(index, 0xff_ffff, 0);
        shared.to_home(&Topic::all(), Message::Attach { topic: Topic::all(), connection: key, recover: None, member: None });
        let mut batch = Vec::new();
        while inbox.recv_many(&mut batch, 512).await > 0 {
            let is_last = batch.iter().any(|it| matches!(it, Message::Stop));
            worker.borrow_mut().handle(&mut batch);
            if is_last {
                // The close frames go out before the process ends.
                let _ = timeout(Duration::from_millis(CLOSE_MS), gone(&worker)).await;
                return;
            }
        }
    });
}

async fn gone(worker: &Rc<RefCell<Worker>>) {
    while !worker.borrow().connections.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn accept(worker: Rc<RefCell<Worker>>, shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let settings = shared.settings.load_full();
        if shared.load.pending() >= settings.spec.limits.pending_handshakes as usize {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let pending = shared.load.begin();
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(begin(worker, Arc::clone(&shared), settings, tcp, peer, pending));
            }
            Err(error) => {
                // Out of files, most likely: those who are here go on.
                debug!(event = "accept_failed", %error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn begin(worker: Rc<RefCell<Worker>>, shared: Arc<Shared>, settings: Arc<Settings>, tcp: TcpStream, peer: SocketAddr, pending: Place) {
    let within = settings.spec.limits.handshake_timeout.get();
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(&tcp).set_tcp_user_timeout(Some(Duration::from_secs(60)));
    let context = Rc::new(Admission { shared: Arc::clone(&shared), settings: Arc::clone(&settings), peer: peer.ip() });
    let upgraded = timeout(within, async {
        match &settings.tls {
            None => upgrade(tcp, &context).await.map(|(tcp, early, admitted)| (Transport::Plain(tcp), early, admitted)),
            Some(tls) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(tls));
                let stream = acceptor.accept(tcp).await.ok()?;
                let (stream, early, admitted) = upgrade(stream, &context).await?;
                let (tcp, session) = stream.into_inner();
                Some((Transport::tls(tcp, session), early, admitted))
            }
        }
    });
    let upgraded = Box::pin(upgraded).await;
    drop(pending);
    let Ok(Some((transport, early, admitted))) = upgraded else { return };
    let key = enter(&worker, transport, admitted);
    if !early.is_empty() {
        let mut early = early.to_vec();
        worker.borrow_mut().received(key, &mut early);
    }
    tokio::task::spawn_local(state::run(worker, key));
}

/// Makes a connection of what was admitted.
fn enter(worker: &Rc<RefCell<Worker>>, transport: Transport, admitted: Admitted) -> ConnectionKey {
    let mut worker = worker.borrow_mut();
    let now_ms = worker.now_ms();
    let spec = &worker.settings.spec;
    let (period_ms, timeout_ms) = (spec.ping_period.millis(), spec.limits.handshake_timeout.millis());
    let pace = Pace::new(&spec.limits, now_ms);
    let nonce = worker.rng.u32(..);
    let key = ConnectionKey::new(worker.index, worker.connections.vacant_key(), nonce);
    let mut heartbeat = Heartbeat::new(now_ms, period_ms, nonce.into());
    if !admitted.is_authenticated {
        heartbeat.authenticate_by_ms = now_ms + timeout_ms;
    }
    let Admitted { upgrade, identity, is_authenticated, is_echo, doomed, address, places } = admitted;
    worker.open(Connection {
        key,
        transport,
        outbox: crate::hub::outbox::Outbox::default(),
        assembler: crate::websocket::assembler::Assembler::default(),
        dialect: upgrade.dialect,
        window_bits: upgrade.agreement.map(|it| it.server_window_bits),
        identity,
        is_authenticated: is_authenticated && doomed.is_none(),
        heartbeat,
        pace,
        subscriptions: Vec::new(),
        opening: None,
        closing: None,
        paused_until_ms: 0,
        blocked_since_ms: None,
        delayed_until_ms: None,
        armed_ms: 0,
        waker: None,
        address,
        opened_ms: now_ms,
        is_echo,
        places,
    });
    if let Some(reason) = doomed {
        worker.close(key.slot(), reason);
    }
    key
}

/// What one handshake is decided by.
struct Admission {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    peer: IpAddr,
}

/// An upgrade that is granted.
struct Admitted {
    upgrade: Upgrade,
    identity: Identity,
    is_authenticated: bool,
    is_echo: bool,
    /// A browser sees no status, so it is told by a close.
    doomed: Option<CloseReason>,
    address: IpAddr,
    places: Vec<Place>,
}

impl Admission {
    /// Cheapest first: form, address and accept rate, load, origin, token, user.
    fn admit(&self, parts: &Parts) -> Result<Admitted, Refusal> {
        let Self { shared, settings, peer } = self;
        let spec = &settings.spec;
        let is_echo = shared.echo.as_deref().is_some_and(|echo| echo == parts.uri.path());
        let path = if is_echo { parts.uri.path() } else { &spec.path };
        let compression = spec.compression.mode == CompressionMode::Shared;
        let upgrade = handshake::check(parts, path, compression).map_err(Refusal::Handshake)?;
        let source = &spec.client_address;
        let client = address::client(*peer, &parts.headers, source.from, &source.trusted_proxies);
        let now_ms = shared.now_ms();
        let mut places = Vec::new();
        if !is_echo {
            places.extend(shared.load.address(now_ms, address::key(client), &spec.limits.per_address)?);
            shared.load.accept(now_ms, &spec.limits.connect_rate)?;
        }
        if shared.is_draining.load(Ordering::Relaxed) {
            return Err(Refusal::Draining);
        }
        places.push(shared.load.connect(spec.max_connections as usize)?);
        let has_origin = parts.headers.contains_key(header::ORIGIN);
        if !is_echo && !origin::is_allowed(&parts.headers, &spec.allowed_origins, spec.missing_origin) {
            return Err(Refusal::Origin);
        }
        let mut admitted = Admitted {
            upgrade,
            identity: Identity::default(),
            is_authenticated: true,
            is_echo,
            doomed: None,
            address: client,
            places,
        };
        if is_echo || spec.auth.mode == AuthMode::Disabled {
            return Ok(admitted);
        }
        let told = |reason, refusal| if has_origin { Ok(reason) } else { Err(refusal) };
        match self.identify(parts, &admitted.upgrade) {
            Ok(Some(identity)) => {
                admitted.identity = identity;
                if let Some(user) = &admitted.identity.user {
                    match shared.load.user(user, spec.limits.connections_per_user) {
                        Ok(place) => admitted.places.push(place),
                        Err(refusal) => admitted.doomed = Some(told(CloseReason::UserConnections, refusal)?),
                    }
                }
            }
            Ok(None) if spec.auth.first_message == Permission::Allow => admitted.is_authenticated = spec.auth.mode == AuthMode::Optional,
            Ok(None) if spec.auth.mode == AuthMode::Optional => {}
            Ok(None) | Err(TokenError::Refused(_)) => admitted.doomed = Some(told(CloseReason::TokenRefused, Refusal::Token)?),
            Err(TokenError::Expired) => admitted.doomed = Some(told(CloseReason::TokenExpired, Refusal::Token)?),
            Err(TokenError::Undecided) => admitted.doomed = Some(told(CloseReason::Undecided, Refusal::Keys)?),
        }
        Ok(admitted)
    }

    /// Who a request says it is: the first token that is present counts.
    fn identify(&self, parts: &Parts, upgrade: &Upgrade) -> Result<Option<Identity>, TokenError> {
        let is_in_query = self.settings.spec.auth.token_in_query == Permission::Allow;
        let query = parts.uri.query().filter(|_| is_in_query);
        let token = bearer(&parts.headers)
            .or(upgrade.token.as_ref().map(|it| it.0.as_str()))
            .or_else(|| query?.split('&').find_map(|it| it.strip_prefix("token=")));
        let Some(token) = token else { return Ok(None) };
        let now = unix_now();
        let identity = self.settings.verifier.verify(token, now).inspect_err(|error| {
            debug!(event = "token_refused", %error, "token refused");
        })?;
        if self.shared.revocations.load().contain(&identity, now) {
            return Err(TokenError::Refused("revoked"));
        }
        Ok(Some(identity))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Lets hyper read the request and write the 101; everything else we write ourselves.
async fn upgrade<S>(stream: S, admission: &Rc<Admission>) -> Option<(S, Bytes, Admitted)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gate = Rc::new(Gate::default());
    let io = TokioIo::new(Guarded { stream, gate: Rc::clone(&gate) });
    let service = service_fn(|request: Request<Incoming>| {
        let (parts, _) = request.into_parts();
        let admitted = admission.admit(&parts);
        let response = switching(admitted.as_ref().ok());
        gate.is_open.set(admitted.is_ok());
        gate.decision.replace(Some(admitted));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let within = admission.settings.spec.limits.handshake_timeout.get();
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_headers(256)
        .max_buf_size(64 * 1024)
        .keep_alive(false)
        .serve_connection(io, service);
    let served = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().stream;
    let refusal = match gate.decision.take() {
        Some(Ok(admitted)) if served.is_ok() => return Some((stream, parts.read_buf, admitted)),
        Some(Ok(_)) => return None,
        Some(Err(refusal)) => refusal,
        None => unread(&gate, served.err()?)?,
    };
    admission.shared.metrics.refused.with_label_values(&[refusal.code()]).inc();
    debug!(event = "refused", code = refusal.code(), "upgrade refused");
    stream.write_all(refusal.response(fastrand::u32(..)).as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    // Who still sends would lose the answer to a reset.
    let mut rest = [0; 1_024];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(Duration::from_millis(CLOSE_MS), drained).await;
    None
}

/// Why hyper could not read a request; nothing is said to who sent none.
fn unread(gate: &Gate, error: hyper::Error) -> Option<Refusal> {
    if let ScanResult::Refused(error) = gate.scan.get().said() {
        return Some(Refusal::Handshake(error));
    }
    if error.is_parse_too_large() {
        return Some(Refusal::Handshake(HandshakeError::Headers));
    }
    error.is_parse().then_some(Refusal::Handshake(HandshakeError::BadHandshake("not an HTTP/1.1 request")))
}

fn switching(admitted: Option<&Admitted>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let Some(Admitted { upgrade, .. }) = admitted else { return response };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::UPGRADE, "websocket");
    set(header::CONNECTION, "Upgrade");
    set(header::SEC_WEBSOCKET_ACCEPT, &upgrade.accept);
    if let Some(echo) = upgrade.echo {
        set(header::SEC_WEBSOCKET_PROTOCOL, echo);
    }
    if let Some(agreement) = &upgrade.agreement {
        set(header::SEC_WEBSOCKET_EXTENSIONS, &agreement.answer);
    }
    response
}

/// What passes between hyper and the socket.
#[derive(Default)]
struct Gate {
    scan: Cell<HeadScan>,
    /// hyper may write: the 101, and nothing else.
    is_open: Cell<bool>,
    decision: RefCell<Option<Result<Admitted, Refusal>>>,
}

/// A stream whose request is looked at, and to which hyper writes only what it is let.
struct Guarded<S> {
    stream: S,
    gate: Rc<Gate>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let mut scan = self.gate.scan.get();
        let scanned = scan.feed(buf.filled().get(before..).unwrap_or_default());
        self.gate.scan.set(scan);
        if let ScanResult::Refused(_) = scanned { Poll::Ready(Err(io::ErrorKind::InvalidData.into())) } else { polled }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gate.is_open.get() { Pin::new(&mut self.stream).poll_write(cx, bytes) } else { Poll::Ready(Ok(bytes.len())) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
