//! Socket addresses and networks.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::quoting::quote;
use crate::config::reader::Item;

/// Reads an IP address with a port. With port 0, the system chooses a port.
pub(crate) fn socket_address(item: &Item<'_>) -> Option<SocketAddr> {
    const HINT: &str = "write an IP address and a port, such as `\"127.0.0.1:8080\"`, `\"0.0.0.0:8080\"` or `\"[::1]:8080\"`";
    let text = item.text("an address", HINT)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => item.fault(format!("{} is not an address to listen on", quote(text)), HINT),
    }
}

/// Reads a network in CIDR notation, or a single address. A network that contains every address is refused.
pub(crate) fn trusted_network(item: &Item<'_>) -> Option<IpNet> {
    const HINT: &str = "write the networks of your own proxies, such as `\"10.1.0.0/16\"` or `\"192.0.2.7\"`";
    let text = item.text("a network", HINT)?;
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        return item.fault(format!("{} is not a network in CIDR notation", quote(text)), HINT);
    };
    if is_everybody(&network) {
        return item.fault(
            format!("{} trusts everybody: any client could choose its own address", quote(text)),
            HINT,
        );
    }
    if is_half_the_world(&network) {
        return item.fault(format!("{} is wider than any network of one owner", quote(text)), HINT);
    }
    if network.trunc() != network {
        return item.fault(
            format!("{} has bits set behind its prefix", quote(text)),
            format!("write `\"{}\"`, or `\"{}\"` for the one address", network.trunc(), network.addr()),
        );
    }
    Some(network)
}

/// Returns true for `/0`, also for IPv4's `/0` in its IPv4-mapped form.
fn is_everybody(network: &IpNet) -> bool {
    let mapped = match network {
        IpNet::V6(network) => network.addr().to_ipv4_mapped().is_some() && network.prefix_len() <= 96,
        IpNet::V4(_) => false,
    };
    network.prefix_len() == 0 || mapped
}

/// Returns true for a network wider than `10.0.0.0/8` or `fc00::/7`. A few such networks would contain every address.
fn is_half_the_world(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        IpNet::V6(network) => {
            let is_mapped = network.addr().to_ipv4_mapped().is_some();
            network.prefix_len() < if is_mapped { 104 } else { 7 }
        }
    }
}

/// Returns true if two listeners cannot both open their port. With port 0 they always can. `[::]` also takes IPv4.
pub(crate) fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    left.port() == right.port()
        && left.port() != 0
        && (left.ip() == right.ip() || covers(left.ip(), right.ip()) || covers(right.ip(), left.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_overlap() {
        let table = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ];
        for (left, right, expected) in table {
            let (one, other) = (left.parse().unwrap(), right.parse().unwrap());
            assert_eq!(overlap(one, other), expected, "{left} and {right}");
            assert_eq!(overlap(other, one), expected, "{right} and {left}");
        }
    }
}
