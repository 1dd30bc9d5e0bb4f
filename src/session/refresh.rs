//! Refresh: one call to the provider for any number of requests, and one outcome for all of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::memory::Memory;
use crate::access::revocations::{Mark, Revocation};
use crate::access::token::TokenError;
use crate::access::token_fix;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::answer::reason::ReasonCode;
use crate::identity_provider::{REFRESH_READ_LIMIT, RefreshError, TokenSet, client_fix};
use crate::session::login;
use crate::session::login_name::site;
use crate::session::logout::spawn_revocation;
use crate::session::outcome::{Outcome, Refreshed, Tokens, UnverifiedTokens};
use crate::session::refresh_limits;
use crate::session::relying_party::RelyingParty;
use crate::session::replay_window::{Asked, Gain, ReplayWindow, Rest, Turn};
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::metrics::{Held, METRICS};
use crate::telemetry::traces;

/// Refreshes that one request follows from an old refresh token to the newest one.
const MAX_HOPS: usize = 8;

/// How long a request waits for a new JWT while there is one that can still be used. The call goes on, and a later request
/// gets its outcome.
const EARLY_PATIENCE: Duration = Duration::from_secs(1);

impl Sessions {
    /// Gets a new JWT for a session. `previous`: the old JWT, if it is genuine; it says whose session it is. `client`: the
    /// browser's address.
    ///
    /// Many may ask for the same token: one calls the provider, and the call runs to its end even if nobody waits any
    /// more, since a rotated token would be lost with it. The outcome is told again to those who still bring the old token,
    /// until a request has brought the new one and the replay window is over.
    pub async fn refresh(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        previous: Option<&Previous>,
        client: Option<IpAddr>,
    ) -> Refreshed {
        let presented = Self::key(relying_party, &grant.refresh_token);
        self.ledger.brought(presented);
        if let Some(outcome) = self.outlived(relying_party, grant, presented, previous) {
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
            // What others were given is as good for this request.
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
        // What was revoked while this request waited, or since the outcome was recorded.
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
                );
                Refreshed { outcome: Outcome::of_end(by), refresh_token: newest }
            }
        }
    }

    /// An outcome of before the app's rules changed is told again only as far as the new ones permit.
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
                Outcome::Unverified(Arc::new(UnverifiedTokens { access_token, refresh_token }))
            }
        }
    }

    /// Ends a session whose JWT was revoked, where the refresh token is known to be of that session. Else the new JWT says
    /// whose it is.
    fn outlived(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        key: SessionKey,
        previous: Option<&Previous>,
    ) -> Option<Outcome> {
        let Previous { identity, over: Some(Revocation::Session(by)), .. } = previous? else {
            return None;
        };
        if !self.ledger.has_jwt(key, |(marks, _)| marks.token == identity.marks().token) {
            return None;
        }
        self.expire(relying_party, grant, by.reason());
        Some(Outcome::of_end(*by))
    }

    /// Follows a refresh token to its newest successor, which `token` is in the end, and to the outcome of that.
    async fn follow(&self, request: &Request<'_>, token: &mut RefreshToken) -> Outcome {
        let Request { relying_party, grant, previous, .. } = *request;
        let mut has_tried_to_verify = false;
        for _ in 0..MAX_HOPS {
            let key = Self::key(relying_party, token);
            let is_usable = |outcome: &Outcome| match outcome {
                Outcome::Renewed(tokens) => self.is_fresh(tokens),
                _ => !has_tried_to_verify,
            };
            let asked = Asked { is_early: request.is_early(), is_presented: *token == grant.refresh_token };
            match self.ledger.take_turn(key, asked, is_usable) {
                Turn::Call(sender) => return self.spawn_call(request, token, key, sender).await,
                Turn::Wait(mut waiter) => {
                    METRICS.refresh_waits.with_label_values(&[&relying_party.app]).inc();
                    let _span = traces::waiting("wait for refresh");
                    return wait(&mut waiter).await;
                }
                Turn::Known(Outcome::Unverified(tokens)) => {
                    if let Some(outcome) = self.verify_again(relying_party, key, &tokens).await {
                        return outcome;
                    }
                    has_tried_to_verify = true;
                }
                Turn::Known(outcome) => {
                    if matches!(outcome, Outcome::Renewed(_)) {
                        METRICS.replays.with_label_values(&[&relying_party.app]).inc();
                    }
                    return outcome;
                }
                Turn::Replaced(newest) => *token = newest,
                // It may have been on its way for long. Its JWT is still valid, so it needs no new one.
                Turn::Reused(_) if request.is_early() => return Outcome::Unavailable,
                Turn::Reused(newest) => {
                    self.end_reused(relying_party, grant, &newest, previous);
                    return Outcome::Dead;
                }
            }
        }
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        warn!(provider, client, "a refresh token has too many successors");
        Outcome::Unavailable
    }

    /// Calls the provider in a task of its own, and waits for the outcome.
    async fn spawn_call(
        &self,
        request: &Request<'_>,
        token: &RefreshToken,
        key: SessionKey,
        sender: watch::Sender<Option<Outcome>>,
    ) -> Outcome {
        let Request { relying_party, previous, .. } = *request;
        let mut waiter = sender.subscribe();
        let call = Call {
            relying_party: Arc::clone(relying_party),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            memory: Arc::clone(&self.memory),
            refresh_ahead: self.refresh_ahead,
            refresh_token: token.clone(),
            old_jwt: previous.map(|previous| previous.access_token.clone()),
            age: self.age(relying_party, request.grant, previous),
            place: self.place(request, key),
        };
        let call = async move {
            let outcome = call.run(key).await;
            sender.send_replace(Some(outcome));
        };
        let call = traces::under(traces::parent(), call);
        tokio::spawn(audit::caused_by(audit::cause(), call));
        wait(&mut waiter).await
    }

    /// Whom a call is for.
    fn place(&self, request: &Request<'_>, key: SessionKey) -> Place {
        let Request { relying_party, grant, previous, client } = *request;
        if grant.record.is_some() || self.ledger.is_known(key) {
            return Place::OfSession { _call: None };
        }
        let of_stranger = || {
            let call = relying_party.calls.strangers.enter(client.map(site));
            call.map(|call| Place::OfStranger { _call: call })
        };
        let of_unknown = |previous: &Previous| {
            let call = relying_party.calls.unknown_sessions.enter(previous.identity.marks().subject);
            call.map(|call| Place::OfSession { _call: Some(call) })
        };
        previous.map_or_else(of_stranger, of_unknown).unwrap_or(Place::None)
    }

    /// The provider's keys may be known by now.
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
        self.ledger.verified(key, &outcome);
        Some(outcome)
    }

    /// What a session is known by.
    pub(crate) fn key(relying_party: &RelyingParty, refresh_token: &RefreshToken) -> SessionKey {
        SessionKey::new(relying_party.rules.sessions, refresh_token)
    }

    /// A request has brought a JWT that is valid.
    pub(crate) fn note_use(&self, identity: &Identity) {
        if identity.is_first_use() {
            self.ledger.brought_jwt(identity.marks().token);
        }
    }

    /// New tokens cannot be given to the browser. `newest`: their refresh token.
    pub(crate) fn gained_nothing(&self, relying_party: &RelyingParty, newest: &RefreshToken) {
        self.ledger.gained_nothing(Self::key(relying_party, newest));
    }

    fn is_fresh(&self, tokens: &Tokens) -> bool {
        let (identity, now) = (&tokens.identity, self.clock.now());
        now < identity.expires_at()
            && !identity.is_about_to_expire(self.refresh_ahead, now)
            && !matches!(self.revocation_of(identity), Some(Revocation::Token))
    }

    /// The newest tokens of a session for a request that has older ones, if their JWT can be used, though maybe not for long.
    fn newer_tokens(&self, key: SessionKey, previous: Option<&Previous>) -> Option<Arc<Tokens>> {
        let Outcome::Renewed(tokens) = self.ledger.newer(key)? else { return None };
        let is_usable = self.clock.now() < tokens.identity.expires_at()
            && !matches!(self.revocation_of(&tokens.identity), Some(Revocation::Token))
            && previous.is_none_or(|previous| *previous.access_token != *tokens.access_token);
        is_usable.then_some(tokens)
    }
}

