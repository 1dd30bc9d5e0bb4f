//! Login: the password grant, and the answer to the browser.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::access::token::TokenError;
use crate::access::token_fix;
use crate::access::tokens::AccessToken;
use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::answer::retry_after::RETRY_AFTER;
use crate::identity_provider::{ChallengeKind, ClientRefusal, Credentials, LoginError, TokenSet};
use crate::session::calls_under_way::{CallUnderWay, Kind};
use crate::session::login_name::LoginName;
use crate::session::login_queue::Turn;
use crate::session::logout::spawn_revocation;
use crate::session::outcome::Tokens;
use crate::session::relying_party::RelyingParty;
use crate::session::sessions::Sessions;
use crate::session::shared_state::values::LoginReservation;
use crate::session::throttle::Refused;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::traces;

impl Sessions {
    /// Logs a user in. The problem tells the browser what went wrong. The log says more.
    ///
    /// `client` is the browser's address. Failed logins are counted by address, and waiting logins take turns by
    /// address.
    pub async fn login(
        &self,
        relying_party: &Arc<RelyingParty>,
        credentials: Credentials,
        client: Option<IpAddr>,
    ) -> Result<Arc<Tokens>, Problem> {
        let name = LoginName::new(relying_party.provider.issuer(), &credentials.username, client);
        let turn = self.turn(relying_party, &name).await?;
        let granted = call(self.under_way.begin(Kind::Login), relying_party, credentials, turn).await;
        let tokens = granted.map_err(|error| refusal(relying_party, error, self.clock.now()))?;
        let identity = match relying_party.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error) => return Err(unusable(relying_party, &error, &tokens.access_token)),
        };
        self.known_login_sites.remember(&name);
        self.memory.saw(relying_party.rules.token.provider, &identity, self.clock.now());
        // If the subject was revoked while this login waited for its answer, the login counts as a later one.
        self.shared.admit(identity.marks(), identity.issued_at(), self.clock.now()).await;
        if let Some(refresh_token) = &tokens.refresh_token {
            let started_at = identity.session_start(self.clock.now());
            let jwt = (*identity.marks(), identity.expires_at());
            self.shared.begin(Self::key(relying_party, refresh_token), jwt, started_at).await;
        }
        Ok(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
            rules: relying_party.rules.generation,
        }))
    }

    /// Waits until the login has its turn, and a place in the count of failed logins. A login that waits for a place
    /// holds no turn.
    async fn turn(
        &self,
        relying_party: &RelyingParty,
        name: &LoginName,
    ) -> Result<(Turn, Box<dyn LoginReservation>), Problem> {
        // Twice the timeout: once for the turn before, and once for the login's own turn.
        let deadline = Instant::now() + relying_party.request_timeout * 2;
        let is_known = self.known_login_sites.knows(name);
        loop {
            self.shared.check_login(name).await.map_err(|wait| too_many_failed(relying_party, wait))?;
            let settled = self.shared.login_settled();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let waiting = relying_party.calls.logins.enter(name, is_known, self.max_waiting_logins);
            let waiting = waiting.ok_or_else(|| too_many_waiting(relying_party))?;
            let turn = match timeout_at(deadline, self.shared.login_turn(name, waiting)).await {
                Ok(Some(turn)) => turn,
                Ok(None) => return Err(too_many_waiting(relying_party)),
                Err(_) => return Err(too_many_calls(relying_party)),
            };
            match self.shared.reserve_login(name).await {
                Ok(reservation) => return Ok((turn, reservation)),
                Err(Refused::Failed(wait)) => return Err(too_many_failed(relying_party, wait)),
                Err(Refused::OnTheirWay) => drop(turn),
            }
            timeout_at(deadline, settled).await.map_err(|_| too_many_calls(relying_party))?;
        }
    }
}

/// Asks the provider, in a task of its own. If the client leaves before the answer, the answer still counts, and the
/// login keeps its turn until then. Nobody can receive the new session in that case, so it is ended.
async fn call(
    under_way: CallUnderWay,
    relying_party: &Arc<RelyingParty>,
    credentials: Credentials,
    (turn, reservation): (Turn, Box<dyn LoginReservation>),
) -> Result<TokenSet, LoginError> {
    let (sender, granted) = oneshot::channel();
    let caller = Arc::clone(relying_party);
    let work = async move {
        let granted = caller.provider.password_grant(&caller.client, &credentials).await;
        match &granted {
            Ok(_) => reservation.succeeded(),
            Err(LoginError::InvalidCredentials(_)) => reservation.failed(),
            // Nothing is known about the password, or it was right.
            Err(_) => drop(reservation),
        }
        drop(turn);
        if let Err(Ok(TokenSet { refresh_token: Some(refresh_token), .. })) = sender.send(granted) {
            spawn_revocation(under_way.calls(), &caller, refresh_token);
        }
        drop(under_way);
    };
    tokio::spawn(traces::under(traces::parent(), audit::caused_by(audit::cause(), work)));
    granted.await.unwrap_or_else(|_| Err(LoginError::Unavailable("the call has failed".into(), None)))
}

