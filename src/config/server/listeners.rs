//! The listeners of `[server]`: public ones, and the admin listener.

use std::net::{IpAddr, SocketAddr};

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::toml_tree::Value;
use crate::config::values::network::{overlap, socket_address};

/// Where the admin listener is unless the file says otherwise.
const ADMIN_LISTEN: &str = "\"127.0.0.1:9090\"";

/// The addresses of public listeners.
pub(crate) fn addresses(item: &Item<'_>) -> Option<Vec<SocketAddr>> {
    let listen = item
        .each("write addresses such as `[\"127.0.0.1:8080\"]`", |item| socket_address(item).map(Listener))?;
    Some(listen.into_iter().map(|listener| listener.0).collect())
}

/// An address that equals another only where both cannot be listened to: two of port 0 can.
struct Listener(SocketAddr);

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.0.port() != 0
    }
}

/// `server.admin_listen` without a look at anything else.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
pub(crate) fn admin_listen_alone(root: &Section<'_>) -> Option<Option<SocketAddr>> {
    admin_listen(&root.section("server").in_part())
}

/// `server.admin_listen`; the inner `None`: there is no such listener.
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

/// Returns true where strangers may reach it: it stands for all addresses of the machine, or is none of a private network (RFC 1918,
/// RFC 6598, RFC 4193), of a link or of this machine.
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

/// Refuses listeners that would fight for one port.
pub(crate) fn check_listeners(
    section: &Section<'_>,
    public: &[(&'static str, SocketAddr)],
    admin: Option<SocketAddr>,
) {
    for (index, (key, one)) in public.iter().enumerate() {
        // Equal ones of one list have been refused with it.
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