impl Request<'_> {
    /// Whether the JWT at hand can still be used.
    fn is_early(&self) -> bool {
        self.previous.is_some_and(|previous| previous.still_valid)
    }
}

/// The old JWT, as far as it is of the session that was refreshed. The error: what becomes of a request with JWTs of two
/// sessions.
fn belonging<'a>(request: &Request<'a>, new: &Identity) -> Result<Option<&'a Previous>, Outcome> {
    let Request { relying_party, grant, previous, .. } = *request;
    if !is_of_another(relying_party, grant, previous, new) {
        return Ok(previous);
    }
    let is_over = previous.is_some_and(|previous| previous.over.is_some());
    if is_over {
        // A JWT that is over ends no other session. It is worth nothing either.
        if !relying_party.rules.session.bind_refresh {
            return Ok(None);
        }
        audit::record(Event::RefreshRefused, ReasonCode::NotBound, relying_party, None);
        return Err(Outcome::Dead);
    }
    // A JWT of somebody else is refused, whoever asked for it first.
    let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
    error!(provider, client, "the provider's JWT was refused at a refresh: another subject or session");
    audit::record(Event::RefreshRefused, ReasonCode::AnotherSubject, relying_party, None);
    Err(Outcome::Unavailable)
}

/// Whether a new JWT is of somebody else, or of another session where the cookies must be of one: sealed ones are, and
/// those whose JWT is over.
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

