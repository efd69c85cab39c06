//! Clients as they are out there: they lose their connection, back off, come back somewhere else,
//! go on where they were, and write down everything they were told.
//!
//! One thread serves them all. It sleeps until something comes or somebody has to act.

pub mod ledger;
pub mod said;
pub mod socket;

mod diary;
mod peer;

pub use diary::Diary;
pub use peer::{Peer, Place};

use std::sync::Arc;

use anyhow::Result;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{checker::TopicId, clock::now_ns};
use ledger::Ledger;
use socket::Socket;

/// How long the thread sleeps at most.
const NAP_NS: i64 = 3_000_000;

/// Connections that begin in one turn at most, so that reading goes on between them.
const CONNECTS_MAX: usize = 50;

/// The clients of one run.
pub struct Swarm {
    epoll: OwnedFd,
    /// Everybody, here or not.
    pub peers: Vec<Peer>,
    /// Where they may connect: the public addresses of the gateways.
    pub places: Vec<Place>,
    /// What is published, and how topics and epochs are called.
    pub ledger: Arc<Ledger>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
}

impl Swarm {
    /// Nobody yet.
    pub fn new(places: Vec<Place>, ledger: Arc<Ledger>) -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            peers: Vec::new(),
            places,
            ledger,
            buffer: vec![0; 1 << 16],
            events: Vec::with_capacity(1_024),
        })
    }

    /// Connects who wants to, reads what came, for one nap at most.
    pub fn turn(&mut self) -> Result<()> {
        let now = now_ns();
        let mut begun = 0;
        for (number, peer) in self.peers.iter_mut().enumerate() {
            if begun < CONNECTS_MAX && peer.is_due(now) {
                begun += 1;
                if let Some(socket) = peer.connect(&self.places, now) {
                    add(&self.epoll, number, &socket)?;
                    peer.connecting(socket);
                }
            }
            peer.again(&self.ledger, now);
        }
        self.events.clear();
        let nap = Timespec { tv_sec: 0, tv_nsec: NAP_NS };
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&nap))?;
        for event in &self.events {
            let number = usize::try_from(event.data.u64())?;
            if let Some(peer) = self.peers.get_mut(number) {
                peer.read(&self.ledger, &mut self.buffer);
            }
        }
        Ok(())
    }

    /// Turns for so long.
    pub fn turn_for(&mut self, ms: u64) -> Result<()> {
        let until = now_ns() + ms * 1_000_000;
        while now_ns() < until {
            self.turn()?;
        }
        Ok(())
    }

    /// Turns until something is so; says whether it came to be within the time.
    pub fn turn_until(&mut self, ms: u64, is_so: impl Fn(&Self) -> bool) -> Result<bool> {
        let until = now_ns() + ms * 1_000_000;
        while now_ns() < until {
            self.turn()?;
            if is_so(self) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many are connected and have everything that they want.
    pub fn settled(&self) -> usize {
        self.peers.iter().filter(|it| it.is_settled()).count()
    }

    /// Publishes from one of them, if it is connected and not waiting for too many answers.
    pub fn publish(&mut self, peer: usize, topic: TopicId) -> bool {
        self.peers.get_mut(peer).is_some_and(|it| it.publish(&self.ledger, topic))
    }
}

fn add(epoll: &OwnedFd, number: usize, socket: &Socket) -> Result<()> {
    let data = epoll::EventData::new_u64(number as u64);
    epoll::add(epoll, &socket.tcp, data, epoll::EventFlags::IN)?;
    Ok(())
}
