//! Refresh: one call to the provider for any number of requests, and one outcome for all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, warn};
use zeroize::Zeroizing;

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::memory::Memory;
use crate::access::revocations::Revocation;
use crate::access::token::TokenError;
use crate::identity_provider::{REFRESH_READ_LIMIT, RefreshError, TokenSet};
use crate::reason::ReasonCode;
use crate::session::ledger::{Ledger, SessionKey, Turn};
use crate::session::logout::spawn_revocation;
use crate::session::{Outcome, Refreshed, SessionContext, Sessions, Tokens, UnverifiedTokens, login};
use crate::telemetry::audit::{self, Event};
use crate::telemetry::metrics::{Held, METRICS};
use crate::telemetry::traces;

/// Refreshes that one request follows from an old refresh token to the newest one.
const MAX_HOPS: usize = 8;

/// How long a request whose JWT is still valid waits for a new one. The call goes on, and a later request gets its outcome.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

impl Sessions {
    /// Gets a new JWT for a session. `previous`: the old JWT, if it is genuine; it says whose session it is.
    ///
    /// Many may ask for the same token: one calls the provider, and the call runs to its end even if nobody waits any
    /// more, since a rotated token would be lost with it. For the replay window the outcome is told again to those who
    /// still bring the old token.
    pub async fn refresh(
        &self,
        app: &Arc<SessionContext>,
        grant: &Grant,
        previous: Option<&Previous>,
    ) -> Refreshed {
        let early = previous.is_some_and(|previous| previous.still_valid);
        let patience = if early { EARLY_PATIENCE.min(app.request_timeout) } else { app.request_timeout };
        let mut newest = grant.refresh_token.clone();
        let waiting = timeout(patience, self.follow(app, grant, &mut newest, previous, early));
        let outcome = waiting.await.unwrap_or(Outcome::Unavailable);
        let outcome = self.by_rules_of(app, outcome).await;
        let Outcome::Renewed(tokens) = &outcome else { return Refreshed { outcome, refresh_token: newest } };
        let (provider, client) = (app.provider.name(), &app.client.id);
        // A JWT of somebody else is refused, whoever asked for it first.
        if is_of_another(app, grant, previous, &tokens.identity) {
            error!(
                provider,
                client, "the provider's JWT was refused at a refresh: another subject or session"
            );
            audit::record(Event::RefreshRefused, ReasonCode::AnotherSubject, app, None);
            return Refreshed { outcome: Outcome::Unavailable, refresh_token: grant.refresh_token.clone() };
        }
        // What was revoked while this request waited, or since the outcome was recorded.
        match self.revocation(app, grant, previous, &tokens.identity) {
            None => Refreshed { outcome, refresh_token: newest },
            Some(Revocation::Token) => {
                let subject = Some(tokens.identity.subject());
                audit::record(Event::RefreshRefused, ReasonCode::TokenRevoked, app, subject);
                Refreshed { outcome: Outcome::Unavailable, refresh_token: newest }
            }
            Some(Revocation::Session { is_replaced }) => {
                let reason = if is_replaced { ReasonCode::Replaced } else { ReasonCode::Revoked };
                self.expire(app, &Grant { refresh_token: newest.clone(), record: grant.record }, reason);
                let outcome = if is_replaced { Outcome::Ended } else { Outcome::Dead };
                Refreshed { outcome, refresh_token: newest }
            }
        }
    }

    /// An outcome of before the app's rules changed is told again only as far as the new ones permit.
    async fn by_rules_of(&self, app: &SessionContext, outcome: Outcome) -> Outcome {
        let tokens = match outcome {
            Outcome::Renewed(tokens) if tokens.rules != app.rules.generation => tokens,
            outcome => return outcome,
        };
        let access_token = tokens.access_token.clone();
        let refresh_token = tokens.refresh_token.clone();
        match app.verify_new(&access_token, self.clock.now()).await {
            Ok(identity) => {
                let rules = app.rules.generation;
                Outcome::Renewed(Arc::new(Tokens { access_token, refresh_token, identity, rules }))
            }
            Err(error) => {
                let (provider, client) = (app.provider.name(), &app.client.id);
                warn!(provider, client, %error, "a JWT was refused at a refresh: the app's rules have changed");
                Outcome::Unverified(Arc::new(UnverifiedTokens { access_token, refresh_token }))
            }
        }
    }

