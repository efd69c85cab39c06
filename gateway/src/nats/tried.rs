//! Which servers could not be reached, and why each of them.
//!
//! The client tells of a failed round over all servers with one word, such as "IO error". What each
//! server answered is in its pool, which it shows only when the next round begins. So what it tells
//! waits for that moment.

use std::{fmt::Write as _, time::Duration};

use async_nats::{ClientError, Event, Server};
use tokio::{sync::watch, time::timeout};

/// How long what the client tells waits for the next round, which begins at once.
const NEXT_ROUND: Duration = Duration::from_secs(1);

/// Servers that are named at most; a large cluster tells more of them than a person reads.
const NAMED_MAX: usize = 8;

/// What each round over the servers came to.
#[derive(Debug)]
pub struct Tried {
    /// How many rounds have begun, and the servers as they were then.
    rounds: watch::Sender<(u64, Vec<Server>)>,
    /// How many rounds have failed.
    failed: watch::Sender<u64>,
    /// Why no server can be used; `None` when one is, or before it is known.
    problem: watch::Sender<Option<String>>,
}

impl Tried {
    /// Nothing was tried yet.
    pub fn new() -> Self {
        Self {
            rounds: watch::Sender::new((0, Vec::new())),
            failed: watch::Sender::new(0),
            problem: watch::Sender::new(None),
        }
    }

    /// Why no server can be used, now and later.
    pub fn problem(&self) -> watch::Receiver<Option<String>> {
        self.problem.subscribe()
    }

    /// A round begins.
    pub fn begins(&self, servers: Vec<Server>) {
        self.rounds.send_modify(|(rounds, last)| {
            *rounds += 1;
            *last = servers;
        });
    }

    /// What the client tells, with the servers in it where a round has failed.
    pub async fn complete(&self, event: Event) -> Event {
        match event {
            Event::Connected => {
                self.problem.send_replace(None);
                event
            }
            Event::ClientError(ClientError::Other(kind)) => {
                let problem = self.failed(&kind).await;
                self.problem.send_replace(Some(problem.clone()));
                Event::ClientError(ClientError::Other(problem))
            }
            event => event,
        }
    }

    async fn failed(&self, kind: &str) -> String {
        self.failed.send_modify(|failed| *failed += 1);
        let failed = *self.failed.borrow();
        let mut rounds = self.rounds.subscribe();
        // Should it not come, what was known before is told.
        let _ = timeout(NEXT_ROUND, rounds.wait_for(|(begun, _)| *begun > failed)).await;
        let (_, servers) = &*rounds.borrow();
        let servers = servers.iter().map(|it| {
            // An IPv6 address comes without its brackets.
            let host = it.addr.host();
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            (format!("{host}:{}", it.addr.port()), it.last_error.as_deref())
        });
        told(kind, servers)
    }
}

/// `IO error: nats-0:4222: Connection refused (os error 111); nats-1:4222: timed out`
fn told<'a>(
    kind: &str,
    servers: impl ExactSizeIterator<Item = (String, Option<&'a str>)>,
) -> String {
    let others = servers.len().saturating_sub(NAMED_MAX);
    let mut told = kind.to_owned();
    for (at, (server, error)) in servers.take(NAMED_MAX).enumerate() {
        told.push_str(if at == 0 { ": " } else { "; " });
        told.push_str(&server);
        // The rest is what the kind says, or it was not this server's turn.
        if let Some(error) = error.map(reason).filter(|it| *it != kind) {
            // Writing to a string cannot fail.
            let _ = write!(told, ": {error}");
        }
    }
    if others > 0 {
        let _ = write!(told, "; and {others} more");
    }
    told
}

/// An error of a server without what says it twice.
fn reason(error: &str) -> &str {
    let error = error.strip_prefix("IO error: ").unwrap_or(error);
    error.strip_prefix("authorization violation: ").map_or(error, |_| "authorization violation")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str, error: Option<&str>) -> Server {
        Server {
            addr: address.parse().unwrap(),
            failed_attempts: 1,
            did_connect: false,
            is_discovered: false,
            last_error: error.map(str::to_owned),
        }
    }

    async fn check(kind: &str, servers: Vec<Server>, expected: &str) {
        let tried = Tried::new();
        tried.begins(vec![]);
        tried.begins(servers);

        let event = tried.complete(Event::ClientError(ClientError::Other(kind.to_owned()))).await;

        let expected = expected.to_owned();
        assert_eq!(event, Event::ClientError(ClientError::Other(expected.clone())));
        assert_eq!(*tried.problem().borrow(), Some(expected));
    }

    #[tokio::test]
    async fn each_server_is_named_with_its_reason_and_without_passwords() {
        let refused = Some("IO error: Connection refused (os error 111)");
        check(
            "IO error",
            vec![
                server("nats://alice:hunter2@nats-0:4222", refused),
                server("tls://nats-1", Some("timed out")),
            ],
            "IO error: nats-0:4222: Connection refused (os error 111); nats-1:4222: timed out",
        )
        .await;
        check("DNS error", vec![server("nats://nowhere:4222", None)], "DNS error: nowhere:4222")
            .await;
        check(
            "authorization violation",
            vec![
                server(
                    "nats://[::1]:4222",
                    Some("authorization violation: nats: authorization violation"),
                ),
                server("nats://nats-1:4222", None),
            ],
            "authorization violation: [::1]:4222; nats-1:4222",
        )
        .await;
    }

    #[tokio::test]
    async fn a_large_cluster_is_not_told_whole() {
        let servers = (0..10).map(|n| server(&format!("nats://n{n}"), Some("timed out"))).collect();
        let named: Vec<_> = (0..8).map(|n| format!("n{n}:4222")).collect();

        check("timed out", servers, &format!("timed out: {}; and 2 more", named.join("; "))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_waits_for_the_servers_and_not_for_ever() {
        let tried = Tried::new();
        tried.begins(vec![server("nats://a", None)]);

        let event = Event::ClientError(ClientError::Other("timed out".to_owned()));
        let told = tried.complete(event.clone()).await;

        let expected = ClientError::Other("timed out: a:4222".to_owned());
        assert_eq!(told, Event::ClientError(expected));

        tried.complete(Event::Connected).await;
        assert_eq!(*tried.problem().borrow(), None);
    }
}
