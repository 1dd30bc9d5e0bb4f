//! One address of an app: how it is connected to, why it is the app's, and whether it is healthy.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::HttpPeer;
use tracing::{info, warn};

use super::answer::Address;
use super::connect::{Connector, Evidence};
use super::health::Check;
use super::names::Name;

/// One upstream of the configuration.
pub(super) struct Upstream {
    /// Complete but for the address.
    pub(super) template: HttpPeer,
    pub(super) port: u16,
    pub(super) host: Host,
}

pub(super) enum Host {
    Literal(IpAddr),
    Name(Arc<Name>),
}

/// One address.
pub(super) struct Member {
    /// Which upstream it belongs to.
    upstream: usize,
    pub(super) address: SocketAddr,
    pub(super) peer: HttpPeer,
    /// Why it is the app's. `None`: the configuration says so.
    pub(super) evidence: Option<Evidence>,
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

    /// One of its addresses.
    pub(super) fn member(
        &self,
        index: usize,
        ip: IpAddr,
        found: Option<(&Arc<Name>, &Arc<Address>)>,
    ) -> Member {
        let address = SocketAddr::new(ip, self.port);
        let mut peer = self.template.clone();
        peer._address = PeerAddress::Inet(address);
        let evidence = found.map(|(name, address)| Evidence {
            name: Arc::clone(name),
            address: Arc::clone(address),
            has_certificate: peer.is_tls(),
        });
        if let Some(evidence) = &evidence {
            // Connections are kept for as long as the name has the address, and for nobody else who has it.
            let mut hasher = DefaultHasher::new();
            (peer.group_key, evidence.address.number).hash(&mut hasher);
            peer.group_key = hasher.finish();
            let timeout = peer.options.connection_timeout;
            peer.options.custom_l4 = Some(Arc::new(Connector { evidence: evidence.clone(), timeout }));
        }
        let (is_healthy, is_being_checked) = (AtomicBool::new(true), AtomicBool::new(false));
        Member { upstream: index, address, peer, evidence, is_healthy, is_being_checked }
    }
}

impl Member {
    /// Whether it is this upstream's, with this number of its address.
    pub(super) fn is(&self, upstream: usize, number: Option<u64>) -> bool {
        self.upstream == upstream && self.evidence.as_ref().map(|evidence| evidence.address.number) == number
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    /// Whether a check may begin: the last one may take longer than the interval.
    pub(super) fn may_be_checked(&self) -> bool {
        !self.is_being_checked.swap(true, Ordering::Relaxed)
    }

    pub(super) async fn check(&self, check: &Check, app: &str) {
        let _under_way = UnderWay(&self.is_being_checked);
        let outcome = check.run(self.address, &self.peer).await;
        let was_healthy = self.is_healthy.swap(outcome.is_ok(), Ordering::Relaxed);
        let upstream = self.address;
        match outcome {
            Ok(()) if !was_healthy => info!(app, %upstream, "an address is healthy again"),
            Err(error) if was_healthy => {
                warn!(app, %upstream, error = error.etype().as_str(), "an address has failed its health check");
                if let Some(evidence) = &self.evidence {
                    evidence.name.doubt();
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
