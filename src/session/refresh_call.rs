//! One call to the provider for a new JWT, in a task of its own. The task runs to its end even if no request waits any
//! more, because the session would be lost with the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, warn};

use crate::access::assessment::{Grant, Previous};
use crate::access::revocations::{Mark, Revocation};
use crate::access::session_tables::SessionTables;
use crate::access::token::TokenError;
use crate::access::token_fix;
use crate::access::tokens::{AccessToken, RefreshToken};
use crate::answer::reason::ReasonCode;
use crate::config::REFRESH_READ_LIMIT;
use crate::identity_provider::{ClientRefusal, RefreshError, TokenSet};
use crate::session::calls_under_way::{CallUnderWay, Kind};
use crate::session::login;
use crate::session::login_name::site;
use crate::session::logout::spawn_revocation;
use crate::session::outcome::{Outcome, Tokens, UnverifiedTokens};
use crate::session::refresh_limits;
use crate::session::relying_party::RelyingParty;
use crate::session::session_key::SessionKey;
use crate::session::sessions::Sessions;
use crate::session::shared_state::SharedState;
use crate::session::shared_state::values::{Claimed, Gain, NoAnswer, Rest, Told, Waiter};
use crate::system::clock::Clock;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::metrics::fleet::FLEET_METRICS;
use crate::telemetry::metrics::{Held, METRICS};
use crate::telemetry::rate_limited_log::Seldom;
use crate::telemetry::traces;

/// The lines about refresh tokens of unknown fate, and about their second presentations. A provider that is away causes
/// many at once.
static UNKNOWN: Seldom = Seldom::new(5);
static SECOND: Seldom = Seldom::new(5);

/// A request for a new JWT.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) relying_party: &'a Arc<RelyingParty>,
    pub(super) grant: &'a Grant,
    pub(super) previous: Option<&'a Previous>,
    /// The browser's address.
    pub(super) client: Option<IpAddr>,
}

impl Request<'_> {
    /// Tells whether the JWT of the request can still be used.
    pub(super) fn is_early(&self) -> bool {
        self.previous.is_some_and(|previous| previous.still_valid)
    }
}

impl Sessions {
    /// Calls the provider in a task of its own, and waits for the outcome.
    pub(super) async fn call(
        &self,
        request: &Request<'_>,
        token: &RefreshToken,
        claimed: Claimed,
    ) -> Outcome {
        let Request { relying_party, previous, .. } = *request;
        let mut waiter = claimed.waiter();
        let call = Call {
            relying_party: Arc::clone(relying_party),
            under_way: self.under_way.begin(Kind::Refresh),
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
            memory: Arc::clone(&self.memory),
            refresh_ahead: self.refresh_ahead,
            refresh_token: token.clone(),
            old_jwt: previous.map(|previous| previous.access_token.clone()),
            age: self.age(relying_party, request.grant, previous),
            place: self.place(request, claimed.key()),
            is_second: claimed.is_second(),
        };
        let call = traces::under(traces::parent(), call.run(claimed));
        tokio::spawn(audit::caused_by(audit::cause(), call));
        // The call itself never gives its claim up.
        wait(&mut waiter).await.unwrap_or(Outcome::Unavailable)
    }

