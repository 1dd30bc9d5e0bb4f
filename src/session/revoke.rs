//! Revocation: somebody other than the browser ends sessions and JWTs.

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::numbers::ProviderNumber;
use crate::access::revocations::{EndedBy, Mark, Revocation};
use crate::session::relying_party::RelyingParty;
use crate::session::reuse_detection::Jwt;
use crate::session::sessions::Sessions;
use crate::session::shared_state::values::NewRevocation;

/// The number of seconds after its expiry for which a JWT may become valid again, because our clock may be set back.
const MAX_STEP: u64 = 600;

/// The sessions that a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked<'a> {
    /// One session of the provider, by claim `sid`.
    Session {
        /// Claim `sid`.
        sid: &'a str,
        /// JWTs issued up to this time are revoked. The session is revoked as well if it is known to have begun by
        /// then. `None` revokes the session and all its JWTs, regardless of the time.
        issued_until: Option<u64>,
    },
    /// One JWT, by claim `jti`. Its session goes on if it can be refreshed.
    Token(&'a str),
    /// The sessions of a subject whose JWTs were issued at or before a time (Unix seconds).
    Subject {
        /// Claim `sub`.
        subject: &'a str,
        /// It is compared with `iat`. If cookies are sealed, it is also compared with the beginning of a session.
        issued_until: u64,
    },
}

impl Sessions {
    /// Revokes sessions or a JWT. From now on no request is accepted with them, and their open streams end. `provider`
    /// is the number of the identity provider.
    pub async fn revoke(&self, provider: ProviderNumber, revoked: &Revoked<'_>) {
        let now = self.clock.now();
        self.shared.revoke(self.new_revocation(provider, revoked, now), now).await;
    }

    /// Revokes sessions for a logout token, as [`Self::revoke`] does. If the token came before, it does nothing, because
    /// a repeated token must not end sessions that began after its first use. `counts_until` is the time until which the
    /// token counts, in Unix seconds.
    ///
    /// Both changes are one operation. If the token were recorded first, and the request were dropped before the
    /// revocation, the provider's second attempt would do nothing.
    pub(crate) async fn revoke_once(
        &self,
        provider: ProviderNumber,
        (logout_token, counts_until): (&str, u64),
        revoked: &Revoked<'_>,
    ) {
        let now = self.clock.now();
        let revocation = self.new_revocation(provider, revoked, now);
        let once = Mark::logout_token(provider, logout_token);
        self.shared.revoke_once(once, counts_until, revocation, now).await;
    }

    fn new_revocation(&self, provider: ProviderNumber, revoked: &Revoked<'_>, now: u64) -> NewRevocation {
        let kept_until = self.kept_until(provider, now);
        let (mark, issued_until) = match *revoked {
            Revoked::Session { sid, issued_until } => {
                (Mark::session(provider, sid), issued_until.unwrap_or(u64::MAX))
            }
            Revoked::Token(jti) => (Mark::token_id(provider, jti), u64::MAX),
            Revoked::Subject { subject, issued_until } => (Mark::subject(provider, subject), issued_until),
        };
        NewRevocation { mark, issued_until, by: EndedBy::Revocation, kept_until }
    }

    /// Returns the time until which a revocation is kept. It is kept for the configured time, and at least as long as
    /// JWTs of the provider may be in use.
    fn kept_until(&self, provider: ProviderNumber, now: u64) -> u64 {
        now.saturating_add(self.revocation_lifetime).max(self.memory.revocations.horizon(provider, now))
    }

    /// Returns the number of revocations that are kept now.
    pub(crate) fn revocations(&self) -> usize {
        self.memory.revocations.len()
    }

    /// Returns the revocation of the new JWT of a refresh, or of the session that was refreshed. `previous` is the old
    /// JWT, if it belongs to this session.
    pub(super) fn revocation(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        previous: Option<&Previous>,
        new: &Identity,
    ) -> Option<Revocation> {
        let (revocations, now) = (&self.memory.revocations, self.clock.now());
        let of_grant = grant
            .record
            .as_ref()
            .and_then(|record| relying_party.rules.session.revocation(record, revocations, now));
        // The new JWT may be newer than the revocation of the old one.
        let age = self.age(relying_party, grant, previous);
        let of_previous = || {
            let previous = previous.filter(|previous| self.may_belong(relying_party, grant, previous))?;
            let identity = &previous.identity;
            revocations.of_token(identity.marks(), identity.issued_at().or(age), now)
        };
        let of_session =
            of_grant.or_else(|| of_previous().filter(|revocation| *revocation != Revocation::Token));
        of_session
            .or_else(|| revocations.of_session_since(new.marks(), age, now))
            .or_else(|| self.revocation_of(new))
    }

    /// Tells whether an old JWT may belong to the session of a refresh token. If the beginning of the session is known,
    /// its JWTs are known as well.
    fn may_belong(&self, relying_party: &RelyingParty, grant: &Grant, previous: &Previous) -> bool {
        if grant.record.is_some() {
            return relying_party.rules.session.is_bound(
                grant,
                Some(previous.access_token.as_str()),
                Some(previous),
            );
        }
        let key = Self::key(relying_party, &grant.refresh_token);
        let token = previous.identity.marks().token;
        self.replay_window.started_at(key).is_none()
            || self.replay_window.has_jwt(key, |(marks, _)| marks.token == token)
    }

    /// Returns a time (Unix seconds) at which a session began, or certainly existed already. Returns `None` if no such
    /// time is known.
    pub(super) fn age(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        previous: Option<&Previous>,
    ) -> Option<u64> {
        let sealed = grant.record.map(|record| record.started_at);
        let begun = || self.replay_window.started_at(Self::key(relying_party, &grant.refresh_token));
        sealed.or_else(begun).or_else(|| previous?.identity.issued_at())
    }

    /// Tells whether a JWT is revoked now.
    pub(crate) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revocation_of(identity).is_some()
    }

    pub(super) fn revocation_of(&self, identity: &Identity) -> Option<Revocation> {
        self.memory.revocations.of_token(identity.marks(), identity.issued_at(), self.clock.now())
    }

    /// Revokes a JWT. If it names its session, revokes the whole session.
    pub(super) async fn revoke_jwt(
        &self,
        relying_party: &RelyingParty,
        (marks, expires_at): Jwt,
        by: EndedBy,
    ) {
        if let Some(session) = marks.session {
            return self.revoke_mark(relying_party.rules.token.provider, session, by).await;
        }
        let now = self.clock.now();
        let usable_until = expires_at.saturating_add(relying_party.rules.token.leeway).saturating_add(1);
        if now < usable_until.saturating_add(MAX_STEP) {
            let kept_until = usable_until.max(now.saturating_add(MAX_STEP));
            self.shared.revoke(NewRevocation::of(marks.token, by, kept_until), now).await;
        }
    }

    pub(super) async fn revoke_mark(&self, provider: ProviderNumber, session: Mark, by: EndedBy) {
        let now = self.clock.now();
        let kept_until = self.kept_until(provider, now);
        self.shared.revoke(NewRevocation::of(session, by, kept_until), now).await;
    }
}
