//! One WebSocket client that never waits: its upgrade, its frames, its end.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    clock::now_ns,
    wire::{CLOSE, Frame, Frames, PING, PONG, client_frame},
};

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub address: String,
    /// The path of the WebSocket.
    pub path: String,
    /// The bearer token.
    pub token: Option<String>,
}

impl Target {
    /// The request that opens a connection, in the plain dialect.
    pub fn request(&self) -> String {
        let Self { address, path, token } = self;
        let token =
            token.as_ref().map(|it| format!("Authorization: Bearer {it}\r\n")).unwrap_or_default();
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n{token}\r\n"
        )
    }
}

/// What a client came to know.
#[derive(Debug)]
pub enum Event<'a> {
    /// The 101 is there, so many nanoseconds after the client wanted to connect.
    Open(u64),
    /// A text or binary frame.
    Message(&'a [u8]),
    /// The connection has ended, in the way that was asked for.
    Ended,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// Non-blocking.
    pub socket: TcpStream,
    state: State,
    frames: Frames,
}

#[derive(Debug)]
enum State {
    Upgrading { answer: Vec<u8>, wanted_ns: u64 },
    Open,
    Closing,
}

impl Client {
    /// Connects and asks for the upgrade; `wanted_ns` is when the client should have done so.
    pub fn begin(target: &Target, wanted_ns: u64) -> Result<Self> {
        let address = &target.address;
        let mut socket =
            TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.write_all(target.request().as_bytes())?;
        let state = State::Upgrading { answer: Vec::new(), wanted_ns };
        Ok(Self { socket, state, frames: Frames::default() })
    }

    /// Sends a frame. A server that does not read is an error: there is no queue here.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> Result<()> {
        let frame = client_frame(opcode, payload);
        self.socket.write_all(&frame).context("the server does not read")
    }

    /// Begins the closing handshake.
    pub fn close(&mut self) -> Result<()> {
        self.state = State::Closing;
        self.send(CLOSE, &1000_u16.to_be_bytes())
    }

    /// Reads once and tells what came.
    pub fn read(&mut self, buffer: &mut [u8], tell: &mut impl FnMut(Event<'_>)) -> Result<()> {
        let length = match self.socket.read(buffer) {
            Ok(0) if matches!(self.state, State::Closing) => {
                tell(Event::Ended);
                return Ok(());
            }
            Ok(0) => bail!("the server ended the connection"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        match &mut self.state {
            State::Upgrading { answer, wanted_ns } => {
                answer.extend_from_slice(bytes);
                let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(()) };
                let text = String::from_utf8_lossy(answer);
                ensure!(text.starts_with("HTTP/1.1 101 "), "upgrade refused: {text}");
                tell(Event::Open(now_ns().saturating_sub(*wanted_ns)));
                let early = answer.split_off(end + 4);
                self.state = State::Open;
                self.frames(&early, tell)
            }
            State::Open | State::Closing => self.frames(bytes, tell),
        }
    }

    fn frames(&mut self, bytes: &[u8], tell: &mut impl FnMut(Event<'_>)) -> Result<()> {
        let (mut pings, mut is_closed) = (0, false);
        self.frames.feed(bytes, |Frame { opcode, payload, .. }| match opcode {
            PING => pings += 1,
            PONG => {}
            CLOSE => is_closed = true,
            _ => tell(Event::Message(payload)),
        });
        ensure!(!is_closed || matches!(self.state, State::Closing), "the server closed");
        // Every ping of the gateway is empty.
        (0..pings).try_for_each(|_| self.send(PONG, b""))
    }
}