    /// Finds the place of a call among those that wait for their turn.
    fn place(&self, request: &Request<'_>, key: SessionKey) -> Place {
        let Request { relying_party, grant, previous, client } = *request;
        if grant.record.is_some() || self.replay_window.is_known(key) {
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
}

/// Waits for the outcome of a call. Returns `None` if the claim was given up without an outcome.
pub(super) async fn wait(waiter: &mut Waiter) -> Option<Outcome> {
    let _waiting = Held::new(&METRICS.refresh_waiting);
    match waiter.wait_for(Option::is_some).await {
        Ok(told) => match &*told {
            Some(Told::Outcome(outcome)) => Some(outcome.clone()),
            _ => None,
        },
        // The task of the call has panicked.
        Err(_) => Some(Outcome::Unavailable),
    }
}

/// The group in which a call waits for its turn.
enum Place {
    /// The calls for sessions.
    OfSession { _call: Option<refresh_limits::Call<Mark>> },
    /// The calls for strangers.
    OfStranger { _call: refresh_limits::Call<Option<IpAddr>> },
    /// There is no place for the request now.
    None,
}

/// One call to the provider.
struct Call {
    relying_party: Arc<RelyingParty>,
    /// Counts the call until its outcome is published.
    under_way: CallUnderWay,
    shared: Arc<dyn SharedState>,
    clock: Arc<dyn Clock>,
    memory: Arc<SessionTables>,
    refresh_ahead: u64,
    refresh_token: RefreshToken,
    /// The old JWT. One provider's refresh API needs it, too.
    old_jwt: Option<AccessToken>,
    /// A time at which the session existed already, in Unix seconds, if one is known.
    age: Option<u64>,
    place: Place,
    /// A fleet presents the refresh token for the second time.
    is_second: bool,
}

impl Call {
    async fn run(self, claimed: Claimed) {
        let outcome = match self.ask(claimed.patience()).await {
            Ok(outcome) => outcome,
            Err((outcome, why)) => {
                if why == NoAnswer::Unknown && claimed.refresh_token().is_some() {
                    self.say_unknown();
                }
                self.shared.release(claimed, outcome, why).await;
                return;
            }
        };
        if self.is_revoked(&outcome).await {
            audit::record(Event::SessionEnded, ReasonCode::Revoked, &self.relying_party, outcome.subject());
            self.revoke_grant(&outcome);
            self.shared.publish(claimed, Outcome::Dead, Gain::default()).await;
            return;
        }
        let told = self.shared.publish(claimed, outcome.clone(), self.gain(&outcome)).await;
        if matches!(told, Outcome::Ended) {
            // The session was ended while the call was under way.
            self.revoke_grant(&outcome);
        }
    }

    /// Returns what a refresh gained. If it gained nothing, the next refreshes rest, because they would gain nothing
    /// either.
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
                let seconds = Duration::from_secs;
                Gain {
                    lasts: seconds(identity.expires_at().saturating_sub(now)),
                    is_fresh: seconds(identity.stays_fresh_for(self.refresh_ahead, now)),
                    rest,
                }
            }
            // Another JWT would be as useless. This one is verified again later, because the keys or the clock may be
            // the cause.
            Outcome::Unverified(_) => Gain { rest: Some(Rest::All), ..Gain::default() },
            _ => Gain::default(),
        }
    }

    /// Tells whether the new JWT belongs to a session or a subject that was revoked.
    async fn is_revoked(&self, outcome: &Outcome) -> bool {
        let Outcome::Renewed(tokens) = outcome else { return false };
        let (identity, now) = (&tokens.identity, self.clock.now());
        let revocations = &self.memory.revocations;
        // A JWT that does not say when it was issued is as old as its session.
        if identity.issued_at().is_none()
            && revocations.of_session_since(identity.marks(), self.age, now).is_none()
        {
            self.shared.admit(identity.marks(), None, now).await;
        }
        let revocation = revocations.of_token(identity.marks(), identity.issued_at(), now);
        matches!(revocation, Some(Revocation::Session(_)))
    }

    /// Revokes the new grant, which must not outlive the session. This runs in a task of its own, because those who
    /// wait for the outcome need not wait for it.
    fn revoke_grant(&self, outcome: &Outcome) {
        if let Some(newest) = outcome.refresh_token() {
            let newest = newest.unwrap_or(&self.refresh_token).clone();
            spawn_revocation(self.under_way.calls(), &self.relying_party, newest);
        }
    }

    /// Waits for a turn, for at most `patience`, and asks the provider. Returns an error if there is no answer.
    async fn ask(&self, patience: Option<Duration>) -> Result<Outcome, (Outcome, NoAnswer)> {
        let relying_party = &self.relying_party;
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        let turn = match &self.place {
            Place::OfSession { .. } => {
                let limit = patience.unwrap_or(REFRESH_READ_LIMIT.max(relying_party.request_timeout));
                timeout(limit, relying_party.calls.refreshes.acquire()).await.ok().map(Some)
            }
            Place::OfStranger { .. } => Some(None),
            Place::None => None,
        };
        let Some(_permit) = turn else {
            if matches!(self.place, Place::OfSession { .. }) {
                warn!(provider, client, "refresh impossible: too many are under way");
            }
            audit::record(Event::RefreshRefused, ReasonCode::TooManyCalls, relying_party, None);
            return Err((Outcome::Unavailable, NoAnswer::NotProcessed));
        };
        if self.is_second {
            self.say_second();
        }
        let old_jwt = self.old_jwt.as_ref().map(AccessToken::as_str);
        let granted =
            relying_party.provider.refresh_grant(&relying_party.client, &self.refresh_token, old_jwt).await;
        match granted {
            Ok(tokens) => Ok(self.verified(tokens).await),
            Err(error) => self.refused(error),
        }
    }

    /// Says that a fleet does not know the fate of the refresh token.
    fn say_unknown(&self) {
        let (app, provider) = (&self.relying_party.app, self.relying_party.provider.name());
        if let Some(unlogged) = UNKNOWN.turn() {
            warn!(
                app,
                provider,
                unlogged,
                "the fate of a refresh token is unknown: it is presented once more in a few seconds"
            );
        }
    }

    /// Counts that a fleet presents the refresh token again, and says so.
    fn say_second(&self) {
        FLEET_METRICS.second_presentations.inc();
        let (app, provider) = (&self.relying_party.app, self.relying_party.provider.name());
        if let Some(unlogged) = SECOND.turn() {
            warn!(
                app,
                provider,
                unlogged,
                "a refresh token is presented a second time, because the first call had no answer"
            );
        }
    }

    /// Returns the outcome if the provider gave no tokens.
    fn refused(&self, error: RefreshError) -> Result<Outcome, (Outcome, NoAnswer)> {
        let relying_party = &self.relying_party;
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        match error {
            RefreshError::Dead(reason) => {
                let code = ReasonCode::RefreshRefused;
                audit::record_detail(Event::SessionEnded, code, relying_party, &reason);
                Ok(Outcome::Dead)
            }
            RefreshError::Challenge(kind, reason) => {
                let code = login::step(kind).reason;
                audit::record_detail(Event::RefreshRefused, code, relying_party, &reason);
                Ok(Outcome::ActionRequired(kind))
            }
            RefreshError::Unavailable(reason, retry_after, fate) => {
                let reason = reason.to_string();
                warn!(provider, client, reason, "refresh impossible: the provider is unavailable");
                audit::record(Event::RefreshRefused, ReasonCode::ProviderUnavailable, relying_party, None);
                let now = self.clock.now();
                let outcome =
                    retry_after.map_or(Outcome::Unavailable, |after| Outcome::Postponed(after.seconds(now)));
                Err((outcome, fate.into()))
            }
            RefreshError::Misconfigured(ClientRefusal { reason, fix: hint }, fate) => {
                error!(
                    provider,
                    client, reason, hint, "refresh impossible: the provider refuses this client"
                );
                audit::record(Event::RefreshRefused, ReasonCode::ProviderMisconfigured, relying_party, None);
                Err((Outcome::Unavailable, fate.into()))
            }
        }
    }

    /// Returns the outcome if the provider gave tokens. Verifies their JWT.
    async fn verified(&self, tokens: TokenSet) -> Outcome {
        let relying_party = &self.relying_party;
        let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
        let identity = match relying_party.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error @ TokenError::UnusableClaim(..)) => {
                audit::record_detail(Event::SessionEnded, error.code(), relying_party, &error.to_string());
                return Outcome::Dead;
            }
            Err(error) => {
                let (said, hint) = (token_fix::said(&error, &tokens.access_token), token_fix::of(&error));
                error!(provider, client, error = %format_args!("{error}{said}"), %hint, "the provider's JWT was refused at a refresh");
                let (code, detail) = (ReasonCode::ProviderToken, error.code().as_str());
                audit::record_detail(Event::RefreshRefused, code, relying_party, detail);
                let TokenSet { access_token, refresh_token } = tokens;
                return Outcome::Unverified(Arc::new(UnverifiedTokens {
                    access_token,
                    refresh_token,
                    is_refused: true,
                }));
            }
        };
        self.memory.saw(relying_party.rules.token.provider, &identity, self.clock.now());
        let subject = Some(identity.subject());
        audit::record(Event::Refresh, ReasonCode::SessionRefreshed, relying_party, subject);
        Outcome::Renewed(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
            rules: relying_party.rules.generation,
        }))
    }
}
