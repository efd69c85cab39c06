//! The PROXY header that a trusted proxy sends before anything else, versions 1 and 2
//! (haproxy's proxy-protocol.txt): who the client is, where the socket shows only the proxy.
//!
//! Whoever is believed must send one, and nobody else is asked: what a stranger sends goes to the
//! HTTP reader, for which neither version is a request.
//!
//! The header ends at a byte that it names itself, so what follows is never taken with it. No heap;
//! what is skipped is counted, not kept.

use std::net::SocketAddr;

mod binary;
mod text;

/// What is kept of a header: all of the longest text, and of a binary one as far as its addresses.
const KEPT_BYTES_MAX: usize = text::BYTES_MAX;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    More,
    /// It has ended.
    Done {
        /// So many bytes of the last piece were the header's; TLS or the request follows.
        used: usize,
        /// The client; `None` where the proxy speaks for itself or does not know, so that the
        /// peer of the socket is the client.
        source: Option<SocketAddr>,
    },
    /// It is none, and why; the connection must end. The words never quote the header.
    Refused(&'static str),
}

/// The reader of one connection's header.
#[derive(Clone, Copy, Debug)]
pub struct ProxyReader {
    kept: [u8; KEPT_BYTES_MAX],
    read: usize,
}

impl Default for ProxyReader {
    fn default() -> Self {
        Self { kept: [0; KEPT_BYTES_MAX], read: 0 }
    }
}

/// The source, or why the header is refused; `None` before its end.
type End = Option<Result<Option<SocketAddr>, &'static str>>;

impl ProxyReader {
    /// Looks at the next piece, cut anywhere. After anything but [`Progress::More`] it is of no use.
    pub fn feed(&mut self, piece: &[u8]) -> Progress {
        for (at, byte) in piece.iter().enumerate() {
            match self.push(*byte) {
                None => {}
                Some(Ok(source)) => return Progress::Done { used: at + 1, source },
                Some(Err(words)) => return Progress::Refused(words),
            }
        }
        Progress::More
    }

    fn push(&mut self, byte: u8) -> End {
        if let Some(slot) = self.kept.get_mut(self.read) {
            *slot = byte;
        }
        self.read += 1;
        let head = self.kept.get(..self.read).unwrap_or(&self.kept);
        if is_begun(head, text::PREFIX) {
            text::read(head)
        } else if is_begun(head, binary::PREFIX) {
            binary::read(head, self.read)
        } else {
            Some(Err("connection does not begin with a PROXY header"))
        }
    }
}

/// Whether what came is `prefix`, as far as it came.
fn is_begun(head: &[u8], prefix: &[u8]) -> bool {
    head.iter().zip(prefix).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests;
