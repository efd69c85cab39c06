//! What is done to a server, and what is read meanwhile.

use anyhow::Result;
use clap::ValueEnum;
use headgate_tests::{
    clients::Clients,
    clock::pause_ms,
    gateway::{Setup, target, targets_with_tokens},
    server::{Cores, Server},
    tls,
};

use crate::{
    report::Row,
    subject::{Binaries, Subject},
};

/// Connections of the broadcast and of idle memory.
const MANY: usize = 10_000;

/// Receivers of the smaller fan-out.
const FEW: usize = 1_000;

/// Handshakes from which their cost is taken.
const HANDSHAKES: usize = 3_000;

/// One process and what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 1,000 receivers.
    Few,
    /// 10,000 receivers.
    Many,
    /// 10,000 connections that only answer pings.
    Idle,
    /// Connecting.
    Handshake,
    /// 10,000 connections over TLS.
    Tls,
}

type Measured = Vec<(Row, f64)>;

impl Scenario {
    pub const ALL: [Self; 5] = [Self::Few, Self::Many, Self::Idle, Self::Handshake, Self::Tls];

    pub fn measure(self, subject: Subject, binaries: &Binaries, cores: Cores) -> Result<Measured> {
        if self == Self::Tls {
            return match subject {
                Subject::Gateway => over_tls(binaries, cores),
                Subject::Reference | Subject::Coalescing | Subject::Centrifugo => Ok(Vec::new()),
            };
        }
        let setup = if self == Self::Idle { Setup::Pinged } else { Setup::Plain };
        let mut server = subject.start(binaries, cores, setup)?;
        let figures = match self {
            Self::Few => few(subject, &server),
            Self::Many => many(subject, &server),
            Self::Idle => idle(subject, &server),
            Self::Handshake | Self::Tls => handshake(subject, &server),
        }?;
        server.check_alive()?;
        Ok(figures)
    }
}

fn open(subject: Subject, server: &Server, count: usize) -> Result<Clients> {
    Clients::open(subject.speech(), &vec![subject.target(server); count])
}

fn few(subject: Subject, server: &Server) -> Result<Measured> {
    let mut receivers = open(subject, server, FEW)?;
    receivers.subscribe(|_| "bench".to_owned())?;
    Ok(vec![
        (Row::FewOne, fan_out(subject, server, &mut receivers, 300, 1)?),
        (Row::FewEight, fan_out(subject, server, &mut receivers, 800, 8)?),
    ])
}

fn many(subject: Subject, server: &Server) -> Result<Measured> {
    let mut all = open(subject, server, MANY)?;
    all.subscribe(|_| "bench".to_owned())?;
    Ok(vec![
        (Row::ManyOne, fan_out(subject, server, &mut all, 30, 1)?),
        (Row::ManyEight, fan_out(subject, server, &mut all, 80, 8)?),
    ])
}

fn idle(subject: Subject, server: &Server) -> Result<Measured> {
    warm_up(subject, server)?;
    let before = server.resident_kib()?;
    let mut all = open(subject, server, MANY)?;
    if subject == Subject::Gateway {
        all.answer_for(Setup::PINGED_MS)?;
    }
    server.settle()?;
    let kib = server.resident_kib()?.saturating_sub(before);
    Ok(vec![(Row::Idle, kib as f64 / MANY as f64)])
}

fn handshake(subject: Subject, server: &Server) -> Result<Measured> {
    warm_up(subject, server)?;
    let cpu = server.cpu()?;
    let anonymous = open(subject, server, HANDSHAKES)?;
    server.settle()?;
    let mut figures = vec![(Row::Handshake, us_each(server.cpu_since(&cpu)?, HANDSHAKES))];
    if subject == Subject::Gateway {
        let targets = targets_with_tokens(server, 0..HANDSHAKES)?;
        let (cpu, before) = (server.cpu()?, server.resident_kib()?);
        let known = Clients::open(subject.speech(), &targets)?;
        server.settle()?;
        let kib = server.resident_kib()?.saturating_sub(before);
        figures.push((Row::HandshakeToken, us_each(server.cpu_since(&cpu)?, HANDSHAKES)));
        figures.push((Row::IdleToken, kib as f64 / HANDSHAKES as f64));
        drop(known);
    }
    drop(anonymous);
    Ok(figures)
}

fn over_tls(binaries: &Binaries, cores: Cores) -> Result<Measured> {
    let mut server = binaries.gateway.start(cores, Setup::Tls)?;
    let config = binaries.gateway.tls_client()?;
    let target = target(&server);
    let open = |count| (0..count).map(|_| tls::open(&config, &target)).collect::<Result<Vec<_>>>();
    drop(open(100)?);
    server.settle()?;
    let (cpu, before) = (server.cpu()?, server.resident_kib()?);
    let all = open(MANY)?;
    let us = us_each(server.cpu_since(&cpu)?, MANY);
    // Pings are sent whether or not anybody answers them.
    pause_ms(Setup::PINGED_MS);
    server.settle()?;
    let kib = server.resident_kib()?.saturating_sub(before);
    server.check_alive()?;
    drop(all);
    Ok(vec![(Row::HandshakeTls, us), (Row::IdleTls, kib as f64 / MANY as f64)])
}

/// Some connections come and go, so that what a server sets up once is not charged to the others.
fn warm_up(subject: Subject, server: &Server) -> Result<()> {
    drop(open(subject, server, 100)?);
    server.settle()
}

fn us_each(ns: u64, count: usize) -> f64 {
    ns as f64 / 1e3 / count as f64
}

/// Publishes `count` messages to all receivers, with `window` of them on their way at a time;
/// returns CPU microseconds per delivery.
fn fan_out(
    subject: Subject,
    server: &Server,
    to: &mut Clients,
    count: u64,
    window: u64,
) -> Result<f64> {
    let speech = subject.speech();
    let mut publisher = open(subject, server, 1)?;
    let (begin, receivers) = (to.received, to.len() as u64);
    let cpu = server.cpu()?;
    for published in 1..=count {
        publisher.send(0, &speech.publish("bench", published))?;
        // Whoever closes on the publisher is not to be waited for.
        publisher.read_ready(&mut |_, _| ())?;
        to.wait_for(begin + (published + 1).saturating_sub(window) * receivers)?;
    }
    to.wait_for(begin + count * receivers)?;
    Ok(server.cpu_since(&cpu)? as f64 / 1e3 / (count * receivers) as f64)
}
