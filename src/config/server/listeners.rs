//! The listeners of `[server]`: the public listeners and the admin listener.

use std::net::{IpAddr, SocketAddr};

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::toml_tree::Value;
use crate::config::values::network::{overlap, socket_address};

/// The default address of the admin listener.
const ADMIN_LISTEN: &str = "\"127.0.0.1:9090\"";

/// Reads the addresses of public listeners.
pub(crate) fn addresses(item: &Item<'_>) -> Option<Vec<SocketAddr>> {
    let listen = item
        .each("write addresses such as `[\"127.0.0.1:8080\"]`", |item| socket_address(item).map(Listener))?;
    Some(listen.into_iter().map(|listener| listener.0).collect())
}

/// An address of a listener. Two addresses are equal if only one of them can be opened. Two addresses with port 0 can
/// both be opened.
struct Listener(SocketAddr);

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.0.port() != 0
    }
}

/// Reads only `server.admin_listen`.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
pub(crate) fn admin_listen_alone(root: &Section<'_>) -> Option<Option<SocketAddr>> {
    admin_listen(&root.section("server").in_part())
}

/// Reads `server.admin_listen`. An inner `None` means that there is no such listener.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
pub(crate) fn admin_listen(section: &Section<'_>) -> Option<Option<SocketAddr>> {
    section.defaulted("admin_listen", ADMIN_LISTEN, admin_address)
}

#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
fn admin_address(item: &Item<'_>) -> Option<Option<SocketAddr>> {
    match item.value() {
        Value::Boolean(false) => Some(None),
        Value::Text(text) if ["", "false", "no", "none", "off"].contains(&text.to_ascii_lowercase().as_str()) => item.fault(
            format!("{} is not an address to listen on", quote(text)),
            "write `false`, without quotes, for no admin listener, or an address such as `\"127.0.0.1:9090\"`",
        ),
        Value::Text(_) => {
            let address = socket_address(item)?;
            if is_public(address.ip().to_canonical()) {
                item.warn(
                    format!(
                        "whoever reaches `{address}` reads the status page and the metrics and may try `POST /sessions/revoke`: \
                         nobody else is kept out"
                    ),
                    "listen on `127.0.0.1`, or on an address of a network of your own; else let a firewall or network policy say who \
                     comes",
                );
            }
            Some(Some(address))
        }
        _ => item
            .wrong_type("an address or `false`", "write an address such as `\"127.0.0.1:9090\"`, or `false`"),
    }
}

/// Returns true if strangers may reach the address. This is so for an address that stands for all addresses of the
/// machine. It is also so for any address outside private networks (RFC 1918, RFC 6598, RFC 4193), link-local networks
/// and this machine.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            !(address.is_loopback() || address.is_private() || address.is_link_local() || is_shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

/// Reports listeners that cannot both open their port.
pub(crate) fn check_listeners(
    section: &Section<'_>,
    public: &[(&'static str, SocketAddr)],
    admin: Option<SocketAddr>,
) {
    for (index, (key, one)) in public.iter().enumerate() {
        // Equal addresses within one list are already reported.
        let is_reported = |other: &(&str, SocketAddr)| other.0 == *key && other.1 == *one;
        let mut earlier = public.iter().take(index);
        if let Some((_, other)) = earlier.find(|other| !is_reported(other) && overlap(*one, other.1)) {
            let _: Option<()> = section.fault_at(
                key,
                format!("`{other}` and `{one}` overlap: the second one could not be opened"),
                "keep the wider one; `[::]` takes IPv4 as well",
            );
        }
    }
    let Some(admin) = admin else { return };
    if let Some((_, public)) = public.iter().find(|(_, public)| overlap(*public, admin)) {
        let _: Option<()> = section.fault_at(
            "admin_listen",
            format!("`{admin}` overlaps with the public listener `{public}`"),
            "choose another port, or `false` for no admin listener",
        );
    }
}
