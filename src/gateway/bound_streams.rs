//! Binds WebSockets and event streams to their sessions. A stream ends within two seconds after the end of its session.
//!
//! This work is not part of an ordinary request. The session of each open stream is checked again and again, in the
//! same way as for a request.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::access::identity::Identity;
use crate::access::presented_session::SessionAtHand;
use crate::gateway::context::Arrival;
use crate::gateway::state::{App, CurrentState};
use crate::session::{SessionKey, Sessions, StreamSession};

/// The time between two reviews of the sessions.
const INTERVAL: Duration = Duration::from_millis(500);

/// Ends the streams whose session is over. Runs until the gateway serves nothing any more.
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

/// Binds an exchange to its session from now on. If the session was refreshed for this request, `session_key` is the
/// key of the newest refresh token.
pub(super) fn bind(
    arrival: &Arrival,
    app: &App,
    identity: Option<&Arc<Identity>>,
    session_key: Option<SessionKey>,
    headers: &HeaderMap,
) {
    let Some((identity, connection)) = identity.zip(arrival.connection.as_ref()) else { return };
    let state = &arrival.state;
    let SessionAtHand { grant, lifetime } =
        state.with_knowledge(app, false, |known| SessionAtHand::read(app.rules(), headers, identity, known));
    let presented = grant.as_ref().map(|grant| Sessions::key(&app.relying_party, &grant.refresh_token));
    let session = StreamSession {
        relying_party: Arc::clone(&app.relying_party),
        identity: Arc::clone(identity),
        key: session_key.or(presented),
        id: grant.and_then(|grant| grant.record).map(|record| record.id),
        lifetime,
    };
    state.open_streams.add(connection.exchange(), session);
}