async fn wait(waiter: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    let _waiting = Held::new(&METRICS.refresh_waiting);
    match waiter.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable),
        // The caller has panicked.
        Err(_) => Outcome::Unavailable,
    }
}

/// A request for a new JWT.
#[derive(Clone, Copy)]
struct Request<'a> {
    relying_party: &'a Arc<RelyingParty>,
    grant: &'a Grant,
    previous: Option<&'a Previous>,
    /// The browser's address.
    client: Option<IpAddr>,
}

/// Among whom a call waits for its turn.
enum Place {
    /// Those for sessions.
    OfSession { _call: Option<refresh_limits::Call<Mark>> },
    /// Those for strangers.
    OfStranger { _call: refresh_limits::Call<Option<IpAddr>> },
    /// There is none for whoever asks now.
    None,
}

/// One call to the provider.
struct Call {
    relying_party: Arc<RelyingParty>,
    ledger: Arc<ReplayWindow>,
    clock: Arc<dyn crate::system::clock::Clock>,
    memory: Arc<Memory>,
    refresh_ahead: u64,
    refresh_token: RefreshToken,
    /// One provider's refresh API wants it, too (FusionAuth).
    old_jwt: Option<AccessToken>,
    /// When the session was there already, in Unix seconds, as far as that is known.
    age: Option<u64>,
    place: Place,
}

impl Call {
    async fn run(self, key: SessionKey) -> Outcome {
        let outcome = self.ask().await;
        if self.is_revoked(&outcome) {
            audit::record(Event::SessionEnded, ReasonCode::Revoked, &self.relying_party, outcome.subject());
            self.revoke_grant(&outcome);
            return self.ledger.finish(key, Outcome::Dead, Gain::default());
        }
        let told = self.ledger.finish(key, outcome.clone(), self.gain(&outcome));
        if matches!(told, Outcome::Ended) {
            // Logged out while the call was under way.
            self.revoke_grant(&outcome);
        }
        told
    }

    /// What the refresh has gained. Where that is nothing, the next request would ask in vain as well.
    fn gain(&self, outcome: &Outcome) -> Gain {
        let now = self.clock.now();
        match outcome {
            Outcome::Renewed(tokens) => {
                let identity = &tokens.identity;
                let revocation =
                    self.memory.revocations.of_token(identity.marks(), identity.issued_at(), now);
                let rest = if revocation.is_some() {
                    Some(Rest::All)
                } else {
                    identity.is_about_to_expire(self.refresh_ahead, now).then_some(Rest::Early)
                };
                Gain { lasts: Duration::from_secs(identity.expires_at().saturating_sub(now)), rest }
            }
            // The next one would be as useless. This one is looked at again, should it be the keys or the clock.
            Outcome::Unverified(_) => Gain { rest: Some(Rest::All), ..Gain::default() },
            _ => Gain::default(),
        }
    }

