//! One call of the server API, as a backend makes it.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Result, ensure};

/// Posts JSON and waits for a 200.
pub fn post(address: &str, path: &str, key: &str, body: &str) -> Result<()> {
    let mut socket = TcpStream::connect(address)?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "POST {path} was answered with {answer}");
    Ok(())
}
