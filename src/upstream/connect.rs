//! A new connection to an address of a host name: made only while there is evidence that the address is the app's.

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

use super::answer::{Address, Verdict};
use super::names::Name;

/// Why an address is an app's.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(super) name: Arc<Name>,
    pub(super) address: Arc<Address>,
    /// Whoever answers there must prove it.
    pub(super) has_certificate: bool,
}

impl Evidence {
    /// Fails where no connection may be made.
    pub(super) fn check(&self) -> Result<()> {
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

    /// The address could not be connected to.
    pub(super) fn fail(&self) {
        self.address.fail();
        self.name.doubt();
    }

    /// Has the name looked up when a connection ends.
    pub(super) fn watch(&self, stream: &mut Stream) {
        stream.tracer = Some(Tracer(Box::new(Watch(Arc::clone(&self.name)))));
    }
}

/// A connection was not made before its app's name is looked up.
#[derive(Debug, thiserror::Error)]
#[error("its host name is to be looked up first")]
struct LookUpFirst(Arc<Name>);

/// The name that is to be looked up before an address is chosen again; `None`: it failed for another reason.
pub(crate) fn to_look_up(error: &Error) -> Option<Arc<Name>> {
    error.root_cause().downcast_ref::<LookUpFirst>().map(|LookUpFirst(name)| Arc::clone(name))
}

/// Notices the end of a connection, whoever ends it.
#[derive(Debug)]
struct Watch(Arc<Name>);

impl Tracing for Watch {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.0.doubt();
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}

/// Connects to an address of a name.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) evidence: Evidence,
    pub(super) timeout: Option<Duration>,
}

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        self.evidence.check()?;
        let socket = tcp(address, self.timeout).await.inspect_err(|_| self.evidence.fail())?;
        let mut stream = socket.into();
        self.evidence.watch(&mut stream);
        Ok(stream)
    }
}

/// Connects as Pingora does.
pub(super) async fn tcp(address: &PeerAddress, limit: Option<Duration>) -> Result<TcpStream> {
    let address: SocketAddr =
        *address.as_inet().ok_or_else(|| Error::explain(ErrorType::ConnectError, "not an IP address"))?;
    timeout(limit.unwrap_or(Duration::MAX), TcpStream::connect(address))
        .await
        .or_err(ErrorType::ConnectTimedout, "connecting to the app")?
        .map_err(|error| Error::because(kind(&error), "connecting to the app", error))
}

fn kind(error: &io::Error) -> ErrorType {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        _ => ErrorType::ConnectError,
    }
}