/// Returns the answer if the provider gave a JWT that cannot be used.
fn unusable(relying_party: &RelyingParty, error: &TokenError, token: &AccessToken) -> Problem {
    let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
    if let TokenError::UnusableClaim(..) = error {
        let reason = error.code();
        audit::record_detail(Event::LoginRefused, reason, relying_party, &error.to_string());
        return Problem::new(Code::Forbidden, "This account cannot be used with this app.").because(reason);
    }
    let (said, hint) = (token_fix::said(error, token), token_fix::of(error));
    error!(provider, client, error = %format_args!("{error}{said}"), %hint, "the provider's JWT was refused at login");
    audit::record_detail(
        Event::LoginRefused,
        ReasonCode::ProviderToken,
        relying_party,
        error.code().as_str(),
    );
    unavailable().because(ReasonCode::ProviderToken)
}

fn too_many_failed(relying_party: &RelyingParty, wait: Duration) -> Problem {
    audit::record(Event::LoginRefused, ReasonCode::TooManyFailed, relying_party, None);
    Problem::new(Code::TooManyAttempts, "Too many logins have failed. Try again later.")
        .retry_after(wait.as_secs() + 1)
}

fn too_many_waiting(relying_party: &RelyingParty) -> Problem {
    let reason = ReasonCode::TooManyWaiting;
    audit::record(Event::LoginRefused, reason, relying_party, None);
    Problem::new(Code::TooManyAttempts, "Too many logins at once. Try again later.")
        .retry_after(1)
        .because(reason)
}

/// Returns the answer if the provider cannot be used.
pub(crate) fn unavailable() -> Problem {
    Problem::new(
        Code::IdentityProviderUnavailable,
        "The identity provider cannot be reached now. Try again later.",
    )
    .retry_after(RETRY_AFTER)
}

fn too_many_calls(relying_party: &RelyingParty) -> Problem {
    audit::record(Event::LoginRefused, ReasonCode::TooManyCalls, relying_party, None);
    unavailable().because(ReasonCode::TooManyCalls)
}

/// Returns the answer if the provider requires another step, at a login or a refresh.
pub(crate) fn step(kind: ChallengeKind) -> Problem {
    let (code, detail) = match kind {
        ChallengeKind::TwoFactor => (Code::TwoFactorRequired, "A second factor is needed."),
        ChallengeKind::PasswordChange => {
            (Code::PasswordChangeRequired, "The password must be changed first.")
        }
        ChallengeKind::AccountAction => {
            (Code::AccountActionRequired, "The account needs another step first.")
        }
    };
    Problem::new(code, detail)
}

fn refusal(relying_party: &RelyingParty, error: LoginError, now: u64) -> Problem {
    let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
    match error {
        LoginError::InvalidCredentials(said) => {
            let reason = ReasonCode::InvalidCredentials;
            match said {
                Some(said) => audit::record_detail(Event::LoginRefused, reason, relying_party, &said),
                None => audit::record(Event::LoginRefused, reason, relying_party, None),
            }
            Problem::new(Code::InvalidCredentials, "The user name or the password is wrong.")
        }
        LoginError::Challenge(kind, challenge, said) => {
            let mut problem = step(kind);
            audit::record_detail(Event::LoginRefused, problem.reason, relying_party, &said);
            problem.challenge = (!challenge.is_null()).then_some(challenge);
            problem
        }
        LoginError::TooMany(reason, retry_after) => {
            let wait = retry_after.map_or(RETRY_AFTER, |retry_after| retry_after.seconds(now));
            audit::record_detail(Event::LoginRefused, ReasonCode::ProviderThrottled, relying_party, &reason);
            let detail = "The identity provider takes no more logins for now. Try again later.";
            Problem::new(Code::TooManyAttempts, detail)
                .retry_after(wait)
                .because(ReasonCode::ProviderThrottled)
        }
        LoginError::Unavailable(reason, retry_after) => {
            let reason = reason.to_string();
            warn!(provider, client, reason, "login impossible: the provider is unavailable");
            audit::record(Event::LoginRefused, ReasonCode::ProviderUnavailable, relying_party, None);
            let wait = retry_after.map_or(RETRY_AFTER, |retry_after| retry_after.seconds(now));
            unavailable().retry_after(wait)
        }
        LoginError::Misconfigured(ClientRefusal { reason, fix: hint }) => {
            error!(provider, client, reason, hint, "login impossible: the provider refuses this client");
            audit::record(Event::LoginRefused, ReasonCode::ProviderMisconfigured, relying_party, None);
            unavailable().because(ReasonCode::ProviderMisconfigured)
        }
    }
}
