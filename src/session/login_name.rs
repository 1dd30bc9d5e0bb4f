//! The user name of a login, and the site that the login comes from. Both are known before the provider is asked.

use std::net::{IpAddr, Ipv6Addr};

/// The issuer and the normalised user name.
pub(crate) type Key = (String, String);

/// The site that a login comes from: an IPv4 address, or the /64 prefix of an IPv6 address. A subscriber has at least
/// one /64 prefix (RFC 6177). `None` if the address is not known.
pub(crate) type Site = Option<IpAddr>;

/// A user name at a provider, and the site from which somebody tries to log in with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginName {
    key: Key,
    site: Site,
}

impl LoginName {
    /// Normalises the user name, because providers accept user names in any case and with blanks around them.
    pub(crate) fn new(issuer: &str, username: &str, client: Option<IpAddr>) -> Self {
        Self { key: (issuer.to_owned(), username.trim().to_lowercase()), site: client.map(site) }
    }

    /// Returns the issuer and the user name.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the site that the login comes from.
    pub(crate) fn site(&self) -> Site {
        self.site
    }
}

/// Returns the site of an address.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_and_one_site_however_they_are_written() {
        let name = |username: &str, client: &str| LoginName::new("id", username, client.parse().ok());
        for (one, other, same) in [
            (name("Alice", "192.0.2.1"), name(" alice\t", "192.0.2.1"), true),
            (name("alice", "192.0.2.1"), name("alice", "192.0.2.2"), false),
            (name("alice", "192.0.2.1"), name("alice", "::ffff:192.0.2.1"), true),
            (name("alice", "::ffff:192.0.2.2"), name("alice", "::ffff:192.0.2.1"), false),
            (name("alice", "2001:db8::1"), name("alice", "2001:db8::ffff"), true),
            (name("alice", "2001:db8::1"), name("alice", "2001:db8:0:1::1"), false),
            (name("alice", ""), name("alice", "192.0.2.1"), false),
        ] {
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
        assert_ne!(name("alice", ""), LoginName::new("other", "alice", None));
    }
}
