//! Whether a session still lives, asked by what outlives its request: an open WebSocket or event stream.

use std::sync::Arc;

use crate::access::identity::Identity;
use crate::access::lifetime::Lifetime;
use crate::access::revocations::{Mark, Revocation};
use crate::session::{SessionContext, SessionKey, Sessions};

/// A session as a stream began with it.
#[derive(Debug)]
pub(crate) struct WatchedSession {
    /// Its app.
    pub(crate) app: Arc<SessionContext>,
    /// Whose it is.
    pub(crate) identity: Arc<Identity>,
    /// Its refresh token, by which a later JWT is found.
    pub(crate) key: Option<SessionKey>,
    /// Its own id, where cookies are sealed.
    pub(crate) id: Option<[u8; 16]>,
    /// Its ends.
    pub(crate) lifetime: Lifetime,
}

impl Sessions {
    /// Whether a request of the session would still get through: it was not revoked, has not outlived itself, and its
    /// JWT, or one that it was refreshed to meanwhile, is valid. A stream cannot bring new cookies to the browser, so
    /// nothing is refreshed for it.
    pub(crate) fn lives(&self, session: &WatchedSession) -> bool {
        let WatchedSession { app, identity, key, id, lifetime } = session;
        let now = self.clock.now();
        let revocations = &self.memory.revocations;
        let is_revoked = match revocations.of_token(identity.marks(), identity.issued_at(), now) {
            Some(Revocation::Session { .. }) => true,
            // Without a refresh token the JWT is all there is of the session.
            Some(Revocation::Token) => key.is_none(),
            None => id.is_some_and(|id| {
                let mark = Mark::sealed_session(app.rules.session.provider, &id);
                revocations.of_session(mark, now).is_some()
            }),
        };
        let has_ended = key.is_some_and(|key| self.ledger.has_ended(key));
        let newest = key.and_then(|key| self.ledger.valid_until(key)).unwrap_or_default();
        let usable_until = newest.max(identity.expires_at()).saturating_add(app.rules.token.leeway);
        !is_revoked && !has_ended && now < usable_until && lifetime.check(now).is_ok()
    }
}
