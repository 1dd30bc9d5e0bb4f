//! Chooses the address of the app that a request goes to, and another one if no connection is made.

use std::sync::Arc;

use http::Version;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;
use tracing::{field, warn};

use crate::connection::connection_limit::Connections;
use crate::gateway::cdn_loop::Mark;
use crate::gateway::context::Permitted;
use crate::gateway::retry;
use crate::syntax::grpc;
use crate::system::unreachable::{Side, Unreachable};
use crate::upstream::{Needs, http2};

/// The number of addresses of one app that a request tries to connect to.
const MAX_CONNECT_ATTEMPTS: usize = 3;

/// The data that all requests share on their way to apps.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// The connections of HTTP/2 to apps.
    pub(super) connections: Arc<http2::Connections>,
    /// The clients' connections. Idle ones make room if a connection to an app needs a descriptor.
    pub(super) clients: Arc<Connections>,
    /// The mark that this process writes into every request.
    pub(super) mark: Mark,
}

impl Outgoing {
    /// Begins without connections to apps.
    pub(super) fn new(clients: Arc<Connections>) -> Self {
        Self { connections: Arc::default(), clients, mark: Mark::random() }
    }
}

/// Chooses an address.
pub(super) async fn peer(exchange: &Session, permitted: &mut Permitted<'_>) -> Result<Box<HttpPeer>> {
    let Permitted { app, arrival, to_app, trace, .. } = permitted;
    if let Some(place) = to_app.place.take() {
        place.wait().await;
    }
    if let Some(peer) = to_app.peer.take() {
        return Ok(peer);
    }
    let request = exchange.req_header();
    let needs = match request.version {
        _ if arrival.websocket => Needs::WebSocket,
        Version::HTTP_10 => Needs::Http1,
        _ if grpc::is_call(request) => Needs::Http2,
        _ => Needs::Anything,
    };
    let client = arrival.connection.as_ref();
    let peer = app.upstreams.peer(&to_app.tried, needs, client, to_app.look_up.take());
    let (peer, way) = peer.await.unzip();
    to_app.way = way;
    to_app.address = peer.as_ref().and_then(|peer| peer._address.as_inet().copied());
    if let Some(trace) = trace {
        trace.begin_exchange(&request.method, &app.name, to_app.address);
    }
    peer.ok_or_else(|| {
        Error::create(ErrorType::ConnectError, ErrorSource::Upstream, Some("no address".into()), None)
    })
}

/// Decides about a request for which no connection was made.
pub(super) fn after_failure(
    clients: &Arc<Connections>,
    peer: &HttpPeer,
    permitted: &mut Permitted<'_>,
    error: &mut Error,
) {
    let Permitted { app, to_app, trace, .. } = permitted;
    if retry::after_a_stale_connection(to_app, error)
        || retry::after_an_old_answer(to_app, trace.as_deref_mut(), error)
        || retry::once_there_is_room(to_app, error, clients)
    {
        return;
    }
    let known = Unreachable::of(&error.to_string(), Side::App);
    let (reason, hint) = (known.as_ref().map(field::display), known.as_ref().map(Unreachable::hint));
    let (app_name, kind) = (&app.name, error.etype().as_str());
    warn!(app = app_name, upstream = %peer._address, error = kind, reason, hint, "cannot connect to the app");
    if let Some(trace) = trace {
        trace.fail_exchange(error.etype().as_str());
    }
    to_app.connect_timed_out |=
        matches!(error.etype(), ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout);
    if let Some(address) = peer._address.as_inet() {
        to_app.tried.push(*address);
    }
    // Nothing has been sent, so another address may be tried with any method.
    error.set_retry(app.upstreams.has_choice() && to_app.tried.len() < MAX_CONNECT_ATTEMPTS);
}
