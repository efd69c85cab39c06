//! One connection in the dialect `headgate.v1`, that never waits.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::wire::{CLOSE, Frame, Frames, PING, PONG, TEXT, client_frame};

/// How long the handshake of TCP may take: it is the kernel's alone, so this is much.
const CONNECT: Duration = Duration::from_millis(500);

/// A connection.
#[derive(Debug)]
pub struct Socket {
    /// Non-blocking.
    pub tcp: TcpStream,
    /// What came of the answer to the upgrade; `None` once it is there.
    answer: Option<Vec<u8>>,
    frames: Frames,
    unsent: Vec<u8>,
}

/// What came.
#[derive(Debug)]
pub enum Came<'a> {
    /// A text frame.
    Text(&'a [u8]),
    /// A close frame with this code.
    Close(u16),
}

impl Socket {
    /// Connects and asks for the upgrade.
    pub fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let mut tcp = TcpStream::connect_timeout(&address, CONNECT)?;
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: headgate.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        tcp.write_all(request.as_bytes())?;
        let (answer, frames, unsent) = (Some(Vec::new()), Frames::default(), Vec::new());
        Ok(Self { tcp, answer, frames, unsent })
    }

    /// Sends a text. What the socket does not take is sent with the next one, or when it is read.
    pub fn send(&mut self, text: &str) {
        self.unsent.extend(client_frame(TEXT, text.as_bytes()));
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.tcp.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads once and hands on what came.
    pub fn read(&mut self, buffer: &mut [u8], mut tell: impl FnMut(Came<'_>)) -> Result<()> {
        let length = match self.tcp.read(buffer) {
            Ok(0) => bail!("the gateway ended the connection"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let mut early = Vec::new();
        let bytes = if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(()) };
            let text = String::from_utf8_lossy(answer);
            let line = text.lines().next().context("no answer")?;
            ensure!(line.starts_with("HTTP/1.1 101 "), "upgrade refused: {line}");
            early.extend(answer.drain(end + 4..));
            self.answer = None;
            &early
        } else {
            bytes
        };
        let mut pings = 0;
        self.frames.feed(bytes, |Frame { opcode, payload, .. }| match opcode {
            PING => pings += 1,
            PONG => {}
            CLOSE => {
                let code = payload.first_chunk().map_or(1005, |it| u16::from_be_bytes(*it));
                tell(Came::Close(code));
            }
            _ => tell(Came::Text(payload)),
        });
        for _ in 0..pings {
            self.unsent.extend(client_frame(PONG, b""));
        }
        Ok(())
    }
}