    /// Follows a refresh token to its newest successor, which `token` is in the end, and to the outcome of that.
    async fn follow(
        &self,
        app: &Arc<SessionContext>,
        grant: &Grant,
        token: &mut Zeroizing<String>,
        previous: Option<&Previous>,
        early: bool,
    ) -> Outcome {
        let mut fallback = Outcome::Unavailable;
        for _ in 0..MAX_HOPS {
            let key = SessionKey::new(app.rules.sessions, token);
            match self.ledger.take_turn(key, |outcome| self.is_usable(outcome, token, early)) {
                Turn::Call(sender) => {
                    let mut waiter = sender.subscribe();
                    let call = self.call(app, token, previous);
                    let call = async move {
                        let outcome = call.run(key).await;
                        sender.send_replace(Some(outcome));
                    };
                    let call = traces::under(traces::parent(), call);
                    tokio::spawn(audit::caused_by(audit::cause(), call));
                    return wait(&mut waiter).await.settle(token, fallback);
                }
                Turn::Wait(mut waiter) => {
                    METRICS.refresh_waits.with_label_values(&[&app.app]).inc();
                    let _span = traces::waiting("wait for refresh");
                    return wait(&mut waiter).await.settle(token, fallback);
                }
                Turn::Known(Outcome::Renewed(tokens)) => {
                    let Some(successor) = self.successor(app, &tokens, token) else {
                        METRICS.replays.with_label_values(&[&app.app]).inc();
                        return Outcome::Renewed(tokens).settle(token, fallback);
                    };
                    // The old token is known to have a successor: its own fate counts.
                    *token = successor;
                    if self.clock.now() < tokens.identity.expires_at() {
                        fallback = Outcome::Renewed(tokens);
                    }
                }
                Turn::Known(Outcome::Unverified(tokens)) => {
                    if let Some(outcome) = self.verify_again(app, key, &tokens).await {
                        return outcome.settle(token, fallback);
                    }
                    if let Some(successor) = &tokens.refresh_token {
                        token.clone_from(successor);
                    }
                }
                Turn::Known(outcome) => return outcome.settle(token, fallback),
                Turn::Replaced(newest) => *token = newest,
                Turn::Reused(newest) => {
                    self.end_reused(app, grant, &newest, previous);
                    return Outcome::Dead;
                }
            }
        }
        let (provider, client) = (app.provider.name(), &app.client.id);
        warn!(provider, client, "a refresh token has too many successors");
        Outcome::Unavailable
    }

    fn call(
        &self,
        app: &Arc<SessionContext>,
        token: &Zeroizing<String>,
        previous: Option<&Previous>,
    ) -> Call {
        Call {
            app: Arc::clone(app),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            memory: Arc::clone(&self.memory),
            refresh_token: token.clone(),
            old_jwt: previous.map(|previous| previous.access_token.clone()),
        }
    }

    /// The provider's keys may be known by now.
    async fn verify_again(
        &self,
        app: &SessionContext,
        key: SessionKey,
        tokens: &UnverifiedTokens,
    ) -> Option<Outcome> {
        let identity = app.verify_new(&tokens.access_token, self.clock.now()).await.ok()?;
        let access_token = tokens.access_token.clone();
        let tokens = Tokens {
            access_token,
            refresh_token: tokens.refresh_token.clone(),
            identity,
            rules: app.rules.generation,
        };
        let outcome = Outcome::Renewed(Arc::new(tokens));
        self.ledger.verified(key, &outcome);
        Some(outcome)
    }

    /// What [`Self::has_ended`] knows a session by.
    pub(crate) fn key(app: &SessionContext, refresh_token: &str) -> SessionKey {
        SessionKey::new(app.rules.sessions, refresh_token)
    }

    /// The new cookies of a session that was refreshed are on their way to the browser.
    pub(crate) fn delivered(&self, keys: &[SessionKey]) {
        for key in keys {
            self.ledger.delivered(*key);
        }
    }

    /// Whether any of these sessions was ended here, by a logout or another login, in the last minutes.
    pub(crate) fn has_ended(&self, keys: &[SessionKey]) -> bool {
        keys.iter().any(|key| self.ledger.has_ended(*key))
    }

