//! The port as it is: connections, their bounds, and how it closes.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::super::server::{CONNECTIONS_MAX, CONNECTIONS_RESERVED, serve};
use super::*;

struct Port {
    address: SocketAddr,
    gateway: Arc<Fake>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Port {
    async fn open(fake: Fake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Arc::new(fake);
        let internal = Internal::new(Arc::clone(&gateway));
        let (stop, stopping) = oneshot::channel();
        let answer = move |request| {
            let internal = internal.clone();
            async move { internal.answer(request).await }
        };
        let served = tokio::spawn(serve(listener, answer, async {
            let _ = stopping.await;
        }));
        Self { address, gateway, stop, served }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        within("a write", self.0.write_all(text.as_bytes())).await.unwrap();
    }

    async fn get(&mut self, target: &str) -> String {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\r\n");
        self.send(&head).await;
        self.until("}").await
    }

    /// Reads until the text ends with `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut piece = [0; 4096];
            let count = within("an answer", self.0.read(&mut piece)).await.unwrap();
            assert_ne!(count, 0, "ended after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..count]);
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads to the end of the connection.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        within("the end", self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }
}

fn starts(answer: &str, status: &str) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
}

#[tokio::test]
async fn a_crowd_leaves_room_for_probes() {
    let port = Port::open(Fake::default()).await;
    let mut usual = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        usual.push(port.connect().await);
    }

    let mut probe = port.connect().await;
    assert!(starts(&probe.get("/livez").await, "200"));
    assert_eq!(probe.rest().await, "", "a reserved place is for one answer");
    let refused = port.connect().await.get("/api/v1/stats").await;
    assert!(starts(&refused, "503"), "{refused}");
    assert!(refused.contains(r#""code":"full""#), "{refused}");

    let mut reserved = Vec::new();
    for _ in 0..CONNECTIONS_RESERVED {
        reserved.push(port.connect().await);
    }
    // In the order of accepting: the first of these is here for sure once the last is gone.
    assert_eq!(port.connect().await.rest().await, "", "beyond every bound");
    assert!(starts(&reserved[0].get("/readyz").await, "200"));

    assert!(starts(&usual[0].get("/api/v1/stats").await, "200"));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let port = Port::open(Fake::default()).await;
    let mut client = port.connect().await;
    for _ in 0..3 {
        assert!(starts(&client.get("/api/v1/stats").await, "200"));
    }
    client
        .send("HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let both = client.until("}").await;
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2, "{both}");
    assert_eq!(both.matches("\"live\"").count(), 1, "{both}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let port = Port::open(Fake::default()).await;
    let length = 8 * 1024 * 1024;
    let body = " ".repeat(length);
    for key in [KEY, "wrong"] {
        let mut client = port.connect().await;
        let head = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        client.send(&head).await;
        client.send(&body).await;
        let status = if key == KEY { "413" } else { "401" };
        let answer = client.until("}").await;
        assert!(starts(&answer, status), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_at_once() {
    let port = Port::open(Fake::default()).await;
    let mut client = port.connect().await;
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    );
    client.send(&head).await;
    let answer = client.until("}").await;
    assert!(starts(&answer, "413"), "{answer}");
}

#[tokio::test]
async fn a_batch_is_a_conversation() {
    let port = Port::open(Fake::default()).await;
    let mut client = port.connect().await;
    let head = format!(
        "POST /api/v1/batch HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    client.send(&head).await;
    for _ in 0..3 {
        client.send("19\r\n{\"broadcast\":{\"data\":1}}\n\r\n").await;
        client.until("{\"result\":{}}\n\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    assert!(starts(&client.get("/livez").await, "200"), "the connection is still good");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let port = Port::open(Fake::default()).await;
    let mut client = port.connect().await;
    client.send("GET /livez HTT").await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || starts(&answer, "408"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let port = Port::open(Fake::default()).await;
    let mut client = port.connect().await;
    let head = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(64 * 1024));
    client.send(&head).await;
    let answer = client.until("\r\n\r\n").await;
    assert!(starts(&answer, "431"), "{answer}");
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_port_closes() {
    let port = Port::open(Fake::default()).await;
    let mut idle = port.connect().await;
    idle.get("/livez").await;
    let mut busy = port.connect().await;
    let head = format!(
        "POST /api/v1/broadcast HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Length: 10\r\n\r\n{{\"data\""
    );
    busy.send(&head).await;
    // Once a connection accepted later has its answer, the head of this one has been read.
    port.connect().await.get("/livez").await;

    port.stop.send(()).unwrap();
    assert_eq!(idle.rest().await, "");
    busy.send(":1}").await;

    let answer = busy.rest().await;
    assert!(starts(&answer, "200"), "{answer}");
    within("the end of the port", port.served).await.unwrap();
    assert_eq!(port.gateway.asked.lock().len(), 1);
}
