//! Thousands of WebSocket clients on one thread that spins, so that the receiver's scheduling does
//! not show in the server's figures.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    clock::now_ns,
    wire::{Frames, client_frame, request},
};

/// How long anything here may take before the run is given up.
const PATIENCE_NS: u64 = 60_000_000_000;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Open connections and what they have received.
pub struct Clients {
    epoll: OwnedFd,
    list: Vec<Client>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    /// Messages that arrived at all clients together.
    pub received: u64,
}

#[derive(Debug)]
struct Client {
    socket: TcpStream,
    frames: Frames,
    received: u64,
}

/// Opens one connection; returns it with the nanoseconds until the 101 was there.
///
/// # Errors
///
/// Also where the answer is another status.
pub fn open(address: &str, path: &str, token: Option<&str>) -> Result<(TcpStream, u64)> {
    let began = now_ns();
    let mut socket =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    socket.set_nodelay(true)?;
    socket.write_all(request(address, path, token).as_bytes())?;
    let mut answer = [0; 1_024];
    let mut length = 0;
    while !answer[..length].ends_with(b"\r\n\r\n") {
        let read = socket.read(&mut answer[length..])?;
        ensure!(read > 0, "refused: {}", String::from_utf8_lossy(&answer[..length]));
        length += read;
    }
    ensure!(
        answer.starts_with(b"HTTP/1.1 101 "),
        "refused: {}",
        String::from_utf8_lossy(&answer[..length])
    );
    Ok((socket, now_ns() - began))
}

impl Clients {
    /// Opens `count` connections one after the other; also says how long each took, in nanoseconds.
    pub fn open(address: &str, path: &str, count: usize) -> Result<(Self, Vec<u64>)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut list = Vec::with_capacity(count);
        let mut took = Vec::with_capacity(count);
        for i in 0..count {
            let (socket, ns) = open(address, path, None)?;
            socket.set_nonblocking(true)?;
            epoll::add(
                &epoll,
                &socket,
                epoll::EventData::new_u64(i as u64),
                epoll::EventFlags::IN,
            )?;
            list.push(Client { socket, frames: Frames::default(), received: 0 });
            took.push(ns);
        }
        let (buffer, events) = (vec![0; 1 << 16], Vec::with_capacity(1_024));
        Ok((Self { epoll, list, buffer, events, received: 0 }, took))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Has every client send the envelope that `text_for` makes of its number, and waits for one
    /// answer each.
    pub fn ask_all(&mut self, text_for: impl Fn(usize) -> String) -> Result<()> {
        let (count, before) = (self.len(), self.received);
        for i in 0..count {
            self.send(i, &text_for(i))?;
            // Answers are read between the questions, so that no socket fills.
            self.read_ready(&mut |_, _| ())?;
        }
        self.wait_for(before + count as u64)
    }

    /// Sends a text message from one client.
    pub fn send(&mut self, client: usize, text: &str) -> Result<()> {
        let frame = client_frame(TEXT, text.as_bytes());
        let client = self.list.get_mut(client).context("no such client")?;
        client.socket.write_all(&frame).context("the server does not read")
    }

    /// Spins until all clients together have received `total` messages.
    pub fn wait_for(&mut self, total: u64) -> Result<()> {
        let deadline = now_ns() + PATIENCE_NS;
        while self.received < total {
            self.read_ready(&mut |_, _| ())?;
            ensure!(now_ns() < deadline, "{} of {total} messages within 60 s", self.received);
        }
        Ok(())
    }

    /// Reads what is there, without waiting; tells for each message the client and how many that
    /// client had before it.
    pub fn read_ready(&mut self, message: &mut impl FnMut(usize, u64)) -> Result<()> {
        self.events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&at_once))?;
        for event in &self.events {
            let number = usize::try_from(event.data.u64())?;
            let client = &mut self.list[number];
            self.received += client.read(number, &mut self.buffer, message)?;
        }
        Ok(())
    }
}

impl Client {
    /// Reads once; returns how many messages came.
    fn read(
        &mut self,
        number: usize,
        buffer: &mut [u8],
        message: &mut impl FnMut(usize, u64),
    ) -> Result<u64> {
        let length = match self.socket.read(buffer) {
            Ok(0) => bail!("the server closed the connection of client {number}"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let before = self.received;
        let (mut pings, mut is_closed) = (0, false);
        self.frames.feed(&buffer[..length], |opcode| match opcode {
            PING => pings += 1,
            CLOSE => is_closed = true,
            _ => {
                message(number, self.received);
                self.received += 1;
            }
        });
        ensure!(!is_closed, "the server closes the connection of client {number}");
        for _ in 0..pings {
            self.socket.write_all(&client_frame(PONG, b""))?;
        }
        Ok(self.received - before)
    }
}