    /// Whether an outcome that is known answers a request again. Without rotation the token has no successor, so a JWT
    /// that is about to expire means that another call is due.
    fn is_usable(&self, outcome: &Outcome, token: &str, early: bool) -> bool {
        match outcome {
            Outcome::Renewed(tokens) => {
                is_rotated(tokens.refresh_token.as_ref(), token) || self.is_fresh(tokens)
            }
            Outcome::Unverified(tokens) => is_rotated(tokens.refresh_token.as_ref(), token),
            Outcome::Dead | Outcome::Ended | Outcome::ActionRequired(_) => true,
            Outcome::Unavailable | Outcome::Postponed(_) => early,
        }
    }

    fn is_fresh(&self, tokens: &Tokens) -> bool {
        let (identity, now) = (&tokens.identity, self.clock.now());
        now < identity.expires_at()
            && !identity.is_about_to_expire(self.refresh_ahead, now)
            && !matches!(self.revocation_of(identity), Some(Revocation::Token))
    }

    /// The refresh token to go on with, if the tokens of an outcome are not the newest or not fresh.
    fn successor(&self, app: &SessionContext, tokens: &Tokens, token: &str) -> Option<Zeroizing<String>> {
        let next =
            tokens.refresh_token.as_ref().filter(|_| is_rotated(tokens.refresh_token.as_ref(), token))?;
        let fate = self.ledger.known(SessionKey::new(app.rules.sessions, next));
        let known =
            fate.is_some_and(|outcome| !matches!(outcome, Outcome::Unavailable | Outcome::Postponed(_)));
        (known || !self.is_fresh(tokens)).then(|| next.clone())
    }
}

impl Outcome {
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Renewed(tokens) => Some(tokens.identity.subject()),
            _ => None,
        }
    }

    /// This outcome of `token`, which becomes the one to go on with; or, where it says nothing, the other one.
    fn settle(self, token: &mut Zeroizing<String>, other: Self) -> Self {
        let says_nothing = matches!(self, Self::Unavailable | Self::Postponed(_) | Self::ActionRequired(_));
        if says_nothing && matches!(other, Self::Renewed(_)) {
            return other;
        }
        if let Some(next) = self.refresh_token().flatten() {
            token.clone_from(next);
        }
        self
    }

    /// The provider's new refresh token, where it answered with tokens.
    #[expect(
        clippy::option_option,
        reason = "no tokens, and tokens without a new refresh token, are two things"
    )]
    pub(super) fn refresh_token(&self) -> Option<Option<&Zeroizing<String>>> {
        match self {
            Self::Renewed(tokens) => Some(tokens.refresh_token.as_ref()),
            Self::Unverified(tokens) => Some(tokens.refresh_token.as_ref()),
            Self::Dead | Self::Ended | Self::ActionRequired(_) | Self::Postponed(_) | Self::Unavailable => {
                None
            }
        }
    }
}

/// Whether a new JWT is of somebody else, or of another session where the cookies must be of one: sealed ones are.
fn is_of_another(
    app: &SessionContext,
    grant: &Grant,
    previous: Option<&Previous>,
    identity: &Identity,
) -> bool {
    let new = identity.marks();
    let old = previous.map(|previous| previous.identity.marks());
    let is_of_another_session = app.rules.session.bind_refresh
        && grant.record.is_none()
        && old.and_then(|old| old.session).is_some_and(|old| new.session.is_some_and(|new| new != old));
    old.is_some_and(|old| old.subject != new.subject)
        || grant.record.is_some_and(|record| record.subject != new.subject)
        || is_of_another_session
}

fn is_rotated(next: Option<&Zeroizing<String>>, token: &str) -> bool {
    next.is_some_and(|next| next.as_str() != token)
}

async fn wait(waiter: &mut tokio::sync::watch::Receiver<Option<Outcome>>) -> Outcome {
    let _waiting = Held::new(&METRICS.refresh_waiting);
    match waiter.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable),
        // The caller has panicked.
        Err(_) => Outcome::Unavailable,
    }
}

/// One call to the provider.
struct Call {
    app: Arc<SessionContext>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn crate::clock::Clock>,
    memory: Arc<Memory>,
    refresh_token: Zeroizing<String>,
    /// One provider's refresh API wants it, too (FusionAuth).
    old_jwt: Option<Zeroizing<String>>,
}

