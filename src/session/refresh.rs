//! Refresh: any number of requests share one call to the provider, and get one outcome.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, warn};

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::revocations::Revocation;
use crate::access::tokens::RefreshToken;
use crate::answer::reason::ReasonCode;
use crate::session::outcome::{Outcome, Refreshed, Tokens, UnverifiedTokens, jwt_mark};
use crate::session::refresh_call::{Request, wait};
use crate::session::relying_party::RelyingParty;
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;
use crate::session::shared_state::values::{Asked, Claim};
use crate::telemetry::audit::{self, Event};
use crate::telemetry::metrics::METRICS;
use crate::telemetry::traces;

/// The number of refreshes that a request follows from an old refresh token to the newest one.
const MAX_HOPS: usize = 8;

/// The time for which a request waits for a new JWT if it has another JWT that can still be used. The call to the
/// provider goes on, and a later request gets its outcome.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

impl Sessions {
    /// Gets a new JWT for a session. `previous` is the old JWT, if it is genuine. It says whose session it is. `client`
    /// is the browser's address.
    ///
    /// Many requests may bring the same token. One of them calls the provider. The call runs to its end even if no
    /// request waits any more. Otherwise a rotated token would be lost. Requests that still bring the old token get the
    /// same outcome until a request has brought the new token and the replay window is over.
    pub async fn refresh(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        previous: Option<&Previous>,
        client: Option<IpAddr>,
    ) -> Refreshed {
        let presented = Self::key(relying_party, &grant.refresh_token);
        if self.replay_window.brought(presented) {
            self.shared.used(presented);
        }
        if let Some(outcome) = self.outlived(relying_party, grant, presented, previous).await {
            return Refreshed { outcome, refresh_token: grant.refresh_token.clone() };
        }
        let request = Request { relying_party, grant, previous, client };
        let is_early = request.is_early();
        let has_jwt = is_early || self.newer_tokens(presented, previous).is_some();
        let patience = if has_jwt {
            EARLY_PATIENCE.min(relying_party.request_timeout)
        } else {
            relying_party.request_timeout
        };
        let mut newest = grant.refresh_token.clone();
        let waiting = timeout(patience, self.follow(&request, &mut newest));
        let mut outcome = waiting.await.unwrap_or(Outcome::Unavailable);
        if outcome.says_nothing()
            && let Some(tokens) = self.newer_tokens(presented, previous)
        {
            // Tokens that other requests received are as good for this request.
            outcome = Outcome::Renewed(tokens);
        }
        if let Some(next) = outcome.refresh_token().flatten() {
            newest.clone_from(next);
        }
        let outcome = self.by_rules_of(relying_party, outcome).await;
        let Outcome::Renewed(tokens) = &outcome else { return Refreshed { outcome, refresh_token: newest } };
        let previous = match belonging(&request, &tokens.identity) {
            Ok(previous) => previous,
            Err(outcome) => return Refreshed { outcome, refresh_token: grant.refresh_token.clone() },
        };
        // A revocation may have come while this request waited, or since the outcome was recorded.
        match self.revocation(relying_party, grant, previous, &tokens.identity) {
            None => Refreshed { outcome, refresh_token: newest },
            Some(Revocation::Token) => {
                let subject = Some(tokens.identity.subject());
                audit::record(Event::RefreshRefused, ReasonCode::TokenRevoked, relying_party, subject);
                Refreshed { outcome: Outcome::Unavailable, refresh_token: newest }
            }
            Some(Revocation::Session(by)) => {
                self.expire(
                    relying_party,
                    &Grant { refresh_token: newest.clone(), record: grant.record },
                    by.reason(),
                )
                .await;
                Refreshed { outcome: Outcome::of_end(by), refresh_token: newest }
            }
        }
    }

