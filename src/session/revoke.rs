//! Revocation: what somebody else than the browser has ended.

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Mark, Revocation};
use crate::session::relying_party::RelyingParty;
use crate::session::reuse_detection::Jwt;
use crate::session::sessions::Sessions;

/// A JWT that has expired by so many seconds may come to be valid again: our clock may have been ahead.
const MAX_STEP: u64 = 600;

/// Whose sessions end.
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
    pub fn revoke(&self, provider: usize, revoked: &Revoked<'_>) {
        let now = self.clock.now();
        let kept_until = self.kept_until(provider, now);
        let revocations = &self.memory.revocations;
        match *revoked {
            Revoked::Session { sid, issued_until } => {
                let issued_until = issued_until.unwrap_or(u64::MAX);
                revocations.revoke_until(Mark::session(provider, sid), issued_until, kept_until, now);
            }
            Revoked::Token(jti) => {
                revocations.revoke(Mark::token_id(provider, jti), EndedBy::Revocation, kept_until, now);
            }
            Revoked::Subject { subject, issued_until } => {
                let subject = Mark::subject(provider, subject);
                revocations.revoke_until(subject, issued_until, kept_until, now);
            }
        }
    }

    /// Whether a logout token comes for the first time. One that comes again must not end what began since. `kept_until`: until
    /// when it would count, in Unix seconds.
    pub(crate) fn is_first_logout_token(&self, provider: usize, token: &str, kept_until: u64) -> bool {
        let now = self.clock.now();
        self.memory.revocations.is_first(Mark::logout_token(provider, token), kept_until, now)
    }

    /// Until when a revocation is kept: as is set, and no less than JWTs of the provider may be about.
    fn kept_until(&self, provider: usize, now: u64) -> u64 {
        now.saturating_add(self.revocation_lifetime).max(self.memory.revocations.horizon(provider, now))
    }

    /// How many revocations are kept now.
    pub(crate) fn revocations(&self) -> usize {
        self.memory.revocations.len()
    }

    /// Whether what a refresh brought was revoked: the new JWT, or the session that it was asked for. `previous`: the old
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

    /// Whether an old JWT may be one of the session of a refresh token. Where it is known when that began, its JWTs are as well.
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
        self.ledger.started_at(key).is_none() || self.ledger.has_jwt(key, |(marks, _)| marks.token == token)
    }

    /// When a session certainly existed already, or began, in Unix seconds. `None`: nothing tells.
    pub(super) fn age(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        previous: Option<&Previous>,
    ) -> Option<u64> {
        let sealed = grant.record.map(|record| record.started_at);
        let begun = || self.ledger.started_at(Self::key(relying_party, &grant.refresh_token));
        sealed.or_else(begun).or_else(|| previous?.identity.issued_at())
    }

    /// Whether a JWT is revoked now.
    pub(crate) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revocation_of(identity).is_some()
    }

    pub(super) fn revocation_of(&self, identity: &Identity) -> Option<Revocation> {
        self.memory.revocations.of_token(identity.marks(), identity.issued_at(), self.clock.now())
    }

    /// Revokes a JWT with its session, where it names one, or else alone.
    pub(super) fn revoke_jwt(&self, relying_party: &RelyingParty, (marks, expires_at): Jwt, by: EndedBy) {
        if let Some(session) = marks.session {
            return self.revoke_mark(relying_party.rules.token.provider, session, by);
        }
        let now = self.clock.now();
        let usable_until = expires_at.saturating_add(relying_party.rules.token.leeway).saturating_add(1);
        if now < usable_until.saturating_add(MAX_STEP) {
            let kept_until = usable_until.max(now.saturating_add(MAX_STEP));
            self.memory.revocations.revoke(marks.token, by, kept_until, now);
        }
    }

    pub(super) fn revoke_mark(&self, provider: usize, session: Mark, by: EndedBy) {
        let now = self.clock.now();
        let kept_until = self.kept_until(provider, now);
        self.memory.revocations.revoke(session, by, kept_until, now);
    }
}
