//! A client's socket, with or without TLS, read and written without waiting.

use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::{io::Errno, net::SendFlags};
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
};

/// What one TLS session may keep of what the socket does not take.
const TLS_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Where bytes come from and go to.
#[derive(Debug)]
pub enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<Tls>),
}

/// A TLS connection after its handshake.
#[derive(Debug)]
pub struct Tls {
    tcp: TcpStream,
    session: ServerConnection,
}

/// The socket as the blocking traits see it: what would block, fails so.
struct Try<'a>(&'a TcpStream);

impl Read for Try<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(out)
    }
}

impl Write for Try<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport {
    /// A transport whose handshake is over.
    pub fn tls(tcp: TcpStream, mut session: ServerConnection) -> Self {
        session.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX));
        Self::Tls(Box::new(Tls { tcp, session }))
    }

    /// The socket, to wait for.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    /// Whether encrypted bytes wait for the socket.
    pub fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.session.wants_write())
    }

    /// Reads what is there, or has the task woken when there is something; 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            // A read that leaves room tells tokio that the socket is empty, without another call.
            Self::Plain(tcp) => {
                let mut out = ReadBuf::new(out);
                Pin::new(tcp).poll_read(cx, &mut out).map_ok(|()| out.filled().len())
            }
            Self::Tls(tls) => loop {
                match tls.read(out) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        match tls.tcp.poll_read_ready(cx) {
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    read => return Poll::Ready(read),
                }
            },
        }
    }

    /// Writes what it takes, in one system call where it can.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Plain(tcp), [one]) => send(tcp, one),
            (Self::Plain(tcp), many) => tcp.try_write_vectored(many),
            (Self::Tls(tls), slices) => tls.write(slices),
        }
    }

    /// Writes encrypted bytes that wait.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Ends the sending direction: the peer reads everything that was sent, then the end.
    pub fn finish(&mut self) {
        if let Self::Tls(tls) = self {
            tls.session.send_close_notify();
            // A socket that takes no more at the very end is cut off soon anyway.
            let _ = tls.flush();
        }
        // It fails where the peer is gone, and then there is nobody to tell.
        let _ = rustix::net::shutdown(self.tcp(), rustix::net::Shutdown::Write);
    }
}

/// Writes to the socket itself: of tokio's bookkeeping nothing is touched unless the socket is full.
fn send(tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match rustix::net::send(tcp, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Err(Errno::WOULDBLOCK) => {
            // tokio learns it, or it would not wait for room.
            tcp.try_io(Interest::WRITABLE, || Err(io::ErrorKind::WouldBlock.into()))
        }
        result => result.map_err(io::Error::from),
    }
}

impl Tls {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end without close_notify: the WebSocket close frame says what matters.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if self.session.read_tls(&mut Try(&self.tcp))? == 0 {
                return Ok(0);
            }
            let processed = self.session.process_new_packets();
            // Alerts and key updates go out, whatever came.
            self.flush()?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        let written = self.session.writer().write_vectored(slices)?;
        self.flush()?;
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Try(&self.tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                result => drop(result?),
            }
        }
        Ok(())
    }
}
