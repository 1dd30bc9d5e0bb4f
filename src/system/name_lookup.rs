//! The only module that looks up the host names of apps, so that tests can replace it.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};
use tokio::sync::Semaphore;

/// The number of look-ups of the system that may run at once. Each of them holds a thread, for as long as it waits for
/// a name server that does not answer.
const MAX_UNDER_WAY: usize = 16;

/// The reason why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// A definite answer: the name does not exist, or it has no address.
    #[error("no address has this name")]
    NoAddress,
    /// No answer, or one that says nothing about the name.
    #[error("not known now: {0}")]
    Unclear(String),
}

/// A source of the addresses of a host name.
#[async_trait]
pub trait Lookup: Debug + Send + Sync {
    /// Returns every address that the name has now.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError>;
}

/// The look-up of the system, with its hosts file and its name servers.
#[derive(Debug)]
pub struct SystemLookup {
    places: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_UNDER_WAY)) }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let unclear = |error: &dyn std::error::Error| LookupError::Unclear(error.to_string());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|error| unclear(&error))?;
        let host = host.to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            let found = ask_system(&host);
            // The place becomes free only here, because the system's call goes on even if the caller no longer waits.
            drop(place);
            found
        });
        asking.await.map_err(|error| unclear(&error))?
    }
}

fn ask_system(host: &str) -> Result<Vec<IpAddr>, LookupError> {
    // Without this hint, each address would come once for every kind of socket.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(|error| {
        if is_definite(error.kind()) {
            LookupError::NoAddress
        } else {
            LookupError::Unclear(std::io::Error::from(error).to_string())
        }
    })?;
    let addresses: Vec<_> = found.flatten().map(|found| found.sockaddr.ip()).collect();
    if addresses.is_empty() { Err(LookupError::NoAddress) } else { Ok(addresses) }
}

fn is_definite(kind: LookupErrorKind) -> bool {
    matches!(kind, LookupErrorKind::NoName | LookupErrorKind::NoData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_its_own_name() {
        let addresses = SystemLookup::default().addresses("localhost").await.expect("an address");
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }

    #[test]
    fn only_a_definite_answer_says_that_there_is_no_address() {
        use LookupErrorKind::{Again, Fail, IO, Memory, NoData, NoName, System, Unknown};
        for kind in [NoName, NoData] {
            assert!(is_definite(kind), "{kind:?}");
        }
        for kind in [Again, Fail, Memory, System, Unknown, IO] {
            assert!(!is_definite(kind), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_look_up_beyond_the_bound_waits_for_its_place() {
        let lookup = SystemLookup::default();
        let all = Arc::clone(&lookup.places).acquire_many_owned(16).await.expect("open");
        let mut waiting = Box::pin(lookup.addresses("localhost"));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        drop(all);
        waiting.await.expect("an address");
    }
}
