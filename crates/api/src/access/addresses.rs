//! Whose request it is, where a proxy stands in between: the address by which one is counted.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Networks that can be named.
const PROXIES_MAX: usize = 64;
/// Proxies in a row that are followed.
const HOPS_MAX: usize = 16;
/// Bits of an IPv6 address that count: the rest is the client's to choose.
const V6_BITS: u32 = 64;

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    addr: IpAddr,
    bits: u32,
}

/// Proxies whose word on the client's address is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

impl Network {
    fn contains(self, other: IpAddr) -> bool {
        match (self.addr, other.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= self.bits,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= self.bits,
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (addr, bits) = text.split_once('/').map_or((text, None), |(addr, bits)| (addr, Some(bits)));
        let addr: IpAddr = addr.parse().map_err(drop)?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(drop))?;
        if bits <= most { Ok(Self { addr, bits }) } else { Err(()) }
    }
}

impl FromStr for Proxies {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected at most 64 addresses or networks, such as 10.0.0.2,172.16.0.0/12,fd00::/8";
        let networks = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse);
        match networks.collect::<Result<Vec<Network>, ()>>() {
            Ok(networks) if networks.len() <= PROXIES_MAX => Ok(Self(networks)),
            _ => Err(expected),
        }
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<_> = self.0.iter().map(|network| format!("{}/{}", network.addr, network.bits)).collect();
        f.write_str(&networks.join(","))
    }
}

impl Proxies {
    /// Whether an address is one of theirs.
    pub(crate) fn trusts(&self, addr: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(addr))
    }

    /// The rightmost address that no trusted proxy has: what stands left of it is only what that one says.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let fields = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = fields.flat_map(|field| field.to_str().unwrap_or_default().rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            if !self.trusts(client) {
                break;
            }
            // A proxy that writes something else is the last of whom we know.
            let Some(addr) = address(hop.trim()) else { break };
            client = addr.to_canonical();
        }
        client
    }
}

/// An address, which some proxies write with its port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))
}

/// What is counted as one: an IPv4 address, or the network that a provider gives to one customer.
pub(crate) fn counted(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << (128 - V6_BITS))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(FORWARDED_FOR, field.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1234);
        proxies.parse::<Proxies>().unwrap().client(peer, &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let ours = "10.0.0.0/8,fd00::/8";
        for (proxies, peer, fields, expected) in [
            ("", "10.0.0.1", &["1.2.3.4"][..], "10.0.0.1"),
            (ours, "9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            (ours, "10.0.0.1", &[], "10.0.0.1"),
            (ours, "10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            (ours, "10.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (ours, "10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4"),
            (ours, "10.0.0.1", &["6.6.6.6", "1.2.3.4, 10.0.0.9"], "1.2.3.4"),
            (ours, "10.0.0.1", &["10.0.0.8"], "10.0.0.8"),
            (ours, "10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            (ours, "10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            (ours, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            (ours, "10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            (ours, "::ffff:10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            (ours, "fd00::7", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", "10.0.0.2", &["1.2.3.4"], "10.0.0.2"),
            ("0.0.0.0/0", "10.0.0.2", &["6.6.6.6,1.2.3.4"], "6.6.6.6"),
        ] {
            assert_eq!(client(proxies, peer, fields), expected, "{proxies} {peer} {fields:?}");
        }
        let many = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(client(ours, "10.0.0.2", &[&many]), "10.0.0.1");
    }

    #[test]
    fn networks_are_written_with_or_without_a_length() {
        for bad in ["10.0.0.0/33", "::/129", "host", "10.0.0.0/", "10.0.0.0/-1", "1.2.3.4:80"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        assert_eq!("10.0.0.1, fd00::/8".parse::<Proxies>().unwrap().to_string(), "10.0.0.1/32,fd00::/8");
    }

    #[test]
    fn a_customer_of_ipv6_counts_once() {
        let key = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("1.2.3.4"), "1.2.3.4");
    }
}