    /// Whether the new JWT is of a session or a subject that was revoked.
    fn is_revoked(&self, outcome: &Outcome) -> bool {
        let Outcome::Renewed(tokens) = outcome else { return false };
        let (identity, now) = (&tokens.identity, self.clock.now());
        let revocations = &self.memory.revocations;
        // A JWT that does not say when it was issued is as old as its session.
        if identity.issued_at().is_none()
            && revocations.of_session_since(identity.marks(), self.age, now).is_none()
        {
            revocations.admit(identity.marks(), None, now);
        }
        let revocation = revocations.of_token(identity.marks(), identity.issued_at(), now);
        matches!(revocation, Some(Revocation::Session(_)))
    }

    /// The new grant must not outlive the session. In a task of its own: those who wait for the outcome need not wait
    /// for that.
    fn revoke_grant(&self, outcome: &Outcome) {
        if let Some(newest) = outcome.refresh_token() {
            spawn_revocation(&self.relying_party, newest.unwrap_or(&self.refresh_token).clone());
        }
    }

    async fn ask(&self) -> Outcome {
        let relying_party = &self.relying_party;
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        let turn = match &self.place {
            Place::OfSession { .. } => timeout(
                REFRESH_READ_LIMIT.max(relying_party.request_timeout),
                relying_party.calls.refreshes.acquire(),
            )
            .await
            .ok()
            .map(Some),
            Place::OfStranger { .. } => Some(None),
            Place::None => None,
        };
        let Some(_permit) = turn else {
            if matches!(self.place, Place::OfSession { .. }) {
                warn!(provider, client, "refresh impossible: too many are under way");
            }
            audit::record(Event::RefreshRefused, ReasonCode::TooManyCalls, relying_party, None);
            return Outcome::Unavailable;
        };
        let old_jwt = self.old_jwt.as_ref().map(AccessToken::as_str);
        let tokens = match relying_party
            .provider
            .refresh_grant(&relying_party.client, &self.refresh_token, old_jwt)
            .await
        {
            Ok(tokens) => tokens,
            Err(RefreshError::Dead(reason)) => {
                audit::record_detail(Event::SessionEnded, ReasonCode::RefreshRefused, relying_party, &reason);
                return Outcome::Dead;
            }
            Err(RefreshError::Challenge(kind, reason)) => {
                audit::record_detail(Event::RefreshRefused, login::step(kind).reason, relying_party, &reason);
                return Outcome::ActionRequired(kind);
            }
            Err(RefreshError::Unavailable(reason, retry_after)) => {
                warn!(provider, client, reason, "refresh impossible: the provider is unavailable");
                audit::record(Event::RefreshRefused, ReasonCode::ProviderUnavailable, relying_party, None);
                let now = self.clock.now();
                return retry_after
                    .map_or(Outcome::Unavailable, |after| Outcome::Postponed(after.seconds(now)));
            }
            Err(RefreshError::Misconfigured(reason)) => {
                let hint = client_fix(&reason, "refresh_token");
                error!(
                    provider,
                    client, reason, hint, "refresh impossible: the provider refuses this client"
                );
                audit::record(Event::RefreshRefused, ReasonCode::ProviderMisconfigured, relying_party, None);
                return Outcome::Unavailable;
            }
        };
        let identity = match relying_party.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error @ TokenError::UnusableClaim(..)) => {
                audit::record_detail(Event::SessionEnded, error.code(), relying_party, &error.to_string());
                return Outcome::Dead;
            }
            Err(error) => {
                let (said, hint) = (token_fix::said(&error, &tokens.access_token), token_fix::of(&error));
                error!(provider, client, error = %format_args!("{error}{said}"), %hint, "the provider's JWT was refused at a refresh");
                audit::record_detail(
                    Event::RefreshRefused,
                    ReasonCode::ProviderToken,
                    relying_party,
                    error.code().as_str(),
                );
                let TokenSet { access_token, refresh_token } = tokens;
                return Outcome::Unverified(Arc::new(UnverifiedTokens { access_token, refresh_token }));
            }
        };
        self.memory.saw(relying_party.rules.token.provider, &identity, self.clock.now());
        audit::record(Event::Refresh, ReasonCode::SessionRefreshed, relying_party, Some(identity.subject()));
        Outcome::Renewed(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
            rules: relying_party.rules.generation,
        }))
    }
}
