//! The process under measurement: pinned to a core, and read through /proc.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

/// A server that was started for measuring. Dropping it ends it.
#[derive(Debug)]
pub struct Measured {
    child: Child,
    /// Where it listens.
    pub address: String,
}

/// Lets this process, and what it starts from now on, run on one core alone.
pub fn pin_to(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core} alone"))
}

impl Measured {
    /// Starts a server on `core` and waits for the line of its output in which `address_in` finds
    /// where it listens. The caller itself runs on `own_core` afterwards.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or ends without that line.
    pub fn start(
        command: &mut Command,
        (core, own_core): (usize, usize),
        address_in: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        pin_to(core)?;
        let child = command.stdout(Stdio::piped()).spawn();
        pin_to(own_core)?;
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let Some(address) = lines.find_map(|line| address_in(&line)) else {
            // It ended, so there is no one left to wait for.
            child.wait()?;
            anyhow::bail!("{command:?} ended without saying where it listens");
        };
        // A full pipe would stop the server in the middle of a measurement.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address })
    }

    /// CPU time of all its threads until now, in nanoseconds.
    ///
    /// `schedstat` counts what `stat` counts, in nanoseconds instead of ticks of 10 ms.
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(total)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find(|line| line.starts_with("Rss:")).context("no Rss")?;
        line.split_whitespace().nth(1).context("no figure for Rss")?.parse().map_err(Into::into)
    }

    /// An error if the server ended meanwhile.
    pub fn check_alive(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "the server at {} ended: {ended:?}", self.address);
        Ok(())
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // Fails only where it ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
