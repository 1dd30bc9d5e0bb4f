//! Health checks. Each address is checked by itself, in the protocol of its upstream, within a total time.

use std::net::SocketAddr;
use std::sync::LazyLock;

use http::{HeaderValue, Uri, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config;
use crate::syntax::app_head::is_interim;
use crate::syntax::authority::url_host;

/// The number of bytes of an answer's body that are enough. An app that sends more need not finish its answer.
const ENOUGH_BODY: usize = 64 * 1024;

/// The check for the addresses of one app.
#[derive(Debug)]
pub(super) struct Check {
    settings: config::HealthCheck,
    /// The `Host` that a browser's request would have. `None` means that a connection is enough.
    host: Option<HeaderValue>,
}

impl Check {
    pub(super) fn new(app: &config::App) -> Self {
        let host = app.hosts.first().and_then(|host| HeaderValue::from_str(&url_host(host)).ok());
        Self { settings: app.health_check.clone(), host: host.filter(|_| app.health_check.path.is_some()) }
    }

    pub(super) fn interval(&self) -> std::time::Duration {
        self.settings.interval
    }

    /// Checks an address. `peer` says how to connect to it. An error says what is wrong with the address.
    pub(super) async fn run(&self, address: SocketAddr, peer: &HttpPeer) -> Result<()> {
        let asking = async {
            match self.settings.path.as_deref().zip(self.host.as_ref()) {
                Some((path, host)) => get(path, host, peer).await,
                None => {
                    TcpStream::connect(address).await.map(drop).or_err(ErrorType::ConnectError, "connecting")
                }
            }
        };
        timeout(self.settings.timeout, asking).await.or_err(ErrorType::ReadTimedout, "a health check")?
    }
}

/// Requests a path, and fails unless the answer says that the app is well.
async fn get(path: &str, host: &HeaderValue, peer: &HttpPeer) -> Result<()> {
    // The connector keeps no connections, so all checks can share it.
    static CONNECTOR: LazyLock<Connector> = LazyLock::new(|| Connector::new(None));
    let mut peer = peer.clone();
    // A request needs evidence that the address is still the app's. A check needs none, since it carries no secrets.
    peer.options.custom_l4 = None;
    // The whole check has a total time.
    peer.options.connection_timeout = None;
    peer.options.total_connection_timeout = None;
    // Otherwise the connection would be kept for other streams.
    peer.options.max_h2_streams = 1;
    let (mut session, _) = CONNECTOR.get_http_session(&peer).await?;
    let request = request(path, host, &peer, matches!(session, HttpSession::H2(_)))?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    let status = loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|response| response.status);
        match status {
            Some(status) if is_interim(status.as_u16()) => {}
            _ => break status,
        }
    };
    if !status.is_some_and(|status| status.is_success() || status.is_redirection()) {
        return Error::e_explain(ErrorType::InvalidHTTPHeader, "the status is neither 2xx nor 3xx");
    }
    let mut length = 0;
    while let Some(bytes) = session.read_response_body().await? {
        length += bytes.len();
        if length >= ENOUGH_BODY {
            break;
        }
    }
    Ok(())
}

fn request(path: &str, host: &HeaderValue, peer: &HttpPeer, is_http2: bool) -> Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    if is_http2 {
        let scheme = if peer.is_tls() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(path).build();
        request.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "the host is no authority")?);
    } else {
        request.insert_header(header::HOST, host)?;
    }
    Ok(request)
}
