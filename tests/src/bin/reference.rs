//! The floor under every figure: one thread, bare epoll, one `send` per socket and message.
//!
//! What a client sends with `"message"` in it goes to all other clients as it came; anything else is
//! answered with one short frame. With `coalesce`, what one turn of the loop has read is sent with
//! one `send` per socket. No limits, no time-outs, no queue: a socket that is full ends the run.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write, stdout},
    net::{TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use headgate_tests::wire::server_frame;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
};

const LISTENER: u64 = u64::MAX;
const ANSWER: &[u8] = br#"{"type":"subscribed","payload":{"channel":"bench"},"id":1}"#;

fn main() -> Result<()> {
    let is_coalescing = std::env::args().nth(1).is_some_and(|it| it == "coalesce");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    writeln!(stdout(), "listening {}", listener.local_addr()?)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    Server { epoll, listener, clients: HashMap::new(), next: 0, is_coalescing }.run()
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    clients: HashMap<u64, Client>,
    next: u64,
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
                    client => self.read(client, &mut buffer, &mut waiting)?,
                }
            }
            if !waiting.is_empty() {
                self.send_to_others(u64::MAX, &waiting)?;
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
            epoll::add(&self.epoll, &socket, EventData::new_u64(self.next), EventFlags::IN)?;
            self.clients.insert(self.next, Client { socket, unread: Vec::new(), is_open: false });
            self.next += 1;
        }
    }

    fn read(&mut self, number: u64, buffer: &mut [u8], waiting: &mut Vec<u8>) -> Result<()> {
        let Some(client) = self.clients.get_mut(&number) else { return Ok(()) };
        match client.socket.read(buffer) {
            Ok(0) => drop(self.clients.remove(&number)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => drop(self.clients.remove(&number)),
            Ok(length) => {
                client.unread.extend(&buffer[..length]);
                if !client.is_open && !client.open()? {
                    return Ok(());
                }
                for text in client.messages() {
                    self.handle(number, &text, waiting)?;
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, number: u64, text: &[u8], waiting: &mut Vec<u8>) -> Result<()> {
        if !text.windows(9).any(|it| it == br#""message""#) {
            let client = self.clients.get_mut(&number).context("it has just sent this")?;
            client.socket.write_all(&server_frame(1, ANSWER))?;
        } else if self.is_coalescing {
            waiting.extend(server_frame(1, text));
        } else {
            self.send_to_others(number, &server_frame(1, text))?;
        }
        Ok(())
    }

    /// With `coalesce` the sender is among those who get it: it is one in a thousand.
    fn send_to_others(&mut self, sender: u64, bytes: &[u8]) -> Result<()> {
        for (number, client) in &mut self.clients {
            if *number != sender && client.is_open {
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

    /// Takes the whole frames out of what was read; those under 64 KiB are all that is sent here.
    fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let [_, length, rest @ ..] = &self.unread[..] {
            let (start, length) = match (length & 0x7f, rest) {
                (126, [high, low, ..]) => (8, usize::from(u16::from_be_bytes([*high, *low]))),
                (126.., _) => break,
                (short, _) => (6, usize::from(short)),
            };
            let Some(masked) = self.unread.get(start..start + length) else { break };
            let mask = &self.unread[start - 4..start];
            messages.push(masked.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect());
            self.unread.drain(..start + length);
        }
        messages
    }
}
