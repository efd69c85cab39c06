//! The floor under every figure: one thread, bare epoll, one `send` per socket and message.
//!
//! What a client sends with `"message"` in it goes to all other clients as it came; anything else is
//! answered with one short frame. With `coalesce`, what one turn of the loop has read is sent with
//! one `send` per socket. No limits, no time-outs, no queue: a socket that is full ends the run.

use std::{
    io::{ErrorKind, Read, Write, stdout},
    net::{TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use headgate_tests::wire::{CLOSE, TEXT, server_frame, take_frame};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
    net::listen,
};

const LISTENER: u64 = u64::MAX;
const ANSWER: &[u8] = br#"{"type":"subscribed","payload":{"channel":"bench"},"id":1}"#;

fn main() -> Result<()> {
    let is_coalescing = std::env::args().nth(1).is_some_and(|it| it == "coalesce");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The standard library asks for a queue of 128.
    listen(&listener, 4_096)?;
    listener.set_nonblocking(true)?;
    writeln!(stdout(), "listening {}", listener.local_addr()?)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    Server { epoll, listener, clients: Vec::new(), free: Vec::new(), is_coalescing }.run()
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    is_coalescing: bool,
}

struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
    is_open: bool,
}

impl Server {
    fn run(mut self) -> Result<()> {
        let mut events = Vec::with_capacity(1_024);
        let mut buffer = vec![0; 1 << 16];
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            let mut waiting = Vec::new();
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    client => self.read(usize::try_from(client)?, &mut buffer, &mut waiting)?,
                }
            }
            if !waiting.is_empty() {
                self.send_to_all_but(None, &waiting)?;
            }
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN)?;
            let client = Client { socket, unread: Vec::new(), is_open: false };
            *self.clients.get_mut(number).context("a place was just made")? = Some(client);
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8], waiting: &mut Vec<u8>) -> Result<()> {
        let place = self.clients.get_mut(number).context("no such client")?;
        let Some(client) = place else { return Ok(()) };
        match client.socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.end(number),
            Ok(length) => {
                client.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
                if !client.is_open && !client.open()? {
                    return Ok(());
                }
                for (opcode, text) in client.messages() {
                    self.handle(number, opcode, &text, waiting)?;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, number: usize) {
        if let Some(place) = self.clients.get_mut(number) {
            *place = None;
            self.free.push(number);
        }
    }

    fn handle(
        &mut self,
        from: usize,
        opcode: u8,
        text: &[u8],
        waiting: &mut Vec<u8>,
    ) -> Result<()> {
        let is_message = memchr::memmem::find(text, br#""message""#).is_some();
        let frame = server_frame(TEXT, text);
        match (opcode, is_message) {
            (CLOSE, _) => self.end(from),
            (_, true) if self.is_coalescing => waiting.extend(frame),
            (_, true) => self.send_to_all_but(Some(from), &frame)?,
            (_, false) => {
                let client = self.clients.get_mut(from).and_then(Option::as_mut);
                client
                    .context("it has just sent")?
                    .socket
                    .write_all(&server_frame(TEXT, ANSWER))?;
            }
        }
        Ok(())
    }

    /// With `coalesce` the sender is among those who get it: it is one in a thousand.
    fn send_to_all_but(&mut self, sender: Option<usize>, bytes: &[u8]) -> Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            if let Some(client) = client
                && client.is_open
                && sender != Some(number)
            {
                client.socket.write_all(bytes).context("a client does not read")?;
            }
        }
        Ok(())
    }
}

impl Client {
    /// Answers the request once it is whole.
    fn open(&mut self) -> Result<bool> {
        if !self.unread.ends_with(b"\r\n\r\n") {
            return Ok(false);
        }
        let request = String::from_utf8_lossy(&self.unread);
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = tungstenite::handshake::derive_accept_key(key.context("no key")?.as_bytes());
        self.socket.write_all(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        )?;
        self.unread = Vec::new();
        self.is_open = true;
        Ok(true)
    }

    /// Takes the whole frames out of what was read.
    fn messages(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut unread = self.unread.as_slice();
        let mut messages = Vec::new();
        while let Some(frame) = take_frame(&mut unread) {
            let mask = frame.mask.iter().cycle();
            let unmasked = frame.payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
            messages.push((frame.opcode, unmasked.collect()));
        }
        self.unread = unread.to_vec();
        messages
    }
}
