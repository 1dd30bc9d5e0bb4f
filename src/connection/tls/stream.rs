//! TLS on a client's connection: the handshake, and the stream that Pingora and
//! [`crate::connection::http1::client_connection`] see.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::l4::stream::Stream as SocketStream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream as Inner;

use super::handshake_failure::{Failure, tell_of_silence};
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::other_protocols::{Spoken, spoken};

/// Returns true if the client's first byte begins TLS. The byte is not consumed. Returns `None` if the client sends
/// nothing: then the connection is over.
pub(crate) async fn is_spoken(stream: &TcpStream, until: Instant, control: &ExchangeControl) -> Option<bool> {
    let mut first = [0];
    let looking = timeout_at(until, stream.peek(&mut first));
    if let Ok(Ok(1..)) = control.unless_closing(looking).await? {
        return Some(spoken(&first) == Spoken::Tls);
    }
    tell_of_silence(control.peer());
    None
}

/// The parameters that a client has asked for, for the log.
#[derive(Default)]
struct Hello {
    name: Option<String>,
    protocols: Vec<Vec<u8>>,
}

impl Hello {
    fn detail(&self, failure: Failure, error: &io::Error) -> String {
        match failure {
            Failure::NoCommonProtocol => {
                let protocols = self.protocols.iter().take(8);
                let protocols: Vec<_> = protocols.map(|name| String::from_utf8_lossy(name)).collect();
                format!("it offers {}", protocols.join(", "))
            }
            _ => error.to_string(),
        }
    }
}

/// Does the TLS handshake. Returns `None` if it fails, is not done by `until`, or is still under way when idle
/// connections close.
pub(crate) async fn accept(
    stream: SocketStream,
    config: Arc<ServerConfig>,
    until: Instant,
    control: &ExchangeControl,
) -> Option<TlsStream> {
    let (peer, mut hello) = (control.peer(), None);
    let shaking = async {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let said = begun.client_hello();
        hello = Some(Hello {
            name: said.server_name().map(str::to_owned),
            protocols: said.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
        });
        begun.into_stream(config).await
    };
    let shaken = control.unless_closing(timeout_at(until, shaking)).await?;
    let (failure, error) = match shaken {
        Ok(Ok(stream)) => return Some(TlsStream(stream)),
        Ok(Err(error)) => (Failure::of(&error), Some(error)),
        Err(_) => (Failure::TimedOut, None),
    };
    match (failure, &hello) {
        // The client has not sent a whole ClientHello.
        (Failure::Closed | Failure::TimedOut, None) => tell_of_silence(peer),
        (failure, hello) => {
            let hello = hello.as_ref();
            let detail = error
                .map(|error| hello.map_or_else(|| error.to_string(), |hello| hello.detail(failure, &error)));
            failure.tell(peer, hello.and_then(|hello| hello.name.as_deref()), detail.as_deref());
        }
    }
    None
}

/// A connection after its handshake.
pub(crate) struct TlsStream(Inner<SocketStream>);

impl TlsStream {
    /// Returns true if the client and we agreed on HTTP/2 (RFC 9113 section 3.2).
    pub(crate) fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    fn socket(&self) -> &SocketStream {
        self.0.get_ref().0
    }
}

/// Leaves out the buffers and the keys, which must not be logged.
impl fmt::Debug for TlsStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for TlsStream {
    async fn shutdown(&mut self) {
        let _gone_already = self.0.shutdown().await;
    }
}

impl UniqueID for TlsStream {
    fn id(&self) -> UniqueIDType {
        self.socket().id()
    }
}

impl Ssl for TlsStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for TlsStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.socket().get_timing_digest()
    }
}

impl GetProxyDigest for TlsStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.socket().get_proxy_digest()
    }
}

impl GetSocketDigest for TlsStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.0.get_mut().0.set_socket_digest(digest);
    }
}

/// Is not supported, since nothing looks ahead.
impl Peek for TlsStream {}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::net::SocketAddr;
    use std::pin::pin;

    use std::time::Duration;

    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let pair = rcgen::generate_simple_self_signed([String::from("store.example.com")]).unwrap();
        let certificate: CertificateDer<'static> = pair.cert.der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let server =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let client =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    /// Shakes hands with a client that begins once the server waits for it, and once `meanwhile` has been done to the
    /// connection; whether that succeeds.
    async fn shakes_hands(meanwhile: impl FnOnce(&ExchangeControl)) -> bool {
        let (server, client) = configs();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer): (_, SocketAddr) = listener.accept().await.unwrap();
        let control = ExchangeControl::new(peer, true);
        let until = Instant::now() + Duration::from_secs(60);
        let mut accepting = pin!(accept(SocketStream::from(accepted), server, until, &control));
        let begun = poll_fn(|context| Poll::Ready(accepting.as_mut().poll(context).is_pending())).await;
        assert!(begun);
        meanwhile(&control);
        let name = ServerName::try_from("store.example.com").unwrap();
        let (accepted, connected) =
            tokio::join!(accepting, TlsConnector::from(client).connect(name, connecting));
        assert_eq!(accepted.is_some(), connected.is_ok());
        accepted.is_some()
    }

    #[tokio::test]
    async fn a_handshake_that_has_begun_is_no_idle_connection_when_the_server_stops() {
        assert!(shakes_hands(|_| {}).await);
        assert!(
            shakes_hands(ExchangeControl::close_after_answer).await,
            "as one that sends a request without TLS"
        );
        assert!(!shakes_hands(ExchangeControl::close_when_idle).await, "it has had its time");
        assert!(
            !shakes_hands(|control| control.end(crate::connection::exchange_end::EndReason::Shutdown)).await
        );
    }
}
