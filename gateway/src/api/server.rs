//! Serves the internal port.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use super::router::Router;

/// Connections at a time; health checks are short.
const CONNECTIONS_MAX: usize = 1_024;

/// A request's head must be here within it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, router: Arc<Router>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let router = Arc::clone(&router);
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let service = service_fn(|request| {
                let router = Arc::clone(&router);
                async move { Ok::<_, Infallible>(router.answer(request).await) }
            });
            // A client that breaks off is none of our business.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(tcp), service)
                .await;
            drop(place);
        });
    }
}
