//! A network of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{kind::Kind, written_as_text};

/// A network in CIDR notation. A bare address is the network of that one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    net: IpNet,
}

/// Why a text is not a [`Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor an address, a slash and a prefix length.
    #[error("not a network")]
    Form,
    /// Bits after the prefix are set, so that it is not clear which network is meant.
    #[error("an address inside {0}, not a network")]
    HostBits(IpNet),
}

impl Cidr {
    /// Whether the address is in the network. An IPv4 address mapped into IPv6 counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.net.contains(&address.to_canonical())
    }

    /// The network.
    pub const fn net(&self) -> IpNet {
        self.net
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { net: address.into() });
        }
        let net: IpNet = text.parse().map_err(|_| CidrError::Form)?;
        let trunc = net.trunc();
        if net == trunc { Ok(Self { net }) } else { Err(CidrError::HostBits(trunc)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

written_as_text!(Cidr, Kind::Cidr);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        assert_eq!("10.1.2.3".parse::<Cidr>().unwrap().to_string(), "10.1.2.3/32");
        assert_eq!("::1".parse::<Cidr>().unwrap().to_string(), "::1/128");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let hosts = "10.0.0.0/8".parse().unwrap();
        assert_eq!("10.1.2.3/8".parse::<Cidr>(), Err(CidrError::HostBits(hosts)));
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.0/", "1.2.3.4 "]
        {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError::Form), "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_maps() {
        let net: Cidr = "10.0.0.0/8".parse().unwrap();

        assert!(net.contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!net.contains("::ffff:11.9.9.9".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(bits: u128, prefix in 0..=128_u8) {
            let net = ipnet::Ipv6Net::new(bits.into(), prefix).unwrap().trunc();
            let cidr = Cidr { net: net.into() };

            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }
    }
}
