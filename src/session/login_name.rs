//! The user name of a login and the place that it comes from, as far as both can be told before the provider is asked.

use std::net::{IpAddr, Ipv6Addr};

/// Issuer and normalised user name.
pub(crate) type Key = (String, String);

/// The place that a login comes from: one address, or of IPv6 its /64, which is one subscriber at least (RFC 6177). `None`: not known.
pub(crate) type Site = Option<IpAddr>;

/// A user name at a provider, and the site that it is tried from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LoginName {
    key: Key,
    site: Site,
}

impl LoginName {
    /// Providers take user names in any case and with blanks around them.
    pub(crate) fn new(issuer: &str, username: &str, client: Option<IpAddr>) -> Self {
        Self { key: (issuer.to_owned(), username.trim().to_lowercase()), site: client.map(site) }
    }

    /// Returns issuer and user name.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the place that it comes from.
    pub(crate) fn site(&self) -> Site {
        self.site
    }
}

/// Returns the place of an address.
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
