//! Version 2: sixteen bytes, addresses, and more that is skipped (TLVs).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::End;

pub(super) const PREFIX: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes before the addresses.
const FIXED_BYTES: usize = 16;

/// The most bytes of addresses and TLVs. They may hold a client's certificate, but not a flood.
const REST_BYTES_MAX: usize = 4 * 1024;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

/// `head` is what is kept of the `read` bytes that came.
pub(super) fn read(head: &[u8], read: usize) -> End {
    let (fixed, addresses) = head.split_at_checked(FIXED_BYTES)?;
    let &[.., version_and_command, family, high, low] = fixed else { return None };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    let (version, command) = (version_and_command >> 4, version_and_command & 0xf);
    if version != 2 {
        return Some(Err("PROXY version is not 2"));
    }
    if command != LOCAL && command != PROXY {
        return Some(Err("PROXY command is unknown"));
    }
    if rest_bytes > REST_BYTES_MAX {
        return Some(Err("PROXY header is longer than 4 KiB"));
    }
    let is_whole = read >= FIXED_BYTES + rest_bytes;
    is_whole.then(|| {
        let addresses = addresses.get(..rest_bytes).unwrap_or(addresses);
        if command == LOCAL { Ok(None) } else { source(family, addresses) }
    })
}

/// The source by address family (high) and transport (low). A transport that is not TCP is taken
/// too: proxies speak of the client's side, and QUIC is there by UDP.
fn source(family: u8, addresses: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let source = match family {
        0x11 | 0x12 => v4(addresses),
        0x21 | 0x22 => v6(addresses),
        // Unspecified, or a Unix socket's.
        0x00..=0x02 | 0x10 | 0x20 | 0x30..=0x32 => return Ok(None),
        _ => return Err("PROXY address family is unknown"),
    };
    source.map(Some).ok_or("PROXY header is too short for its addresses")
}

/// Source and destination, their ports.
fn v4(bytes: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = bytes.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let [high, low, _, _] = *rest.first_chunk()?;
    Some(SocketAddr::new(Ipv4Addr::from(*source).into(), u16::from_be_bytes([high, low])))
}

fn v6(bytes: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = bytes.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let [high, low, _, _] = *rest.first_chunk()?;
    Some(SocketAddr::new(Ipv6Addr::from(*source).into(), u16::from_be_bytes([high, low])))
}
