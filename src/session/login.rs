//! Login: the password grant, and what its answer means for the browser.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::timeout;
use tracing::{error, warn};

use crate::access::decision::RETRY_AFTER;
use crate::access::token::TokenError;
use crate::identity_provider::{ChallengeKind, Credentials, LoginError};
use crate::reason::ReasonCode;
use crate::respond::{Code, Problem};
use crate::session::login_queue::LoginName;
use crate::session::{SessionContext, Sessions, Tokens};
use crate::telemetry::audit::{self, Event};

impl Sessions {
    /// Logs a user in. The problem says to the browser what went wrong; the log says more.
    ///
    /// `client` is the browser's address: failed logins are counted by it, and the places in the queue of a user name
    /// shared.
    pub async fn login(
        &self,
        app: &SessionContext,
        credentials: &Credentials,
        client: Option<IpAddr>,
    ) -> Result<Arc<Tokens>, Problem> {
        let provider = app.provider.name();
        let name = LoginName::new(app.provider.issuer(), &credentials.username, client);
        if let Err(wait) = self.throttle.check(&name) {
            audit::record(Event::LoginRefused, ReasonCode::TooManyFailed, app, None);
            return Err(Problem::new(Code::TooManyAttempts, "Too many logins have failed. Try again later.")
                .retry_after(wait.as_secs() + 1));
        }
        let Some(place) = self.login_queue.enter(&name) else {
            let reason = ReasonCode::TooManyWaiting;
            audit::record(Event::LoginRefused, reason, app, None);
            return Err(Problem::new(Code::TooManyAttempts, "Too many logins at once. Try again later.")
                .retry_after(1)
                .because(reason));
        };
        // Twice: one's own turn, and the one before.
        let Ok(permit) = timeout(app.request_timeout * 2, place.turn()).await else {
            return Err(too_many_calls(app));
        };
        let Ok(call) = timeout(app.request_timeout, app.calls.logins.acquire()).await else {
            return Err(too_many_calls(app));
        };
        let granted = app.provider.password_grant(&app.client, credentials).await;
        drop((permit, call));
        match &granted {
            Ok(_) => self.throttle.succeeded(&name),
            Err(LoginError::InvalidCredentials) => self.throttle.failed(&name),
            Err(_) => {}
        }
        let tokens = granted.map_err(|error| refusal(app, error, self.clock.now()))?;
        let identity = match app.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error @ TokenError::UnusableClaim(_)) => {
                let reason = error.code();
                audit::record_detail(Event::LoginRefused, reason, app, &error.to_string());
                let detail = "This account cannot be used with this app.";
                return Err(Problem::new(Code::Forbidden, detail).because(reason));
            }
            Err(error) => {
                error!(provider, client = app.client.id, %error, "the provider's JWT was refused at login");
                audit::record_detail(
                    Event::LoginRefused,
                    ReasonCode::ProviderToken,
                    app,
                    error.code().as_str(),
                );
                return Err(unavailable().because(ReasonCode::ProviderToken));
            }
        };
        self.memory.saw(app.rules.token.provider, &identity, self.clock.now());
        // A login that waited for its answer while its subject was revoked counts as one after that.
        self.memory.revocations.admit(identity.marks(), identity.issued_at(), self.clock.now());
        if let Some(refresh_token) = &tokens.refresh_token {
            let started_at = identity.session_start(self.clock.now());
            self.ledger.begin(Self::key(app, refresh_token), &identity, started_at);
        }
        Ok(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
            rules: app.rules.generation,
        }))
    }
}

/// The answer where the provider is the reason.
pub(crate) fn unavailable() -> Problem {
    Problem::new(
        Code::IdentityProviderUnavailable,
        "The identity provider cannot be reached now. Try again later.",
    )
    .retry_after(RETRY_AFTER)
}

fn too_many_calls(app: &SessionContext) -> Problem {
    audit::record(Event::LoginRefused, ReasonCode::TooManyCalls, app, None);
    unavailable().because(ReasonCode::TooManyCalls)
}

/// The answer where the provider wants another step, at a login or a refresh.
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

fn refusal(app: &SessionContext, error: LoginError, now: u64) -> Problem {
    let (provider, client) = (app.provider.name(), &app.client.id);
    match error {
        LoginError::InvalidCredentials => {
            audit::record(Event::LoginRefused, ReasonCode::InvalidCredentials, app, None);
            Problem::new(Code::InvalidCredentials, "The user name or the password is wrong.")
        }
        LoginError::Challenge(kind, challenge) => {
            let mut problem = step(kind);
            audit::record(Event::LoginRefused, problem.reason, app, None);
            problem.challenge = (!challenge.is_null()).then_some(challenge);
            problem
        }
        LoginError::TooMany(reason, retry_after) => {
            let wait = retry_after.map_or(RETRY_AFTER, |retry_after| retry_after.seconds(now));
            audit::record_detail(Event::LoginRefused, ReasonCode::ProviderThrottled, app, &reason);
            let detail = "The identity provider takes no more logins for now. Try again later.";
            Problem::new(Code::TooManyAttempts, detail)
                .retry_after(wait)
                .because(ReasonCode::ProviderThrottled)
        }
        LoginError::Unavailable(reason, retry_after) => {
            warn!(provider, client, reason, "login impossible: the provider is unavailable");
            audit::record(Event::LoginRefused, ReasonCode::ProviderUnavailable, app, None);
            let wait = retry_after.map_or(RETRY_AFTER, |retry_after| retry_after.seconds(now));
            unavailable().retry_after(wait)
        }
        LoginError::Misconfigured(reason) => {
            error!(provider, client, reason, "login impossible: the provider refuses this client");
            audit::record(Event::LoginRefused, ReasonCode::ProviderMisconfigured, app, None);
            unavailable().because(ReasonCode::ProviderMisconfigured)
        }
    }
}
