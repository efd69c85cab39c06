//! The PROXY header: the same in any pieces, never past its bounds, and whom it names is whom `ppp` names.
#![no_main]

use std::net::SocketAddr;

use headgate_fuzz::{memory, pieces, settings};
use headgate_gateway::admission::proxy::{Progress, ProxyReader};
use libfuzzer_sys::fuzz_target;
use ppp::{HeaderResult, PartialResult, v1, v2};

fuzz_target!(|data: &[u8]| {
    let Some(([size], bytes)) = settings(data) else { return };

    let (whole, heap) = memory::most(|| read(bytes, 0));

    assert_eq!(heap, 0);
    assert_eq!(read(bytes, 1), whole);
    assert_eq!(read(bytes, size), whole);
    match whole {
        Progress::More => assert!(bytes.len() < 16 + 4_096, "goes on for too long"),
        Progress::Done { used, source } => {
            assert!(used <= if bytes[0] == b'P' { 107 } else { 16 + 4_096 });
            if let Some(theirs) = by_ppp(bytes) {
                assert_eq!((used, source), theirs);
            } else {
                // `ppp` refuses families that the specification lets be ignored for LOCAL.
                assert!(source.is_none());
            }
        }
        Progress::Refused(_) => {}
    }
});

fn read(bytes: &[u8], size: u8) -> Progress {
    let mut reader = ProxyReader::default();
    let mut fed = 0;
    for piece in pieces(bytes, size) {
        match reader.feed(piece) {
            Progress::More => fed += piece.len(),
            Progress::Done { used, source } => return Progress::Done { used: fed + used, source },
            refused @ Progress::Refused(_) => return refused,
        }
    }
    Progress::More
}

/// Where the header ends, and its source.
fn by_ppp(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return None;
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let source = match header.addresses {
                v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
                v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
                v1::Addresses::Unknown => None,
            };
            Some((header.header.len(), source))
        }
        HeaderResult::V2(Ok(header)) => {
            let source = match header.addresses {
                _ if header.command == v2::Command::Local => None,
                // It names a source that has no transport; we take the peer.
                _ if header.protocol == v2::Protocol::Unspecified => None,
                v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
                v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            };
            Some((header.len(), source))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}
