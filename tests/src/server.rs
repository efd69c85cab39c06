//! The server under measurement: alone on one core, and read through /proc.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::clock::{now_ns, pause_ms};

/// A server that was started for measuring. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub address: String,
    /// Where backends do, if there is such a place.
    pub internal: Option<String>,
}

/// A core for the server and one for the clients.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    server: usize,
    clients: usize,
}

impl Cores {
    /// Raises the limit of open files as far as it goes.
    pub fn raise_files() -> Result<()> {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        Ok(())
    }

    /// The first two that this process may use. Also raises the limit of open files.
    pub fn take() -> Result<Self> {
        Self::raise_files()?;
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(server), Some(clients)) = (cores.next(), cores.next()) else {
            bail!("one core for the server and one for the clients are needed");
        };
        Ok(Self { server, clients })
    }
}

/// Lets this thread, and what it starts from now on, run on one core alone.
fn pin_to(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core} alone"))
}

fn spawn(command: &mut Command, cores: Cores) -> Result<Child> {
    pin_to(cores.server)?;
    let child = command.stdin(Stdio::null()).spawn();
    pin_to(cores.clients)?;
    child.with_context(|| format!("cannot start {command:?}"))
}

/// Finds the public and the internal address in a line of a server's output.
pub type Listening = fn(&str) -> Option<(String, Option<String>)>;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// CPU time of each thread until some moment, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Cpu(HashMap<String, u64>);

impl Server {
    /// Starts a server and waits for the line of its output in which `listening` finds its public
    /// address, and the internal one if there is one.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or says no such thing within 20 s.
    pub fn start(command: &mut Command, cores: Cores, listening: Listening) -> Result<Self> {
        let child = spawn(command.stdout(Stdio::piped()), cores)?;
        let mut server = Self { child, address: String::new(), internal: None };
        let output = server.child.stdout.take().context("no output")?;
        let (found, wait) = mpsc::channel();
        std::thread::spawn(move || {
            // To the end: a full pipe would stop the server in the middle of a measurement.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(addresses) = listening(&line) {
                    // Nobody waits any more for a second one.
                    let _ = found.send(addresses);
                }
            }
        });
        let addresses = wait.recv_timeout(START);
        (server.address, server.internal) =
            addresses.with_context(|| format!("{command:?} did not say where it listens"))?;
        Ok(server)
    }

    /// Starts a server that has been told where to listen, and waits until it does.
    pub fn start_at(command: &mut Command, cores: Cores, address: String) -> Result<Self> {
        let child = spawn(command.stdout(Stdio::null()).stderr(Stdio::null()), cores)?;
        let server = Self { child, address, internal: None };
        let began = now_ns();
        while TcpStream::connect(&server.address).is_err() {
            let waited = Duration::from_nanos(now_ns() - began);
            ensure!(waited < START, "{command:?} does not listen on {}", server.address);
            pause_ms(20);
        }
        Ok(server)
    }

    /// What it has used so far. `schedstat` counts what `stat` counts, but in nanoseconds.
    pub fn cpu(&self) -> Result<Cpu> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let ns = text.split(' ').next().context("empty schedstat")?.parse()?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), ns);
        }
        Ok(Cpu(threads))
    }

    /// What it has used since then, in nanoseconds.
    pub fn cpu_since(&self, before: &Cpu) -> Result<u64> {
        let now = self.cpu()?.0;
        Ok(now.iter().map(|(id, ns)| ns - before.0.get(id).copied().unwrap_or(0)).sum())
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.kib("smaps_rollup", "Rss:")
    }

    /// The most memory that was resident at any time, in KiB.
    pub fn resident_max_kib(&self) -> Result<u64> {
        self.kib("status", "VmHWM:")
    }

    fn kib(&self, file: &str, name: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.and_then(|it| it.split_whitespace().next());
        Ok(figure.with_context(|| format!("no {name} in {file}"))?.parse()?)
    }

    /// Waits until it has nothing more to do than to look after time: below 2 % of a core.
    pub fn settle(&self) -> Result<()> {
        let deadline = now_ns() + 20_000_000_000;
        loop {
            let (cpu, began) = (self.cpu()?, now_ns());
            pause_ms(250);
            if self.cpu_since(&cpu)? * 50 < now_ns() - began {
                return Ok(());
            }
            ensure!(now_ns() < deadline, "the server is busy 20 s after the load ended");
        }
    }

    /// An error if it ended meanwhile.
    pub fn check_alive(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the server at {} ended: {ended:?}", self.address);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only where it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
