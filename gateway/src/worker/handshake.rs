//! From an accepted socket to a connection: PROXY header, TLS, upgrade, and a task of its own.
//!
//! All of it within `handshakeTimeout`; who may come in is judged by the settings at its end.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use headgate_crds::v1alpha1::ClientAddressFrom;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;

use super::{
    admit::{Admission, Admittance, Admitted},
    connection::{Connection, Stage, Tenths},
    drive,
    key::ConnectionKey,
    life::Worker,
    listen::Pending,
    prefixed::{self, Prefixed},
    settings::Settings,
    shared::Shared,
    transport::Transport,
    upgrade::{Failed, Upgraded, upgrade},
};
use crate::{
    admission::address,
    hub::outbox::Outbox,
    protocol::close::CloseReason,
    session::{heartbeat::Heartbeat, pace::Pace},
    websocket::assembler::Assembler,
};

/// One connection on its way in.
pub struct Handshake {
    pub worker: Rc<RefCell<Worker>>,
    pub shared: Arc<Shared>,
    pub settings: Arc<Settings>,
    /// Given back when the handshake is over.
    pub pending: Pending,
}

impl Handshake {
    /// Makes a connection of a socket, or tells the client why not, within `handshakeTimeout`.
    pub async fn run(self, tcp: TcpStream, peer: SocketAddr) {
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
        let admission = Admission { shared: Arc::clone(&self.shared), peer };
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
        let Self { worker: cell, pending, .. } = self;
        let key = {
            let mut worker = cell.borrow_mut();
            worker.wake();
            let key = worker.next_key();
            let (connection, doomed) = worker.connection(key, transport, early, admitted);
            worker.open(connection, doomed);
            key
        };
        // It counts as a connection now.
        drop(pending);
        tokio::task::spawn_local(drive::run(cell, key));
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
    ) -> (Connection, Option<CloseReason>) {
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
            active: Tenths::new(now_ms),
            subscriptions: Vec::new(),
            closing: None,
            paused_until_ms: 0,
            blocked_since_ms: None,
            delayed_until_ms: None,
            armed_ms: 0,
            waker: None,
            opened_ms: now_ms,
            unread: Some(early).filter(|it| !it.is_empty()),
            unasked: None,
            places,
            span,
        };
        (connection, doomed)
    }
}