    /// Verifies an outcome by the app's rules again, if these have changed since it was recorded.
    async fn by_rules_of(&self, relying_party: &RelyingParty, outcome: Outcome) -> Outcome {
        let tokens = match outcome {
            Outcome::Renewed(tokens) if tokens.rules != relying_party.rules.generation => tokens,
            outcome => return outcome,
        };
        let access_token = tokens.access_token.clone();
        let refresh_token = tokens.refresh_token.clone();
        match relying_party.verify_new(&access_token, self.clock.now()).await {
            Ok(identity) => {
                let rules = relying_party.rules.generation;
                Outcome::Renewed(Arc::new(Tokens { access_token, refresh_token, identity, rules }))
            }
            Err(error) => {
                let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
                warn!(provider, client, %error, "a JWT was refused at a refresh: the app's rules have changed");
                Outcome::Unverified(Arc::new(UnverifiedTokens {
                    access_token,
                    refresh_token,
                    is_refused: true,
                }))
            }
        }
    }

    /// Ends a session whose JWT was revoked, if the refresh token is known to belong to that session. Otherwise the new
    /// JWT says to which session it belongs.
    async fn outlived(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        key: SessionKey,
        previous: Option<&Previous>,
    ) -> Option<Outcome> {
        let Previous { identity, over: Some(Revocation::Session(by)), .. } = previous? else {
            return None;
        };
        if !self.replay_window.has_jwt(key, |(marks, _)| marks.token == identity.marks().token) {
            return None;
        }
        self.expire(relying_party, grant, by.reason()).await;
        Some(Outcome::of_end(*by))
    }

    /// Follows a refresh token to its newest successor, and returns the outcome of the successor's refresh. Stores the
    /// successor in `token`.
    async fn follow(&self, request: &Request<'_>, token: &mut RefreshToken) -> Outcome {
        let Request { relying_party, grant, previous, .. } = *request;
        let mut has_tried_to_verify = false;
        for _ in 0..MAX_HOPS {
            let key = Self::key(relying_party, token);
            match self.claim(request, token, has_tried_to_verify).await {
                Claim::Mine(claimed) => return self.call(request, token, claimed).await,
                Claim::Wait(mut waiter) => {
                    METRICS.refresh_waits.with_label_values(&[&relying_party.app]).inc();
                    let span = traces::waiting("wait for refresh");
                    let outcome = wait(&mut waiter).await;
                    drop(span);
                    match outcome {
                        // The claim was given up, because its request has left.
                        None => {}
                        // Another replica received these tokens. They are known here now, but not verified yet.
                        Some(Outcome::Unverified(tokens)) if !tokens.is_refused => {}
                        Some(outcome) => return outcome,
                    }
                }
                Claim::Known(Outcome::Unverified(tokens)) => {
                    if let Some(outcome) = self.verify_again(relying_party, key, &tokens).await {
                        return outcome;
                    }
                    has_tried_to_verify = true;
                }
                Claim::Known(outcome) => {
                    if matches!(outcome, Outcome::Renewed(_)) {
                        METRICS.replays.with_label_values(&[&relying_party.app]).inc();
                    }
                    return outcome;
                }
                Claim::Replaced(newest) => *token = newest,
                // The request may have been on its way for long. Its JWT is still valid, so it needs no new one.
                Claim::Reused(_) if request.is_early() => return Outcome::Unavailable,
                Claim::Reused(newest) => {
                    self.end_reused(relying_party, grant, newest.as_ref(), previous).await;
                    return Outcome::Dead;
                }
            }
        }
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        warn!(provider, client, "a refresh token has too many successors");
        Outcome::Unavailable
    }

    /// Claims a refresh. Known tokens that are useless count as unknown.
    async fn claim(&self, request: &Request<'_>, token: &RefreshToken, has_tried_to_verify: bool) -> Claim {
        let key = Self::key(request.relying_party, token);
        let is_presented = *token == request.grant.refresh_token;
        let refresh_grace = request.relying_party.provider.refresh_grace();
        let mut asked = Asked { is_early: request.is_early(), is_presented, useless: None, refresh_grace };
        loop {
            let claim = self.shared.claim(key, token, asked).await;
            let useless = match &claim {
                Claim::Known(Outcome::Renewed(tokens)) if !self.is_fresh(tokens) => &tokens.access_token,
                Claim::Known(Outcome::Unverified(tokens)) if has_tried_to_verify => &tokens.access_token,
                _ => return claim,
            };
            // The next claim returns other tokens, or none.
            asked.useless = Some(jwt_mark(useless));
        }
    }

