//! A session's life: login, refresh, logout. The session itself is the pair of cookies in the browser; here is only
//! what happens to it.

mod body_format;
mod cookie_changes;
mod credentials;
mod expiring_table;
mod known_sites;
mod ledger;
mod login;
mod login_fields;
mod login_name;
mod login_turns;
mod logout;
mod open_stream_session;
mod refresh;
mod revoke;
mod set_cookie;
mod stranger_calls;
#[cfg(test)]
mod tests;
mod throttle;
mod token_family;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::warn;

use crate::access::decision::AppRules;
use crate::access::identity::Identity;
use crate::access::key_set::KeySet;
use crate::access::memory::Memory;
use crate::access::token::{self, TokenError, Verification};
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::config;
use crate::identity_provider::{ChallengeKind, Client, IdentityProvider, UnknownKeySource};
use crate::system::clock::Clock;
use crate::telemetry::metrics;

pub(crate) use crate::session::open_stream_session::WatchedSession;
pub use body_format::{BodyFormat, BodyKind, media_types};
pub(crate) use cookie_changes::{Asker, Brought, Change, NewCookies};
pub use credentials::parse as parse_credentials;
pub(crate) use login::{step, unavailable};
pub use revoke::Revoked;
pub use set_cookie::CookieWriter;

use cookie_changes::CookieChanges;
use known_sites::KnownSites;
use ledger::Ledger;
pub(crate) use ledger::SessionKey;
use login_turns::LoginTurns;
use stranger_calls::{StrangerCalls, UnknownSessionCalls};
use throttle::Throttle;

/// The app and the provider of a session.
#[derive(Debug)]
pub struct RelyingParty {
    /// The app's name, for logs and metrics.
    pub app: String,
    /// What the app's tokens must be like.
    pub rules: AppRules,
    /// The app's client.
    pub client: Client,
    /// The provider.
    pub provider: Arc<IdentityProvider>,
    /// How long a request waits for the provider.
    pub request_timeout: Duration,
    /// Calls to the provider at once, over all apps that use it.
    pub(crate) calls: Arc<ProviderCalls>,
}

/// Bounds the calls to one provider. Refreshes and logins do not take each other's places.
#[derive(Debug)]
pub(crate) struct ProviderCalls {
    refreshes: Semaphore,
    /// Refreshes with a refresh token that anyone may have made up.
    strangers: Arc<StrangerCalls>,
    /// Of the others those that this process does not know.
    unknown_sessions: Arc<UnknownSessionCalls>,
    logins: LoginTurns,
    revocations: FirstRevocations,
    /// Those of refresh tokens that anyone may have made up.
    stranger_revocations: FirstRevocations,
    /// Revocations that wait for another attempt.
    waiting_revocations: Semaphore,
}

/// Bounds revocations.
#[derive(Debug)]
struct FirstRevocations {
    /// At once.
    calls: Semaphore,
    /// Those that wait for their first attempt.
    queued: Semaphore,
}

impl FirstRevocations {
    fn new(calls: usize, queued: usize) -> Self {
        Self { calls: Semaphore::new(calls), queued: Semaphore::new(queued) }
    }
}

impl Default for ProviderCalls {
    fn default() -> Self {
        Self {
            refreshes: Semaphore::new(256),
            strangers: StrangerCalls::of_strangers(),
            unknown_sessions: UnknownSessionCalls::of_unknown_sessions(),
            logins: LoginTurns::default(),
            revocations: FirstRevocations::new(64, 16_384),
            stranger_revocations: FirstRevocations::new(8, 1024),
            waiting_revocations: Semaphore::new(1024),
        }
    }
}

/// Tokens that the provider gave and that were verified.
#[derive(Debug)]
pub struct Tokens {
    /// The JWT.
    pub access_token: AccessToken,
    /// A refresh token, if the provider gave one: with a refresh, absent means that the old one stays.
    pub refresh_token: Option<RefreshToken>,
    /// Whose they are.
    pub identity: Arc<Identity>,
    /// [`AppRules::generation`] of the rules that they were verified by.
    pub rules: u64,
}

/// Tokens that the provider gave at a refresh, whose JWT could not be verified then.
#[derive(Debug)]
pub struct UnverifiedTokens {
    access_token: AccessToken,
    /// The provider's new refresh token, if it rotated the old one: without it the session would be lost.
    pub refresh_token: Option<RefreshToken>,
}

