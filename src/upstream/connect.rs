//! New connections to addresses. All of them are made here, and only while there is evidence that the address is the
//! app's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{Tracer, Tracing};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::system::descriptors::{check_reserve, is_out_of_descriptors};
use crate::upstream::name_lookups::Name;
use crate::upstream::resolved_addresses::{Address, Verdict};

/// The evidence that an address is an app's.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) name: Arc<Name>,
    pub(super) address: Arc<Address>,
    /// The server at the address must prove by a certificate that it is the app.
    pub(super) has_certificate: bool,
}

impl Evidence {
    /// Fails if no connection may be made.
    fn check(&self) -> Result<()> {
        match self.name.verdict(&self.address, self.has_certificate) {
            Verdict::Good => Ok(()),
            Verdict::AskFirst | Verdict::Lost => {
                let cause = LookUpFirst(Arc::clone(&self.name));
                Err(Error::because(ErrorType::ConnectError, "the app may have moved", cause))
            }
            Verdict::Doubtful => Error::e_explain(
                ErrorType::new("AddressInDoubt"),
                "nobody can say whether the app is still there",
            ),
        }
    }

    /// Notes that no connection to the address could be made.
    fn fail(&self) {
        self.address.fail();
        self.name.doubt();
    }
}

/// The error of a connection that may be made only after its app's name has been looked up.
#[derive(Debug, thiserror::Error)]
#[error("its host name is to be looked up first")]
struct LookUpFirst(Arc<Name>);

/// Returns the name that is to be looked up before an address is chosen again. Returns `None` if the connection failed
/// for another reason.
pub(crate) fn to_look_up(error: &Error) -> Option<Arc<Name>> {
    error.root_cause().downcast_ref::<LookUpFirst>().map(|LookUpFirst(name)| Arc::clone(name))
}

/// Connects to one address. The holder of a connection tells [`Dialer::name`] when it ends.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: SocketAddr,
    /// `None` if the configuration has the address itself.
    evidence: Option<Evidence>,
    timeout: Option<Duration>,
}

impl Dialer {
    pub(super) fn new(address: SocketAddr, evidence: Option<Evidence>, timeout: Option<Duration>) -> Self {
        Self { address, evidence, timeout }
    }

    /// Makes a dialer for an address that needs no evidence.
    #[cfg(test)]
    pub(crate) fn to(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self::new(address, None, None))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// The name that the address was found by.
    pub(super) fn name(&self) -> Option<&Arc<Name>> {
        self.evidence().map(|evidence| &evidence.name)
    }

    pub(super) async fn dial(&self) -> Result<TcpStream> {
        let Some(evidence) = &self.evidence else { return self.tcp().await };
        evidence.check()?;
        self.tcp().await.inspect_err(|error| {
            if is_of_the_address(error) {
                evidence.fail();
            }
        })
    }

    async fn tcp(&self) -> Result<TcpStream> {
        const WHAT: &str = "connecting to an app";
        let stream = timeout(self.timeout.unwrap_or(Duration::MAX), TcpStream::connect(self.address))
            .await
            .or_err(ErrorType::ConnectTimedout, WHAT)?
            .and_then(|stream| check_reserve(&stream).map(|()| stream))
            .map_err(|error| Error::because(kind(&error), WHAT, error))?;
        stream.set_nodelay(true).or_err(ErrorType::ConnectError, WHAT)?;
        Ok(stream)
    }
}

/// Returns Pingora's kind of error for a failed connect.
fn kind(error: &io::Error) -> ErrorType {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}

/// Returns true if the address is to blame, and not a lack of descriptors here.
fn is_of_the_address(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    !cause.is_some_and(is_out_of_descriptors)
}

/// Used for connections that Pingora keeps, which are those of HTTP/2. Pingora tells them apart by their descriptors,
/// so they are bare sockets. All other connections are a [`super::http1::connection::Socket`].
#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, _: &PeerAddress) -> Result<Stream> {
        let mut stream: Stream = self.dial().await?.into();
        stream.tracer = self.name().map(|name| Tracer(Box::new(EndNotice(Arc::clone(name)))));
        Ok(stream)
    }
}

/// Notices the end of a connection that Pingora has, no matter who ends it.
#[derive(Debug)]
struct EndNotice(Arc<Name>);

impl Tracing for EndNotice {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.0.doubt();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_against_an_address() {
        use rustix::io::Errno;
        for (errno, speaks) in [
            (Errno::CONNREFUSED, true),
            (Errno::CONNRESET, true),
            (Errno::HOSTUNREACH, true),
            (Errno::NETUNREACH, true),
            (Errno::TIMEDOUT, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
        ] {
            let error = Error::because(ErrorType::ConnectError, "", io::Error::from(errno));
            assert_eq!(is_of_the_address(&error), speaks, "{errno:?}");
        }
        assert!(is_of_the_address(&Error::explain(ErrorType::ConnectTimedout, "no answer")));
    }
}
