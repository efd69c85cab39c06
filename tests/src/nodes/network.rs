//! A network namespace with two wires to it: one for clients, one for NATS alone, so that the second
//! can be cut or made slow while clients stay.
//!
//! Needs root. Addresses are of 198.18.0.0/15, which is for tests (RFC 2544).

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A namespace. Dropping it removes it and its wires.
#[derive(Debug)]
pub struct Network {
    name: String,
    number: u32,
}

impl Network {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let number = std::process::id() % 10_000;
        let network = Self { name: format!("headgate-{number}"), number };
        run(&["ip", "netns", "add", &network.name])?;
        for wire in [0, 1] {
            let (here, there) = (network.wire(wire, 'h'), network.wire(wire, 'n'));
            let name = &network.name;
            run(&["ip", "link", "add", &here, "type", "veth", "peer", "name", &there])?;
            run(&["ip", "link", "set", &there, "netns", name])?;
            run(&["ip", "addr", "add", &format!("{}/30", network.outside(wire)), "dev", &here])?;
            run(&["ip", "link", "set", &here, "up"])?;
            let inside = format!("{}/30", network.inside(wire));
            network.within(&["ip", "addr", "add", &inside, "dev", &there])?;
            network.within(&["ip", "link", "set", &there, "up"])?;
        }
        network.within(&["ip", "link", "set", "lo", "up"])?;
        Ok(network)
    }

    fn wire(&self, wire: u32, end: char) -> String {
        format!("hg{}{end}{wire}", self.number)
    }

    fn address(&self, wire: u32, host: u32) -> String {
        format!("198.18.{}.{}", self.number % 250, (self.number / 250 % 30) * 8 + wire * 4 + host)
    }

    /// The address of this side.
    pub fn outside(&self, wire: u32) -> String {
        self.address(wire, 1)
    }

    /// The address of the other side.
    pub fn inside(&self, wire: u32) -> String {
        self.address(wire, 2)
    }

    /// The wire for clients.
    pub const CLIENTS: u32 = 0;

    /// The wire for NATS.
    pub const NATS: u32 = 1;

    /// A command that starts a program inside.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    fn within(&self, command: &[&str]) -> Result<()> {
        run(&[&["ip", "netns", "exec", &self.name], command].concat())
    }

    /// Drops whatever goes over the wire for NATS, in both directions, without a word.
    pub fn cut(&self) -> Result<()> {
        let wire = self.wire(Self::NATS, 'n');
        self.within(&["iptables", "-A", "INPUT", "-i", &wire, "-j", "DROP"])?;
        self.within(&["iptables", "-A", "OUTPUT", "-o", &wire, "-j", "DROP"])
    }

    /// Lets it pass again.
    pub fn mend(&self) -> Result<()> {
        self.within(&["iptables", "-F"])
    }

    /// Lets no more than so much pass over the wire for NATS, in each direction. Nothing is dropped
    /// that the queue holds for a minute.
    pub fn slow(&self, rate: &str) -> Result<()> {
        let (here, there) = (self.wire(Self::NATS, 'h'), self.wire(Self::NATS, 'n'));
        let shape = ["root", "tbf", "rate", rate, "burst", "32kb", "latency", "20s"];
        run(&[&["tc", "qdisc", "replace", "dev", &here], &shape[..]].concat())?;
        self.within(&[&["tc", "qdisc", "replace", "dev", &there], &shape[..]].concat())
    }

    /// Lets everything pass as fast as it can again.
    pub fn fast(&self) -> Result<()> {
        let (here, there) = (self.wire(Self::NATS, 'h'), self.wire(Self::NATS, 'n'));
        run(&["tc", "qdisc", "del", "dev", &here, "root"])?;
        self.within(&["tc", "qdisc", "del", "dev", &there, "root"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The wires go with their ends, unless they never got into the namespace.
        let _ = run(&["ip", "netns", "del", &self.name]);
        for wire in [0, 1] {
            let mut command = Command::new("ip");
            command.args(["link", "del", &self.wire(wire, 'h')]).stderr(Stdio::null());
            let _ = command.status();
        }
    }
}

fn run(command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    let words = command.join(" ");
    ensure!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
