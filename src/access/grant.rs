//! The right of a session to a new JWT: the refresh token from its cookie, and the rules that protect it.

use std::sync::Arc;

use crate::access::identity::Identity;
use crate::access::lifetime::{Age, Lifetimes};
use crate::access::numbers::ProviderNumber;
use crate::access::reason::Reason;
use crate::access::revocations::{Mark, Revocation, Revocations};
use crate::access::seal::{Seal, SessionRecord};
use crate::access::session_tables::SessionTables;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::config;

/// The rules that protect an app's sessions.
#[derive(Debug)]
pub struct SessionRules {
    /// The number of the identity provider.
    pub provider: ProviderNumber,
    /// Seals the refresh token's cookie, if there are keys.
    pub seal: Option<Seal>,
    /// A session is refreshed only together with its JWT.
    pub bind_refresh: bool,
    /// The lifetimes of sessions.
    pub lifetimes: Lifetimes,
}

/// A session's right to a new JWT, read from its cookie.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The refresh token.
    pub refresh_token: RefreshToken,
    /// The record that was sealed with it, if cookies are sealed.
    pub record: Option<SessionRecord>,
}

/// The genuine JWT of a session that needs a new one.
#[derive(Debug, Clone)]
pub struct Previous {
    /// The identity in the JWT.
    pub identity: Arc<Identity>,
    /// The JWT itself. One provider's refresh API needs it, too.
    pub access_token: AccessToken,
    /// It is still valid. If the refresh fails for a temporary reason, it stays in use.
    pub still_valid: bool,
    /// The revocation of the JWT or of its session. The refresh token beside the JWT may belong to another session.
    pub over: Option<Revocation>,
}

impl SessionRules {
    pub(super) fn new(app: &config::App, session: &config::Session, provider: ProviderNumber) -> Self {
        let seconds = |lifetime: Option<std::time::Duration>| lifetime.map(|lifetime| lifetime.as_secs());
        Self {
            provider,
            seal: Seal::new(&session.seal_keys, &app.name, &app.cookies.refresh_token),
            bind_refresh: session.bind_refresh,
            lifetimes: Lifetimes {
                absolute: seconds(session.absolute_lifetime),
                idle: seconds(session.idle_lifetime),
            },
        }
    }

    /// Opens a refresh token's cookie. Returns `None` if cookies are sealed and this one was not sealed here.
    pub fn open(&self, cookie: &str) -> Option<Grant> {
        match &self.seal {
            None => Some(Grant { refresh_token: RefreshToken::new(cookie), record: None }),
            Some(seal) => {
                let (refresh_token, record) = seal.open(cookie)?;
                Some(Grant { refresh_token, record: Some(record) })
            }
        }
    }

    /// Tells whether a JWT belongs to a refresh token. A sealed refresh token says which JWT was given together with
    /// it. That JWT was verified at that time, and its key may be gone by now.
    pub fn is_bound(&self, grant: &Grant, access_token: Option<&str>, previous: Option<&Previous>) -> bool {
        match &grant.record {
            None => previous.is_some(),
            Some(record) => {
                access_token.is_some_and(|token| Mark::token(self.provider, token) == record.access_token)
                    && previous.is_none_or(|previous| previous.identity.marks().subject == record.subject)
            }
        }
    }

    /// Returns the revocation of a refresh token's session, or of its subject.
    pub fn revocation(
        &self,
        record: &SessionRecord,
        revocations: &Revocations,
        now: u64,
    ) -> Option<Revocation> {
        revocations
            .of_session(Mark::sealed_session(self.provider, &record.id), now)
            .or_else(|| revocations.of_subject(record.subject, Some(record.started_at), now))
    }

    /// Refuses a refresh token whose cookie is valid, but whose session is over.
    pub(super) fn check_record(
        &self,
        record: &SessionRecord,
        memory: &SessionTables,
        now: u64,
    ) -> Result<(), Reason> {
        if let Some(revocation) = self.revocation(record, &memory.revocations, now) {
            return Err(Reason::Revoked(revocation));
        }
        let age = Age::from(record);
        Ok(memory.activities.lifetime(self.lifetimes, &age, now).check_request(now)?)
    }
}

impl From<&SessionRecord> for Age {
    fn from(record: &SessionRecord) -> Self {
        Self {
            id: record.id,
            started_at: record.started_at,
            renewed_at: record.renewed_at,
            usable_until: record.access_token_expires_at,
            is_provisional: false,
        }
    }
}
