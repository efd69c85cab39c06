//! Version 1: one line of text.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::End;

pub(super) const PREFIX: &[u8] = b"PROXY ";

/// The longest line, its end included.
pub(super) const BYTES_MAX: usize = 107;

/// Reads the line, once it has ended.
pub(super) fn read(head: &[u8]) -> End {
    if head.last() != Some(&b'\n') {
        let is_too_long = head.len() >= BYTES_MAX;
        return is_too_long.then_some(Err("PROXY line is longer than 107 bytes"));
    }
    let line = head.strip_prefix(PREFIX).and_then(|line| line.strip_suffix(b"\r\n"));
    let line = line.and_then(|line| str::from_utf8(line).ok());
    Some(line.and_then(source).ok_or("PROXY line is malformed"))
}

/// The source that is named; `None` where the line is malformed, and inside it where it names none.
#[allow(clippy::option_option, reason = "outside whether it is sound, inside whether it is there")]
fn source(line: &str) -> Option<Option<SocketAddr>> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        "TCP4" => addresses::<Ipv4Addr>(rest).map(Some),
        "TCP6" => addresses::<Ipv6Addr>(rest).map(Some),
        // Whatever follows on the line is of no meaning.
        "UNKNOWN" => Some(None),
        _ => None,
    }
}

/// Source, destination and their ports, one space between. All must be sound, the source counts.
fn addresses<A: FromStr + Into<IpAddr>>(rest: &str) -> Option<SocketAddr> {
    let mut fields = rest.split(' ');
    let source: A = fields.next()?.parse().ok()?;
    fields.next()?.parse::<A>().ok()?;
    let source_port = port(fields.next()?)?;
    port(fields.next()?)?;
    fields.next().is_none().then(|| SocketAddr::new(source.into(), source_port))
}

/// A port without leading zeros and without the sign that Rust would take.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_plain)
}
