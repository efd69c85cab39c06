//! From a stream to a WebSocket: hyper reads the request and writes the 101, and nothing else.
//!
//! Everything else that hyper would write is dropped, and the refusal is written here, so that
//! every refusal has its JSON body, and the connection ends after it.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use tracing::debug;

use super::{
    admit::{Admission, Admitted},
    connection::CLOSE_MS,
};
use crate::{
    admission::refusal::Refusal,
    websocket::{
        handshake::HandshakeError,
        head::{HeadScan, ScanResult},
    },
};

/// A connection that was upgraded: its stream, what came behind the request, and who it is.
pub struct Upgraded<S> {
    pub stream: S,
    pub early: Bytes,
    pub admitted: Admitted,
}

/// How a handshake failed.
pub enum Failed {
    /// The client was told.
    Refused(Refusal),
    /// A trusted proxy did not say whom it speaks for.
    ProxyHeader,
    /// The TLS handshake.
    Tls,
    /// The client went away.
    Gone,
    /// Nothing whole came in time.
    Timeout,
}

impl Failed {
    /// The value of the `reason` label on `realtime_gateway_connections_refused_total`; who went
    /// away by itself was not refused.
    pub const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.code()),
            Self::ProxyHeader => Some("proxy_header"),
            Self::Tls => Some("tls"),
            Self::Timeout => Some("timeout"),
            Self::Gone => None,
        }
    }
}

/// Reads a request, decides about it and answers it.
///
/// The caller bounds the time; a dropped future drops the stream.
pub async fn upgrade<S>(stream: S, admission: &Admission) -> Result<Upgraded<S>, Failed>
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
    let mut connection = http1::Builder::new()
        // The caller's bound on the whole handshake is shorter than any of the head alone. Of headers
        // hyper takes 100 by itself, which is the protocol's bound.
        .header_read_timeout(None)
        .max_buf_size(64 * 1024)
        .keep_alive(false)
        .serve_connection(io, service);
    let served = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().stream;
    let refusal = match gate.decision.take() {
        Some(Ok(admitted)) if served.is_ok() => {
            return Ok(Upgraded { stream, early: parts.read_buf, admitted });
        }
        Some(Ok(_)) => return Err(Failed::Gone),
        Some(Err(refusal)) => refusal,
        None => unread(&gate, served.err()).ok_or(Failed::Gone)?,
    };
    debug!(event = "refused", peer = %admission.peer, code = refusal.code(), "upgrade refused");
    refuse(&mut stream, refusal).await;
    Err(Failed::Refused(refusal))
}

/// Writes a refusal and ends the connection so that it is read.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, refusal: Refusal) {
    let response = refusal.response(fastrand::u32(..));
    if stream.write_all(response.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Who still sends would lose the answer to a reset.
    let mut rest = [0; 1_024];
    let drained = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    // Whoever is still there after that has had its answer.
    let _ = timeout(Duration::from_millis(CLOSE_MS), drained).await;
}

/// Why hyper could not read a request; nothing is said to who sent none.
fn unread(gate: &Gate, error: Option<hyper::Error>) -> Option<Refusal> {
    if let ScanResult::Refused(error) = gate.scan.get().said() {
        return Some(Refusal::Handshake(error));
    }
    let error = error?;
    if error.is_parse_too_large() {
        return Some(Refusal::Handshake(HandshakeError::Headers));
    }
    error.is_parse().then_some(Refusal::Handshake(HandshakeError::BadHandshake(
        "this is not an HTTP/1.1 request",
    )))
}

fn switching(admitted: Option<&Admitted>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    let Some(Admitted { upgrade, .. }) = admitted else { return response };
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&upgrade.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(echo) = upgrade.echo {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(echo));
    }
    let answer = upgrade.agreement.as_ref().map(|it| HeaderValue::from_str(&it.answer));
    if let Some(Ok(answer)) = answer {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, answer);
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let mut scan = self.gate.scan.get();
        let scanned = scan.feed(buf.filled().get(before..).unwrap_or_default());
        self.gate.scan.set(scan);
        match scanned {
            ScanResult::Refused(_) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            ScanResult::More | ScanResult::End(_) => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gate.is_open.get() {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        } else {
            Poll::Ready(Ok(bytes.len()))
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
