//! One address of an app: how to connect to it, the evidence that it is the app's, and if it is healthy.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::HttpPeer;
use tracing::{field, info, warn};

use crate::system::unreachable::{Side, Unreachable};

use super::connect::{Dialer, Evidence};
use super::health::Check;
use crate::upstream::name_lookups::Name;
use crate::upstream::protocol_choice::Ways;
use crate::upstream::resolved_addresses::Address;

/// One upstream of the configuration.
pub(super) struct Upstream {
    /// The settings, complete except for the address.
    pub(super) template: HttpPeer,
    pub(super) port: u16,
    pub(super) host: Host,
}

pub(super) enum Host {
    Literal(IpAddr),
    Name(Arc<Name>),
}

/// One address, with the connections that are kept to it. When a name loses the address, they are dropped with it.
pub(super) struct AppAddress {
    /// The index of its upstream.
    upstream: usize,
    pub(super) dialer: Arc<Dialer>,
    pub(super) ways: Ways,
    is_healthy: AtomicBool,
    is_being_checked: AtomicBool,
}

impl Upstream {
    pub(super) fn name(&self) -> Option<&Arc<Name>> {
        match &self.host {
            Host::Literal(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// Makes one of the upstream's addresses.
    pub(super) fn member(
        &self,
        index: usize,
        ip: IpAddr,
        found: Option<(&Arc<Name>, &Arc<Address>)>,
    ) -> AppAddress {
        let address = SocketAddr::new(ip, self.port);
        let mut peer = self.template.clone();
        peer._address = PeerAddress::Inet(address);
        let evidence = found.map(|(name, address)| Evidence {
            name: Arc::clone(name),
            address: Arc::clone(address),
            has_certificate: peer.is_tls(),
        });
        if let Some(evidence) = &evidence {
            // Pingora, too, must find a kept connection only while the name has this address, and never for another
            // name.
            let mut hasher = DefaultHasher::new();
            (peer.group_key, evidence.address.number).hash(&mut hasher);
            peer.group_key = hasher.finish();
        }
        let dialer = Arc::new(Dialer::new(address, evidence, peer.options.connection_timeout));
        let ways = Ways::new(peer, &dialer);
        let (is_healthy, is_being_checked) = (AtomicBool::new(true), AtomicBool::new(false));
        AppAddress { upstream: index, dialer, ways, is_healthy, is_being_checked }
    }
}

impl AppAddress {
    /// Returns true if the address belongs to this upstream, and has this number.
    pub(super) fn is(&self, upstream: usize, number: Option<u64>) -> bool {
        self.upstream == upstream && self.dialer.evidence().map(|evidence| evidence.address.number) == number
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.dialer.address()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    /// Begins a check and returns true, unless the last check is still under way, which may take longer than the
    /// interval.
    pub(super) fn may_be_checked(&self) -> bool {
        !self.is_being_checked.swap(true, Ordering::Relaxed)
    }

    pub(super) async fn check(&self, check: &Check, app: &str) {
        let _under_way = UnderWay(&self.is_being_checked);
        let upstream = self.address();
        let outcome = check.run(upstream, self.ways.configured()).await;
        let was_healthy = self.is_healthy.swap(outcome.is_ok(), Ordering::Relaxed);
        match outcome {
            Ok(()) if !was_healthy => info!(app, %upstream, "an address is healthy again"),
            Err(error) if was_healthy => {
                let known = Unreachable::of(&error.to_string(), Side::App);
                let (reason, hint) =
                    (known.as_ref().map(field::display), known.as_ref().map(Unreachable::hint));
                let error = error.etype().as_str();
                warn!(app, %upstream, error, reason, hint, "an address has failed its health check");
                if let Some(name) = self.dialer.name() {
                    name.doubt();
                }
            }
            _ => {}
        }
    }
}

/// A check that is under way until this is dropped.
struct UnderWay<'a>(&'a AtomicBool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