    /// Verifies tokens again, because the provider's keys may be known by now.
    async fn verify_again(
        &self,
        relying_party: &RelyingParty,
        key: SessionKey,
        tokens: &UnverifiedTokens,
    ) -> Option<Outcome> {
        let identity = relying_party.verify_new(&tokens.access_token, self.clock.now()).await.ok()?;
        let access_token = tokens.access_token.clone();
        let tokens = Tokens {
            access_token,
            refresh_token: tokens.refresh_token.clone(),
            identity,
            rules: relying_party.rules.generation,
        };
        let outcome = Outcome::Renewed(Arc::new(tokens));
        self.replay_window.verified(key, &outcome);
        Some(outcome)
    }

    /// Returns the key of a session.
    pub(crate) fn key(relying_party: &RelyingParty, refresh_token: &RefreshToken) -> SessionKey {
        SessionKey::new(relying_party.rules.client_number, refresh_token)
    }

    /// Records that a request has brought a valid JWT.
    pub(crate) fn note_use(&self, identity: &Identity) {
        if identity.is_first_use() {
            let used = self.replay_window.brought_jwt(identity.marks().token);
            if let Some(key) = used {
                self.shared.used(key);
            }
        }
    }

    /// Records that the browser cannot receive new tokens. `newest` is their refresh token.
    pub(crate) fn gained_nothing(&self, relying_party: &RelyingParty, newest: &RefreshToken) {
        self.replay_window.gained_nothing(Self::key(relying_party, newest));
    }

    fn is_fresh(&self, tokens: &Tokens) -> bool {
        let (identity, now) = (&tokens.identity, self.clock.now());
        now < identity.expires_at()
            && !identity.is_about_to_expire(self.refresh_ahead, now)
            && !matches!(self.revocation_of(identity), Some(Revocation::Token))
    }

    /// Returns the newest tokens of a session for a request that has older ones, if their JWT can be used now. The JWT
    /// may be about to expire.
    fn newer_tokens(&self, key: SessionKey, previous: Option<&Previous>) -> Option<Arc<Tokens>> {
        let Outcome::Renewed(tokens) = self.replay_window.newer(key)? else { return None };
        let is_usable = self.clock.now() < tokens.identity.expires_at()
            && !matches!(self.revocation_of(&tokens.identity), Some(Revocation::Token))
            && previous.is_none_or(|previous| *previous.access_token != *tokens.access_token);
        is_usable.then_some(tokens)
    }
}

/// Returns the old JWT, if it belongs to the session that was refreshed. The error is the outcome of a request with
/// JWTs of two sessions.
fn belonging<'a>(request: &Request<'a>, new: &Identity) -> Result<Option<&'a Previous>, Outcome> {
    let Request { relying_party, grant, previous, .. } = *request;
    if !is_of_another(relying_party, grant, previous, new) {
        return Ok(previous);
    }
    let is_over = previous.is_some_and(|previous| previous.over.is_some());
    if is_over {
        // A revoked JWT does not end another session. It does not count either.
        if !relying_party.rules.session.bind_refresh {
            return Ok(None);
        }
        audit::record(Event::RefreshRefused, ReasonCode::NotBound, relying_party, None);
        return Err(Outcome::Dead);
    }
    // The new JWT of another subject is refused, even if another request asked for it first.
    let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
    error!(provider, client, "the provider's JWT was refused at a refresh: another subject or session");
    audit::record(Event::RefreshRefused, ReasonCode::AnotherSubject, relying_party, None);
    Err(Outcome::Unavailable)
}

/// Tells whether a new JWT belongs to another subject. If the old JWT was revoked, or if refreshes are bound and
/// cookies are not sealed, also tells whether it belongs to another session.
fn is_of_another(
    relying_party: &RelyingParty,
    grant: &Grant,
    previous: Option<&Previous>,
    identity: &Identity,
) -> bool {
    let new = identity.marks();
    let is_strict = relying_party.rules.session.bind_refresh && grant.record.is_none()
        || previous.is_some_and(|previous| previous.over.is_some());
    let is_of_another_jwt = previous
        .map(|previous| previous.identity.marks())
        .is_some_and(|old| if is_strict { !new.is_same_session(old) } else { new.subject != old.subject });
    is_of_another_jwt || grant.record.is_some_and(|record| record.subject != new.subject)
}
