//! A client's socket, with or without TLS, read and written without waiting.

use std::io::{self, IoSlice, Read, Write};

use rustls::ServerConnection;
use tokio::net::TcpStream;

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
    pub fn tls(tcp: TcpStream, session: ServerConnection) -> Self {
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

    /// Reads what is there; 0 is the end.
    pub fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Self::Tls(tls) = self else { return self.tcp().try_read(out) };
        loop {
            match tls.session.reader().read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if tls.session.read_tls(&mut Try(&tls.tcp))? == 0 {
                return Ok(0);
            }
            let processed = tls.session.process_new_packets();
            tls.flush()?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Writes what it takes, in one system call where it can.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self::Tls(tls) = self else {
            return match slices {
                [one] => self.tcp().try_write(one),
                many => self.tcp().try_write_vectored(many),
            };
        };
        tls.flush()?;
        let written = tls.session.writer().write_vectored(slices)?;
        tls.flush()?;
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
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
            let _ = tls.flush();
        }
        let _ = rustix::net::shutdown(self.tcp(), rustix::net::Shutdown::Write);
    }
}

impl Tls {
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
