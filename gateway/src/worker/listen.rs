//! The public port: one listener for each worker, and no more handshakes at once than are allowed.

use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::debug;

use super::{handshake::Handshake, life::Worker, shared::Shared};
use crate::admission::load::Place;

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
                    pending: Pending::new(&shared),
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
pub struct Pending {
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
