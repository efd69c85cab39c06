//! A NATS server with `JetStream` that a test has for itself.
//!
//! `NATS_SERVER` names the server's binary, or `.tools/bin/nats-server` is there (`make tools`).
//! Without it every test that needs one fails.

#![allow(dead_code, reason = "not every test needs all of it")]

pub mod pod;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy.
pub const BOUND: Duration = Duration::from_secs(20);

/// A server that ends with this.
pub struct Server {
    process: Child,
    pub url: String,
    port: u16,
    data: TempDir,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// One with these lines in its configuration.
    pub fn start_with(lines: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("nats.conf"), lines).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = run(port, &data);
        Self { process, url: format!("nats://127.0.0.1:{port}"), port, data }
    }

    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success());
    }

    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, with what it had stored and at the same address.
    pub fn start_again(&mut self) {
        self.process = run(self.port, &self.data);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs one, and waits until it serves.
fn run(port: u16, data: &TempDir) -> Child {
    let mut process = Command::new(binary())
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
        .arg(data.path())
        .arg("-c")
        .arg(data.path().join("nats.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    lines.find(|line| line.contains("Server is ready")).unwrap();
    // A server whose log nobody reads would end.
    std::thread::spawn(move || lines.for_each(drop));
    process
}

fn binary() -> PathBuf {
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/nats-server");
    let binary = std::env::var_os("NATS_SERVER").map_or(tools, PathBuf::from);
    assert!(
        binary.is_file(),
        "no {}: `make .tools/bin/nats-server` installs one, or NATS_SERVER names one",
        binary.display()
    );
    binary
}
