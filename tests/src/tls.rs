//! WebSocket clients over TLS that only connect, one after the other, and then hold still.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Result, ensure};
use rustls::{ClientConfig, ClientConnection, Stream, pki_types::ServerName};

use crate::client::Target;

/// A connection after its upgrade.
#[derive(Debug)]
pub struct TlsClient {
    _tcp: TcpStream,
    _session: Box<ClientConnection>,
}

/// Connects and waits for the 101.
pub fn open(config: &Arc<ClientConfig>, target: &Target) -> Result<TlsClient> {
    let mut tcp = TcpStream::connect(&target.address)?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let mut session = Box::new(ClientConnection::new(Arc::clone(config), name)?);
    let mut stream = Stream::new(&mut *session, &mut tcp);
    stream.write_all(target.request().as_bytes())?;
    let mut answer = [0; 1_024];
    let length = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default());
    ensure!(answer.starts_with("HTTP/1.1 101 "), "upgrade refused: {answer}");
    Ok(TlsClient { _tcp: tcp, _session: session })
}
