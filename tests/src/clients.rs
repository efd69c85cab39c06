//! Thousands of WebSocket clients on one thread that spins, so that the receivers' scheduling does
//! not show in the server's figures.

use anyhow::{Context, Result, ensure};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    client::{Client, Event, Target},
    clock::now_ns,
    speech::Speech,
    wire::TEXT,
};

/// How long anything here may take before the run is given up.
const PATIENCE_NS: u64 = 60_000_000_000;

/// Upgrades on their way at a time, where nothing else is said.
const UPGRADES_MAX: usize = 32;

/// Connections and what came of them.
pub struct Clients {
    epoll: OwnedFd,
    list: Vec<Client>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    speech: Speech,
    /// How long each upgrade took, in nanoseconds and in the order in which they were done.
    pub opened: Vec<u64>,
    /// Messages that arrived at all clients together.
    pub received: u64,
    ended: usize,
}

impl Clients {
    /// Nobody yet.
    pub fn new(speech: Speech) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            list: Vec::new(),
            buffer: vec![0; 1 << 16],
            events: Vec::with_capacity(1_024),
            speech,
            opened: Vec::new(),
            received: 0,
            ended: 0,
        })
    }

    /// Opens one connection for each target and waits until they are ready.
    pub fn open(speech: Speech, targets: &[Target]) -> Result<Self> {
        let mut clients = Self::new(speech)?;
        for target in targets {
            clients.begin(target, now_ns())?;
            clients.wait("upgrades", |it| it.len() - it.opened.len() < UPGRADES_MAX)?;
        }
        clients.wait("upgrades", |it| it.opened.len() == it.len())?;
        if let Some(greeting) = speech.greeting() {
            clients.ask_all(|_| greeting.to_owned())?;
        }
        Ok(clients)
    }

    /// Begins one connection that should have begun at `wanted_ns`, without waiting for it.
    pub fn begin(&mut self, target: &Target, wanted_ns: u64) -> Result<()> {
        let client = Client::begin(target, wanted_ns)?;
        let data = epoll::EventData::new_u64(self.list.len() as u64);
        epoll::add(&self.epoll, &client.socket, data, epoll::EventFlags::IN)?;
        self.list.push(client);
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Subscribes every client to the channel that `channel` names for its number.
    pub fn subscribe(&mut self, channel: impl Fn(usize) -> String) -> Result<()> {
        let speech = self.speech;
        self.ask_all(|i| speech.subscribe(&channel(i)))
    }

    /// Has every client send what `text` makes of its number, and waits for one answer each.
    fn ask_all(&mut self, text: impl Fn(usize) -> String) -> Result<()> {
        let want = self.received + self.len() as u64;
        for i in 0..self.len() {
            self.send(i, &text(i))?;
            // Answers are read between the questions, so that no socket fills.
            self.read_ready(&mut |_, _| ())?;
        }
        self.wait_for(want)
    }

    /// Sends a text message from one client.
    pub fn send(&mut self, client: usize, text: &str) -> Result<()> {
        self.list.get_mut(client).context("no such client")?.send(TEXT, text.as_bytes())
    }

    /// Spins until all clients together have received `total` messages.
    pub fn wait_for(&mut self, total: u64) -> Result<()> {
        self.wait("messages", |it| it.received >= total)
    }

    /// Spins until something is so.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = now_ns() + PATIENCE_NS;
        while !is_so(self) {
            self.read_ready(&mut |_, _| ())?;
            ensure!(
                now_ns() < deadline,
                "waited 60 s for {what}: {} clients, {} open, {} messages received",
                self.len(),
                self.opened.len(),
                self.received
            );
        }
        Ok(())
    }

    /// Answers pings for so long.
    pub fn answer_for(&mut self, ms: u64) -> Result<()> {
        let until = now_ns() + ms * 1_000_000;
        self.wait("time to pass", |_| now_ns() >= until)
    }

    /// Reads what is there, without waiting; tells each message and the number of its client.
    pub fn read_ready(&mut self, message: &mut impl FnMut(usize, &[u8])) -> Result<()> {
        self.events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&at_once))?;
        for event in &self.events {
            let number = usize::try_from(event.data.u64())?;
            let client = self.list.get_mut(number).context("no such client")?;
            let (mut is_ended, mut answer) = (false, None);
            let mut tell = |event: Event<'_>| match event {
                Event::Open(ns) => self.opened.push(ns),
                Event::Ended => is_ended = true,
                Event::Message(payload) => {
                    for part in payload.split(|byte| *byte == b'\n') {
                        if let Some(due) = self.speech.heartbeat(part) {
                            answer = Some(due);
                        } else {
                            self.received += 1;
                            message(number, part);
                        }
                    }
                }
            };
            client.read(&mut self.buffer, &mut tell).with_context(|| format!("client {number}"))?;
            if let Some(answer) = answer {
                client.send(TEXT, answer.as_bytes())?;
            }
            if is_ended {
                epoll::delete(&self.epoll, &client.socket)?;
                self.ended += 1;
            }
        }
        Ok(())
    }

    /// Ends all connections by the closing handshake, and waits until the server has agreed.
    pub fn close(mut self) -> Result<()> {
        for client in &mut self.list {
            client.close()?;
        }
        self.wait("closing handshakes", |it| it.ended == it.len())
    }
}
