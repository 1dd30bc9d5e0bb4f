//! WebSockets and event streams: ended within two seconds once their session is over.
//!
//! Nothing here is on the way of an ordinary request. Each open stream's session is looked at again and again with the
//! eyes of a request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{StatusCode, header};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::access::assessment::SessionAtHand;
use crate::connection::end_reason::EndReason;
use crate::connection::exchange_control::ExchangeHandle;
use crate::gateway::context::Context;
use crate::gateway::current_state::CurrentState;
use crate::gateway::state::{App, State};
use crate::session::{Sessions, StreamSession};
use crate::syntax::grpc::calls_itself_grpc;

/// How often sessions are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// Every open stream of a session. Bounded by the connections there are.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    streams: Mutex<Vec<OpenStream>>,
}

#[derive(Debug)]
struct OpenStream {
    exchange: ExchangeHandle,
    session: StreamSession,
}

impl OpenStreams {
    fn add(&self, stream: OpenStream) {
        self.with(|streams| streams.push(stream));
    }

    /// Forgets streams that are over, and ends those whose session is. Returns how many it ended.
    fn review(&self, lives: impl Fn(&StreamSession) -> bool) -> usize {
        self.with(|streams| {
            streams.retain(|stream| !stream.exchange.is_over());
            let open = streams.len();
            streams.retain(|stream| lives(&stream.session) || !stream.exchange.end(EndReason::SessionEnded));
            // What a crowd left behind is given back.
            if streams.capacity() > 4 * streams.len().max(256) {
                streams.shrink_to_fit();
            }
            open - streams.len()
        })
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.with(|streams| streams.iter().filter(|stream| !stream.exchange.is_over()).count())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<OpenStream>) -> T) -> T {
        act(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends streams whose session is over, until nothing is served any more.
pub(crate) async fn run(current: Arc<CurrentState>, mut is_over: watch::Receiver<bool>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = is_over.wait_for(|is_over| *is_over) => return,
        }
        let state = current.load();
        let streams = state.open_streams.review(|session| state.sessions.lives(session));
        if streams > 0 {
            info!(streams, "ended, since their sessions are over");
        }
    }
}

/// Watches the session behind a response that may go on for long.
pub(super) fn watch_response(
    state: &State,
    app: &App,
    session: &Session,
    response: &ResponseHeader,
    context: &Context,
) {
    if is_stream(response) && !context.is_watched {
        watch(state, app, session, context);
    }
}

/// Watches the session behind an exchange from now on.
pub(super) fn watch(state: &State, app: &App, session: &Session, context: &Context) {
    let Some((identity, connection)) = context.identity.as_ref().zip(context.connection.as_ref()) else {
        return;
    };
    let headers = &session.req_header().headers;
    let SessionAtHand { grant, lifetime } =
        state.with_knowledge(app, false, |known| SessionAtHand::read(app.rules(), headers, identity, known));
    // Where it was refreshed for this very request, the newest refresh token is known already.
    let presented = grant.as_ref().map(|grant| Sessions::key(&app.relying_party, &grant.refresh_token));
    let session = StreamSession {
        relying_party: Arc::clone(&app.relying_party),
        identity: Arc::clone(identity),
        key: context.session_key.or(presented),
        id: grant.and_then(|grant| grant.record).map(|record| record.id),
        lifetime,
    };
    state.open_streams.add(OpenStream { exchange: connection.exchange(), session });
}

/// An upgraded connection, an event stream, or a gRPC call.
fn is_stream(response: &ResponseHeader) -> bool {
    let is_of = |kind: &[u8]| {
        let content_type = response.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        content_type
            .and_then(|value| value.get(..kind.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || is_of(b"text/event-stream")
        || calls_itself_grpc(&response.headers)
}
