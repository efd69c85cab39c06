//! A stream whose first bytes were read already, and are read again: what came behind a PROXY
//! header, which has no length that could be known before it is read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream and what was read of it too early, behind a PROXY header.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

impl<S> Prefixed<S> {
    /// Reads `prefix` first, then the stream.
    pub const fn new(prefix: Bytes, stream: S) -> Self {
        Self { prefix, stream }
    }

    /// What nobody has read again, and the stream.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.prefix, self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let bytes = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads the PROXY header of a trusted proxy. Gives the client it names (`None`: the peer itself)
/// and what came behind the header; `None` where there is no sound header.
///
/// Bound it by the handshake's timeout. Hand the stream on as `Prefixed::new(early, tcp)`, before TLS.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<Option<(Option<std::net::SocketAddr>, Bytes)>> {
    use crate::admission::proxy::{Progress, ProxyReader};
    use tokio::io::AsyncReadExt;

    let mut reader = ProxyReader::default();
    let mut piece = bytes::BytesMut::with_capacity(1_024);
    loop {
        piece.clear();
        if stream.read_buf(&mut piece).await? == 0 {
            return Ok(None);
        }
        match reader.feed(&piece) {
            Progress::More => {}
            Progress::Refused(_) => return Ok(None),
            Progress::Done { used, source } => {
                piece.advance(used);
                return Ok(Some((source, piece.freeze())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_came_behind_the_header_is_read_again() {
        let (mut client, mut server) = duplex(1_024);
        client.write_all(b"PROXY TCP4 192.0.2.1 198.18.0.1 4711 80\r\nGET /").await.unwrap();

        let (source, early) = read_header(&mut server).await.unwrap().unwrap();
        client.write_all(b"ws HTTP/1.1").await.unwrap();
        client.shutdown().await.unwrap();
        let mut stream = Prefixed::new(early, server);
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();

        assert_eq!(source, Some("192.0.2.1:4711".parse().unwrap()));
        assert_eq!([&first[..], &rest].concat(), b"GET /ws HTTP/1.1");
    }

    #[tokio::test]
    async fn a_connection_without_a_header_is_refused_at_once() {
        let (mut client, mut server) = duplex(1_024);
        client.write_all(b"G").await.unwrap();

        assert_eq!(read_header(&mut server).await.unwrap(), None);
        drop(client);
    }
}
