//! The listener of the internal port.
//!
//! Connections are bounded, and so is everything they may wait for. A few places beyond the bound
//! are kept for probes: a crowd of API clients must not make kubelet kill a pod that works.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{answer::Answer, internal::Crowded};

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections beyond the bound, which get one answer each, and only to a probe.
pub const CONNECTIONS_RESERVED: usize = 64;

/// How long a request's head may take, and how long a connection may rest between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long written bytes may stay unacknowledged or a closed window unopened, before the kernel
/// ends the connection: a client that does not read must not hold its place.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers that are under way may take once the port closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing is accepted after an error that is not one connection's, such as no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Who asks, as an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// A connection's right to be here, until it is dropped.
struct Place {
    is_reserved: bool,
    _permit: OwnedSemaphorePermit,
}

struct Places {
    usual: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
}

impl Places {
    fn take(&self) -> Option<Place> {
        let take = |places: &Arc<Semaphore>, is_reserved| {
            let permit = Arc::clone(places).try_acquire_owned().ok()?;
            Some(Place { is_reserved, _permit: permit })
        };
        take(&self.usual, false).or_else(|| take(&self.reserved, true))
    }
}

/// Serves until `stop` is done, then lets what is under way finish, for 5 seconds at most.
pub async fn serve<F, A>(listener: TcpListener, answer: F, stop: impl Future<Output = ()>)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let places = Places {
        usual: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        reserved: Arc::new(Semaphore::new(CONNECTIONS_RESERVED)),
    };
    let (stopping, is_stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (tcp, peer) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        if let Some(place) = places.take() {
            connections.spawn(connection(tcp, peer, place, answer.clone(), is_stopping.clone()));
        }
    }
    stopping.send_replace(true);
    let _ =
        timeout(CLOSE_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(event = "internal_accept_failed", %error, "cannot accept on the internal port");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, until either side ends it.
async fn connection<F, A>(
    tcp: TcpStream,
    peer: SocketAddr,
    place: Place,
    answer: F,
    mut is_stopping: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Answer>,
{
    // Neither can fail on a connection that is there, and on one that is not nothing matters.
    let _ = tcp.set_nodelay(true);
    let _ = SockRef::from(&tcp).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(|mut request| {
        request.extensions_mut().insert(Peer(peer));
        if place.is_reserved {
            request.extensions_mut().insert(Crowded);
        }
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(!place.is_reserved);
    let mut connection = pin!(http.serve_connection(TokioIo::new(tcp), service));
    tokio::select! {
        // A client that breaks off is none of our business.
        _ = connection.as_mut() => return,
        _ = is_stopping.wait_for(|is_stopping| *is_stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    // How it ends is the client's affair.
    let _ = connection.await;
}
