//! The session of an open WebSocket or event stream. The stream outlives its request, so it keeps asking whether its
//! session has ended.

use std::sync::Arc;

use crate::access::identity::Identity;
use crate::access::lifetime::Lifetime;
use crate::access::revocations::{Mark, Revocation};
use crate::session::relying_party::RelyingParty;
use crate::session::reuse_detection::Jwt;
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;

/// The session that a stream began with.
#[derive(Debug)]
pub(crate) struct StreamSession {
    /// Its app, as its provider's client.
    pub(crate) relying_party: Arc<RelyingParty>,
    /// The identity of its user.
    pub(crate) identity: Arc<Identity>,
    /// The key of its refresh token. A later JWT of the session is found by it.
    pub(crate) key: Option<SessionKey>,
    /// Its id, if cookies are sealed.
    pub(crate) id: Option<[u8; 16]>,
    /// The times at which it ends.
    pub(crate) lifetime: Lifetime,
}

impl Sessions {
    /// Tells whether a request of the session would still be accepted. The session must not have been revoked, and must
    /// not have exceeded its lifetime. Its JWT must be valid, or a JWT from a later refresh. A stream cannot bring new
    /// cookies to the browser, so nothing is refreshed for it.
    pub(crate) fn lives(&self, session: &StreamSession) -> bool {
        let StreamSession { relying_party, identity, key, id, lifetime } = session;
        let now = self.clock.now();
        let revocations = &self.memory.revocations;
        let is_unexpired =
            |expires_at: u64| now < expires_at.saturating_add(relying_party.rules.token.leeway);
        let of_sealed = id.and_then(|id| {
            revocations.of_session(Mark::sealed_session(relying_party.rules.session.provider, &id), now)
        });
        let of_jwt = revocations.of_token(identity.marks(), identity.issued_at(), now);
        let is_revoked = of_sealed.is_some() || matches!(of_jwt, Some(Revocation::Session(_)));
        if is_revoked
            || lifetime.check(now).is_err()
            || key.is_some_and(|key| self.replay_window.has_ended(key))
        {
            return false;
        }
        let is_good = of_jwt.is_none() && is_unexpired(identity.expires_at());
        // The refresh token beside a stolen JWT may belong to the thief's own session.
        let is_successor = |(marks, expires_at): &Jwt| {
            marks.is_same_session(identity.marks())
                && is_unexpired(*expires_at)
                && revocations.of_token(marks, None, now) != Some(Revocation::Token)
        };
        is_good || key.is_some_and(|key| self.replay_window.has_jwt(key, is_successor))
    }
}

#[cfg(test)]
mod tests {
    use crate::access::numbers::testing::PROVIDER;
    use serde_json::json;

    use super::*;
    use crate::access::testing::NOW;
    use crate::access::tokens::RefreshToken;
    use crate::answer::reason::ReasonCode;
    use crate::session::outcome::Outcome;
    use crate::session::revoke::Revoked;
    use crate::session::tests::harness::{Harness, grant};

    /// A stream that began with what this refresh brought, and with this refresh token beside it.
    async fn stream(harness: &Harness, refresh_token: &str, beside: &str) -> StreamSession {
        let Outcome::Renewed(tokens) = harness.refresh(refresh_token, None).await else { panic!("no JWT") };
        StreamSession {
            relying_party: Arc::clone(&harness.app),
            identity: Arc::clone(&tokens.identity),
            key: Some(Sessions::key(&harness.app, &RefreshToken::new(beside))),
            id: None,
            lifetime: Lifetime::UNLIMITED,
        }
    }

    fn jwt(harness: &Harness, subject: &str, jti: &str, expires_in: u64, next: &str) -> String {
        let claims = json!({"sub": subject, "jti": jti, "iat": NOW, "exp": NOW + expires_in});
        harness.tokens(&claims, Some(next))
    }

    #[tokio::test]
    async fn it_lives_on_with_the_jwts_of_its_own_session_only() {
        let harness = Harness::start().await;
        harness.script_tokens(vec![
            jwt(&harness, "alice", "a1", 20, "a2"),
            jwt(&harness, "mallory", "m1", 300, "m2"),
            jwt(&harness, "alice", "a2", 300, "a3"),
        ]);
        let own = stream(&harness, "a1", "a1").await;
        let stolen = StreamSession {
            relying_party: Arc::clone(&own.relying_party),
            identity: Arc::clone(&own.identity),
            key: Some(Sessions::key(&harness.app, &RefreshToken::new("m1"))),
            id: None,
            lifetime: Lifetime::UNLIMITED,
        };
        harness.refresh("m1", None).await;
        harness.refresh("a2", None).await;
        assert!(harness.sessions.lives(&own) && harness.sessions.lives(&stolen));
        harness.clock.advance(100);
        assert!(harness.sessions.lives(&own));
        assert!(!harness.sessions.lives(&stolen), "a refresh of the thief's own session");
        harness.sessions.revoke(PROVIDER, &Revoked::Token("a2")).await;
        assert!(!harness.sessions.lives(&own), "its last JWT was revoked");
    }

    #[tokio::test]
    async fn a_made_up_refresh_token_keeps_no_revoked_jwt_alive() {
        let harness = Harness::start().await;
        harness.script_tokens(vec![jwt(&harness, "alice", "a1", 300, "a2")]);
        let stolen = stream(&harness, "a1", "made up").await;
        assert!(harness.sessions.lives(&stolen));
        harness.logout("a2").await;
        assert!(!harness.sessions.lives(&stolen));
    }

    #[tokio::test]
    async fn it_ends_with_its_session_however_often_that_was_refreshed_since() {
        let harness = Harness::start().await;
        let next =
            |number: u64| jwt(&harness, "alice", &format!("a{number}"), 300, &format!("a{}", number + 1));
        harness.script_tokens((0..20).map(next).collect());
        let early = stream(&harness, "a0", "a0").await;
        for number in 1..20 {
            harness.refresh(&format!("a{number}"), None).await;
        }
        assert!(harness.sessions.lives(&early));
        harness.sessions.expire(&harness.app, &grant("a20"), ReasonCode::IdleLifetime).await;
        assert!(!harness.sessions.lives(&early));
    }
}
