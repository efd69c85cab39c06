//! Calls of the server API, as a backend makes them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// An answer of the API comes within 10 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// Posts JSON and waits for a 200.
pub fn post(address: &str, path: &str, key: &str, body: &str) -> Result<()> {
    let (status, answer) = call(address, path, key, body)?;
    ensure!(status == 200, "POST {path} was answered with {status} {answer}");
    Ok(())
}

/// Posts JSON; gives status and body of the answer.
pub fn call(address: &str, path: &str, key: &str, body: &str) -> Result<(u16, String)> {
    exchange(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
    )
}

/// Gets; gives status and body of the answer.
pub fn get(address: &str, path: &str) -> Result<(u16, String)> {
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

fn exchange(address: &str, request: &str) -> Result<(u16, String)> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if is_chunked { joined(body)? } else { body.to_owned() }))
}

/// The chunks of a body as one (RFC 9112, section 7.1).
fn joined(mut chunks: &str) -> Result<String> {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16)?;
        let (chunk, rest) = rest.split_at_checked(length).context("a chunk that is cut off")?;
        body.push_str(chunk);
        chunks = rest.trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n").unwrap(), "abc0123456789");
        assert!(joined("5\r\nabc").is_err());
    }
}
