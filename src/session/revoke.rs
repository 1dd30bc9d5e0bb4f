//! Revocation: what somebody else than the browser has ended.

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::numbers::ProviderNumber;
use crate::access::revocations::{EndedBy, Mark, Revocation};
use crate::session::relying_party::RelyingParty;
use crate::session::reuse_detection::Jwt;
use crate::session::sessions::Sessions;
use crate::session::shared_state::values::NewRevocation;

/// A JWT that has expired by so many seconds may come to be valid again: our clock may have been ahead.
const MAX_STEP: u64 = 600;

/// The sessions that a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked<'a> {
    /// The provider's session: claim `sid`.
    Session {
        /// Claim `sid`.
        sid: &'a str,
        /// Compared with `iat`, and with the beginning of a session where that is known; `None`: all of it, whenever issued.
        issued_until: Option<u64>,
    },
    /// One JWT: claim `jti`. Its session goes on where it can be refreshed.
    Token(&'a str),
    /// Sessions of a subject whose JWT was issued at or before this time (Unix seconds).
    Subject {
        /// Claim `sub`.
        subject: &'a str,
        /// Compared with `iat`, and with the beginning of a session where cookies are sealed.
        issued_until: u64,
    },
}

impl Sessions {
    /// Revokes: from now on no request gets through with it, and open streams end. `provider`: the number of the
    /// identity provider.
    pub async fn revoke(&self, provider: ProviderNumber, revoked: &Revoked<'_>) {
        let now = self.clock.now();
        let kept_until = self.kept_until(provider, now);
        let (mark, issued_until) = match *revoked {
            Revoked::Session { sid, issued_until } => {
                (Mark::session(provider, sid), issued_until.unwrap_or(u64::MAX))
            }
            Revoked::Token(jti) => (Mark::token_id(provider, jti), u64::MAX),
            Revoked::Subject { subject, issued_until } => (Mark::subject(provider, subject), issued_until),
        };
        let revocation = NewRevocation { mark, issued_until, by: EndedBy::Revocation, kept_until };
        self.shared.revoke(revocation, now).await;
    }

    /// Notes a logout token; `false`: it came before. One that comes again must not end what began since. `kept_until`: until
    /// when it would count, in Unix seconds.
    pub(crate) async fn is_first_logout_token(
        &self,
        provider: ProviderNumber,
        token: &str,
        kept_until: u64,
    ) -> bool {
        let now = self.clock.now();
        self.shared.is_first(Mark::logout_token(provider, token), kept_until, now).await
    }

    /// Returns the time until which a revocation is kept: as is set, and no less than JWTs of the provider may be about.
    fn kept_until(&self, provider: ProviderNumber, now: u64) -> u64 {
        now.saturating_add(self.revocation_lifetime).max(self.memory.revocations.horizon(provider, now))
    }

    /// Returns the number of revocations that are kept now.
    pub(crate) fn revocations(&self) -> usize {
        self.memory.revocations.len()
    }

    /// Returns the revocation of what a refresh brought: of the new JWT, or of the session that it was asked for. `previous`: the old
    /// JWT, where it is of this session.
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
        // The new JWT may be of another time than what revoked the one before.
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

    /// Says that an old JWT may be one of the session of a refresh token. Where it is known when that began, its JWTs are as well.
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

    /// Returns a time at which a session certainly existed already, or began, in Unix seconds. `None`: nothing tells.
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

    /// Says that a JWT is revoked now.
    pub(crate) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revocation_of(identity).is_some()
    }

    pub(super) fn revocation_of(&self, identity: &Identity) -> Option<Revocation> {
        self.memory.revocations.of_token(identity.marks(), identity.issued_at(), self.clock.now())
    }

    /// Revokes a JWT with its session, where it names one, or else alone.
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
