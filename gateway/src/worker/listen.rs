//! From an accepted socket to a connection.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use headgate_crds::v1alpha1::ClientAddressFrom;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tracing::debug;

use super::{
    admit::{Admission, Admittance, Admitted},
    connection::{Connection, Stage},
    drive,
    key::ConnectionKey,
    life::Worker,
    prefixed::{self, Prefixed},
    settings::Settings,
    shared::Shared,
    transport::Transport,
    upgrade::{Failed, Upgraded, upgrade},
};
use crate::{
    admission::{address, load::Place},
    hub::outbox::Outbox,
    session::{heartbeat::Heartbeat, pace::Pace},
    websocket::assembler::Assembler,
};

/// Connections that the kernel keeps for us to accept.
const BACKLOG: i32 = 4_096;

/// How long nothing is accepted after an error that is not one connection's, such as no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long written bytes may stay unacknowledged before the kernel ends a connection.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// Binds one listener for each worker to the same address; the kernel spreads connections.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<StdListener>> {
    // Without the sharing first: another process on this port is an error, not a rival.
    let probe = StdListener::bind(address)?;
    let address = probe.local_addr()?;
    drop(probe);
    (0..count)
        .map(|_| {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            // Accepted sockets have them from here.
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

/// Accepts for as long as the worker lives.
pub async fn accept(worker: Rc<RefCell<Worker>>, shared: Arc<Shared>, listener: TcpListener) {
    loop {
        wait_for_room(&shared).await;
        match listener.accept().await {
            Ok((tcp, peer)) => {
                let handshake = Handshake {
                    worker: Rc::clone(&worker),
                    shared: Arc::clone(&shared),
                    // As they are now, however long ago the wait began.
                    settings: shared.settings.load_full(),
                    _pending: Pending::new(&shared),
                };
                tokio::task::spawn_local(handshake.run(tcp, peer));
            }
            Err(error) => {
                // Out of files, most likely: those who are here go on.
                debug!(event = "accept_failed", %error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Beyond `limits.pendingHandshakes` nothing more is accepted.
async fn wait_for_room(shared: &Shared) {
    loop {
        let mut over = std::pin::pin!(shared.handshake_over.notified());
        // Before the count is looked at, or the last one could end in between.
        over.as_mut().enable();
        let most = shared.settings.load().spec().limits.pending_handshakes;
        if shared.load.pending() < most as usize {
            return;
        }
        over.await;
    }
}

/// A place among the handshakes; who waits for one is told when it is given back.
struct Pending {
    shared: Arc<Shared>,
    place: Option<Place>,
}

impl Pending {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), place: Some(shared.load.begin()) }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.place = None;
        self.shared.handshake_over.notify_waiters();
    }
}

/// One connection on its way in.
struct Handshake {
    worker: Rc<RefCell<Worker>>,
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    _pending: Pending,
}

impl Handshake {
    /// Makes a connection of a socket, or tells the client why not, within `handshakeTimeout`.
    async fn run(self, tcp: TcpStream, peer: SocketAddr) {
        let within = self.settings.spec().limits.handshake_timeout.get();
        let upgraded = timeout(within, async {
            // Who says nothing costs a socket, and none of what reads a request.
            tcp.readable().await.map_err(|_| Failed::Gone)?;
            Box::pin(self.upgrade(tcp, peer)).await
        });
        match upgraded.await.unwrap_or(Err(Failed::Timeout)) {
            Ok((transport, early, admitted)) => self.enter(transport, early, admitted),
            Err(failed) => {
                if let Some(label) = failed.label() {
                    self.worker.borrow_mut().counts.refused(label);
                    debug!(event = "handshake_failed", %peer, error = label, "no connection");
                }
            }
        }
    }

    async fn upgrade(
        &self,
        mut tcp: TcpStream,
        peer: SocketAddr,
    ) -> Result<(Transport, Bytes, Admitted), Failed> {
        let mut peer = peer.ip().to_canonical();
        let mut first = Bytes::new();
        if self.expects_proxy_header(peer) {
            let header = prefixed::read_header(&mut tcp).await.map_err(|_| Failed::Gone)?;
            let (source, behind) = header.ok_or(Failed::ProxyHeader)?;
            peer = source.map_or(peer, |it| it.ip().to_canonical());
            first = behind;
        }
        let tcp = Prefixed::new(first, tcp);
        let (shared, settings) = (Arc::clone(&self.shared), Arc::clone(&self.settings));
        let admission = Admission { shared, settings, peer };
        match &self.settings.config.tls {
            None => {
                let Upgraded { stream, early, admitted } = upgrade(tcp, &admission).await?;
                let (rest, tcp) = stream.into_parts();
                Ok((Transport::Plain(tcp), [early, rest].concat().into(), admitted))
            }
            Some(tls) => {
                let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&tls.server));
                let stream = acceptor.accept(tcp).await.map_err(|_| Failed::Tls)?;
                let Upgraded { stream, early, admitted } = upgrade(stream, &admission).await?;
                // The handshake has read everything that came before it ended.
                let (tcp, session) = stream.into_inner();
                Ok((Transport::tls(tcp.into_parts().1, session), early, admitted))
            }
        }
    }

    /// Whoever is believed has to say whom it speaks for.
    fn expects_proxy_header(&self, peer: IpAddr) -> bool {
        let source = &self.settings.spec().client_address;
        source.from == ClientAddressFrom::ProxyProtocol
            && address::is_trusted(peer, &source.trusted_proxies)
    }

    /// Makes a connection of what was admitted, with a task of its own.
    fn enter(self, transport: Transport, early: Bytes, admitted: Admitted) {
        let key = {
            let mut worker = self.worker.borrow_mut();
            worker.wake();
            let key = worker.next_key();
            let (connection, doomed) = worker.connection(key, transport, early, admitted);
            worker.open(connection, doomed);
            key
        };
        tokio::task::spawn_local(drive::run(Rc::clone(&self.worker), key));
    }
}

impl Worker {
    fn next_key(&mut self) -> ConnectionKey {
        let nonce = self.rng.u32(..);
        ConnectionKey::new(self.index, self.connections.vacant_key(), nonce)
    }

    fn connection(
        &mut self,
        key: ConnectionKey,
        transport: Transport,
        early: Bytes,
        admitted: Admitted,
    ) -> (Connection, Option<crate::protocol::close::CloseReason>) {
        let now_ms = self.now_ms();
        let spec = self.settings.spec();
        let mut heartbeat = Heartbeat::new(now_ms, spec.ping_period.as_millis(), self.rng.u64(..));
        let Admitted { upgrade, identity, admittance, address, places, mut span } = admitted;
        let (stage, doomed) = match admittance {
            Admittance::Open => (Stage::Opening(0), None),
            Admittance::Unauthenticated => {
                let within_ms = spec.limits.handshake_timeout.as_millis();
                heartbeat.authenticate_by_ms = now_ms + within_ms;
                (Stage::Unauthenticated, None)
            }
            Admittance::Echo => (Stage::Echo, None),
            Admittance::Doomed(reason) => (Stage::Open, Some(reason)),
        };
        if let Some(span) = &mut span {
            span.set("client.address", address.to_string());
            span.set("headgate.connection", self.shared.names.name(key).to_string());
            span.set("headgate.dialect", upgrade.dialect.name());
        }
        debug!(
            event = "opened",
            connection = %self.shared.names.name(key),
            peer = %address,
            dialect = upgrade.dialect.name(),
            "client connected"
        );
        let connection = Connection {
            key,
            transport,
            outbox: Outbox::default(),
            assembler: Assembler::default(),
            dialect: upgrade.dialect,
            window_bits: upgrade.agreement.map(|it| it.server_window_bits),
            pace: Pace::new(&spec.limits, now_ms),
            identity,
            stage,
            heartbeat,
            active_ms: now_ms,
            subscriptions: Vec::new(),
            closing: None,
            paused_until_ms: 0,
            blocked_since_ms: None,
            delayed_until_ms: None,
            armed_ms: 0,
            waker: None,
            opened_ms: now_ms,
            unread: Some(early).filter(|it| !it.is_empty()),
            places,
            span,
        };
        (connection, doomed)
    }
}