/// How a refresh went, the same for all who waited for it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// There is a new JWT.
    Renewed(Arc<Tokens>),
    /// There is a new JWT that cannot be verified now: no identity, but the session is kept.
    Unverified(Arc<UnverifiedTokens>),
    /// The provider said that this grant is dead, or the session had been ended before.
    Dead,
    /// The session was ended here while it was being refreshed, or another login in the same browser took its place: the
    /// browser has been told elsewhere.
    Ended,
    /// The session is kept, but the provider wants another step of its user before it gives a new JWT.
    ActionRequired(ChallengeKind),
    /// Nothing is known: the session is kept.
    Unavailable,
    /// The same, and the provider wants to be left alone for so many seconds.
    Postponed(u64),
}

/// What a request gets out of a refresh.
#[derive(Debug)]
pub struct Refreshed {
    /// How it went.
    pub outcome: Outcome,
    /// The refresh token to go on with: the newest that is known, or the one that the request brought.
    pub refresh_token: RefreshToken,
}

/// What all sessions share.
#[derive(Debug)]
pub struct Sessions {
    clock: Arc<dyn Clock>,
    refresh_ahead: u64,
    ledger: Arc<Ledger>,
    cookie_changes: Arc<CookieChanges>,
    /// Logins of one user name and site that may wait for each other.
    max_waiting_logins: usize,
    known_sites: Arc<KnownSites>,
    throttle: Arc<Throttle>,
    memory: Arc<Memory>,
    /// Seconds for which the revocation of a session or a subject is kept.
    revocation_lifetime: u64,
}

impl Sessions {
    /// The sessions of a gateway with these settings.
    pub fn new(clock: Arc<dyn Clock>, memory: Arc<Memory>, config: &config::Config) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        Self {
            clock,
            refresh_ahead: refresh.ahead.as_secs(),
            ledger: Arc::new(Ledger::new(refresh.replay_window)),
            cookie_changes: Arc::default(),
            max_waiting_logins: limits.max_waiting_logins,
            known_sites: Arc::default(),
            throttle: Arc::new(Throttle::new(
                limits.failed_logins_per_name,
                limits.failed_logins_per_address,
            )),
            memory,
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }

    /// The same sessions with other settings. What is under way and what is remembered is shared with the old ones.
    pub(crate) fn with_settings(&self, config: &config::Config) -> Self {
        let (refresh, limits) = (&config.refresh, &config.server.limits);
        self.ledger.set_replay_window(refresh.replay_window);
        self.throttle.set_limits(limits.failed_logins_per_name, limits.failed_logins_per_address);
        Self {
            clock: Arc::clone(&self.clock),
            refresh_ahead: refresh.ahead.as_secs(),
            ledger: Arc::clone(&self.ledger),
            cookie_changes: Arc::clone(&self.cookie_changes),
            max_waiting_logins: limits.max_waiting_logins,
            known_sites: Arc::clone(&self.known_sites),
            throttle: Arc::clone(&self.throttle),
            memory: Arc::clone(&self.memory),
            revocation_lifetime: config.session.revocation_lifetime.as_secs(),
        }
    }
}

impl RelyingParty {
    /// Verifies a JWT that the provider has just answered with. If it names an unknown key, the keys are fetched first.
    async fn verify_new(&self, access_token: &str, now: u64) -> Result<Arc<Identity>, TokenError> {
        match self.verify(access_token, &self.provider.key_set(), now) {
            Err(TokenError::UnknownKey)
                if self.provider.fetch_unknown_key(UnknownKeySource::TokenAnswer).await =>
            {
                self.verify(access_token, &self.provider.key_set(), now)
            }
            result => result,
        }
    }

    fn verify(&self, access_token: &str, keys: &KeySet, now: u64) -> Result<Arc<Identity>, TokenError> {
        let Verification { claims, validity } = token::verify(access_token, &self.rules.token, keys, now)?;
        self.compare_clocks(claims.issued_at(), now);
        validity.check()?;
        let identity = Identity::new(claims, &self.rules.identity)?;
        self.tell_omissions(&identity);
        Ok(Arc::new(identity))
    }

    /// Warns of what the app is not told: it may take the absence for a fact.
    fn tell_omissions(&self, identity: &Identity) {
        let (app, subject) = (&self.app, identity.subject());
        for omission in identity.omissions() {
            warn!(app, subject, %omission, "the app is not told all that the JWT says");
            metrics::count_omission(app);
        }
    }

    /// Warns where the provider's clock is ahead by more than `leeway`, be its JWTs taken or not.
    fn compare_clocks(&self, issued_at: Option<u64>, now: u64) {
        let ahead = issued_at.map_or(0, |issued_at| issued_at.saturating_sub(now));
        if ahead > self.rules.token.leeway && self.provider.may_warn_of_clock(now) {
            let provider = self.provider.name();
            warn!(
                provider,
                seconds_ahead = ahead,
                "the provider's clock is ahead of ours: synchronise both (NTP)"
            );
        }
    }
}