impl Call {
    async fn run(self, key: SessionKey) -> Outcome {
        let outcome = self.ask().await;
        if self.is_revoked(&outcome) {
            audit::record(Event::SessionEnded, ReasonCode::Revoked, &self.app, outcome.subject());
            self.revoke_grant(&outcome);
            return self.ledger.finish(key, Outcome::Dead, Duration::ZERO);
        }
        let told = self.ledger.finish(key, outcome.clone(), self.app.delivery);
        if matches!(told, Outcome::Ended) {
            // Logged out while the call was under way.
            self.revoke_grant(&outcome);
        }
        told
    }

    /// Whether the new JWT is of a session or a subject that was revoked.
    fn is_revoked(&self, outcome: &Outcome) -> bool {
        let Outcome::Renewed(tokens) = outcome else { return false };
        let identity = &tokens.identity;
        let revocations = &self.memory.revocations;
        let revocation = revocations.of_token(identity.marks(), identity.issued_at(), self.clock.now());
        matches!(revocation, Some(Revocation::Session { .. }))
    }

    /// The new grant must not outlive the session. In a task of its own: those who wait for the outcome need not wait
    /// for that.
    fn revoke_grant(&self, outcome: &Outcome) {
        if let Some(newest) = outcome.refresh_token() {
            spawn_revocation(&self.app, newest.unwrap_or(&self.refresh_token).clone(), None);
        }
    }

    async fn ask(&self) -> Outcome {
        let app = &self.app;
        let (provider, client) = (app.provider.name(), &app.client.id);
        let permit = timeout(REFRESH_READ_LIMIT, app.calls.refreshes.acquire()).await;
        if permit.is_err() {
            warn!(provider, client, "refresh impossible: too many are under way");
            audit::record(Event::RefreshRefused, ReasonCode::TooManyCalls, app, None);
            return Outcome::Unavailable;
        }
        let old_jwt = self.old_jwt.as_ref().map(|token| token.as_str());
        let tokens = match app.provider.refresh_grant(&app.client, &self.refresh_token, old_jwt).await {
            Ok(tokens) => tokens,
            Err(RefreshError::Dead(reason)) => {
                audit::record_detail(Event::SessionEnded, ReasonCode::RefreshRefused, app, &reason);
                return Outcome::Dead;
            }
            Err(RefreshError::Challenge(kind, reason)) => {
                audit::record_detail(Event::RefreshRefused, login::step(kind).reason, app, &reason);
                return Outcome::ActionRequired(kind);
            }
            Err(RefreshError::Unavailable(reason, retry_after)) => {
                warn!(provider, client, reason, "refresh impossible: the provider is unavailable");
                audit::record(Event::RefreshRefused, ReasonCode::ProviderUnavailable, app, None);
                let now = self.clock.now();
                return retry_after
                    .map_or(Outcome::Unavailable, |after| Outcome::Postponed(after.seconds(now)));
            }
            Err(RefreshError::Misconfigured(reason)) => {
                error!(provider, client, reason, "refresh impossible: the provider refuses this client");
                audit::record(Event::RefreshRefused, ReasonCode::ProviderMisconfigured, app, None);
                return Outcome::Unavailable;
            }
        };
        let identity = match app.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error @ TokenError::UnusableClaim(_)) => {
                audit::record_detail(Event::SessionEnded, error.code(), app, &error.to_string());
                return Outcome::Dead;
            }
            Err(error) => {
                error!(provider, client, %error, "the provider's JWT was refused at a refresh");
                audit::record_detail(
                    Event::RefreshRefused,
                    ReasonCode::ProviderToken,
                    app,
                    error.code().as_str(),
                );
                let TokenSet { access_token, refresh_token } = tokens;
                return Outcome::Unverified(Arc::new(UnverifiedTokens { access_token, refresh_token }));
            }
        };
        self.memory.saw(app.rules.token.provider, &identity, self.clock.now());
        audit::record(Event::Refresh, ReasonCode::SessionRefreshed, app, Some(identity.subject()));
        Outcome::Renewed(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
            rules: app.rules.generation,
        }))
    }
}
