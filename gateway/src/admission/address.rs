//! The address of a client, as far as proxies may say it.

use std::net::{IpAddr, Ipv6Addr};

use headgate_crds::{v1alpha1::ClientAddressFrom, value::Cidr};
use http::HeaderMap;

/// The address that limits count: an IPv6 address stands for its /64.
pub fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether an address is one of the proxies that are believed.
pub fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(address))
}

/// The client's address: the rightmost hop that is not trusted. A hop that is no address ends the
/// search at the proxy that reported it.
pub fn client(
    peer: IpAddr,
    headers: &HeaderMap,
    from: ClientAddressFrom,
    trusted: &[Cidr],
) -> IpAddr {
    if from != ClientAddressFrom::XForwardedFor || !is_trusted(peer, trusted) {
        return peer.to_canonical();
    }
    let mut client = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(address) = std::str::from_utf8(hop).ok().and_then(parse_hop) else { break };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    client.to_canonical()
}

/// An address, perhaps with a port, perhaps in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rightmost_stranger_is_the_client() {
        let trusted = ["198.18.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let check = |peer: &str, lines: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let got =
                client(peer.parse().unwrap(), &headers, ClientAddressFrom::XForwardedFor, &trusted);
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        };
        check("203.0.113.1", &["192.0.2.1"], "203.0.113.1");
        check("198.18.0.1", &["192.0.2.1"], "192.0.2.1");
        check("198.18.0.1", &["192.0.2.9, 192.0.2.1, 198.18.0.2"], "192.0.2.1");
        check("198.18.0.1", &["192.0.2.9", "192.0.2.1:4711"], "192.0.2.1");
        check("198.18.0.1", &["junk, 198.18.0.2"], "198.18.0.2");
        check("::ffff:198.18.0.1", &["[2001:db8::1]:443"], "2001:db8::1");
        check("fd00::1", &[], "fd00::1");
    }

    #[test]
    fn an_ipv6_address_counts_with_its_network() {
        assert_eq!(key("2001:db8::1".parse().unwrap()), key("2001:db8::ffff".parse().unwrap()));
        assert_eq!(
            key("::ffff:192.0.2.1".parse().unwrap()),
            "192.0.2.1".parse::<IpAddr>().unwrap()
        );
    }
}
