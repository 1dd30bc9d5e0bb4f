//! Checks that need a login: whether the JWT verifies here, how large its cookies are, whether refresh tokens rotate
//! and with which grace, and whether a logout revokes. It leaves no session behind.

use std::sync::Arc;
use std::time::Duration;

use super::clock_skew::Skew;
use super::report::Report;
use crate::access::decision::AppRules;
use crate::access::identity::Identity;
use crate::access::key_set::KeySet;
use crate::access::token::{self, Verification};
use crate::access::token_fix;
use crate::config::{self, Config};
use crate::identity_provider::{Client, Credentials, IdentityProvider, LoginError, RefreshError, TokenSet};
use crate::system::clock::Clock;
use crate::system::explained::Explained;

/// Keycloak counts whole seconds. Within one second it may accept a replaced refresh token, although it rotates refresh
/// tokens.
const BEFORE_REUSE: Duration = Duration::from_millis(1100);

/// The longest time that a fresh JWT may need to arrive.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// One app's client, and the user that tries it.
pub(super) struct Trial<'a> {
    pub(super) provider: &'a IdentityProvider,
    pub(super) config: &'a Config,
    pub(super) settings: &'a config::IdentityProvider,
    pub(super) app: &'a config::App,
    pub(super) user: &'a Credentials,
    pub(super) subject: &'a str,
    pub(super) clock: &'a dyn Clock,
}

impl Trial<'_> {
    /// Logs in twice, because a provider that detects reuse ends the session of the first login.
    pub(super) async fn run(&self, report: &mut Report) {
        let client = Client::of(self.app);
        let Some(tokens) = self.login(&client, report).await else { return };
        self.check_token(&tokens, report).await;
        super::cookie_size::check(self.config, self.app, &tokens, self.subject, report);
        let Some(refreshed) = self.check_refresh(&client, &tokens, report).await else { return };
        self.check_revocation(&client, &refreshed, report).await;
        let Some(tokens) = self.login(&client, &mut Report::default()).await else { return };
        self.check_rotation(&client, &tokens, report).await;
    }

    async fn login(&self, client: &Client, report: &mut Report) -> Option<TokenSet> {
        let (message, fix): (Explained, _) = match self.provider.password_grant(client, self.user).await {
            Ok(tokens) => {
                report.ok(self.subject, "the test user can log in");
                return Some(tokens);
            }
            Err(LoginError::InvalidCredentials(said)) => (
                said.map_or_else(
                    || Explained::from("the provider refuses the test user's name or password"),
                    |said| format!("the provider refuses the test user: {said}").into(),
                ),
                "try it at the provider's own login page; is the user enabled, and its profile complete?",
            ),
            Err(LoginError::Challenge(kind, _, said)) => (
                format!("the provider wants another step of the test user ({kind:?}): {said}").into(),
                "take a user without a second factor and without required actions, and with a complete profile (Keycloak: first and \
                 last name, e-mail)",
            ),
            Err(LoginError::TooMany(text, _)) => (
                format!("the provider takes no more logins of the test user for now: {text}").into(),
                "wait, or unlock the user there",
            ),
            Err(LoginError::Unavailable(text, _)) => (
                text.after("the test user's login got no usable answer: "),
                "try again; if it is slow each time, raise `request_timeout`",
            ),
            Err(LoginError::Misconfigured(refusal)) => (
                format!("the provider refuses the test user's login: {}", refusal.reason).into(),
                "see the findings above",
            ),
        };
        report.error(self.subject, message, fix);
        None
    }

    async fn check_token(&self, tokens: &TokenSet, report: &mut Report) {
        let keys = match &self.settings.hmac_secret {
            Some(secret) => Arc::new(KeySet::from_hmac_secret(secret.expose().as_bytes())),
            None => match self.provider.probe_key_set().await {
                Ok(keys) => keys,
                // The check of the provider reports this.
                Err(_) => return,
            },
        };
        let rules = AppRules::new(self.app, self.settings, &self.config.session);
        let now = self.clock.now();
        let verified = token::verify(&tokens.access_token, &rules.token, &keys, now).and_then(
            |Verification { claims, validity }| {
                self.check_clock(claims.issued_at(), now, report);
                let identity = Identity::new(claims, &rules.identity)?;
                validity.check().map(|()| identity)
            },
        );
        match verified {
            Err(error) => {
                let said = token_fix::said(&error, &tokens.access_token);
                let message = format!("the JWT is refused here: {error}{said}");
                report.error(self.subject, message, &token_fix::of(&error));
            }
            Ok(identity) => {
                let lifetime = identity.expires_at().saturating_sub(identity.issued_at().unwrap_or(now));
                report.ok(self.subject, format!("the JWT verifies, and lives for {lifetime} s"));
                if lifetime > 3600 {
                    let message = "the JWT lives for more than an hour: so long a stolen one can be used";
                    report.warning(self.subject, message, "let the provider issue JWTs of a few minutes");
                }
                for omission in identity.omissions() {
                    let message = format!("the app is not told all that the JWT says: {omission}");
                    report.warning(self.subject, message, omission.fix());
                }
                if identity.roles().is_empty() {
                    let message = format!("the test user has no roles in `{}`", self.app.roles_claim);
                    report.warning(self.subject, message, "give it one, or correct `roles_claim`");
                }
            }
        }
    }

    /// Checks the clock by a fresh JWT. Its `iat` is more exact than a `Date` header, and not every provider sends
    /// `Date`.
    fn check_clock(&self, issued_at: Option<u64>, now: u64, report: &mut Report) {
        let Some(issued_at) = issued_at else { return };
        let skew = Skew::new(issued_at, now);
        // An answer takes time to arrive. It may also have waited for the password's hash.
        let on_the_way = if skew.is_ahead() { Duration::ZERO } else { ON_THE_WAY };
        if skew.exceeds(self.settings.leeway + on_the_way) {
            self.report_skew(skew, report);
        } else {
            report.ok(
                self.subject,
                format!("clock: agrees with the provider's: {skew}, by the `iat` of a fresh JWT"),
            );
        }
    }

    fn report_skew(&self, skew: Skew, report: &mut Report) {
        report.warning(
            self.subject,
            format!("clock: {skew}, by the `iat` of a fresh JWT"),
            "synchronise both clocks (NTP); JWTs from more than 30 s ahead are refused, and those from behind end early",
        );
    }

    /// Checks the refresh. Returns the tokens that are valid afterwards.
    async fn check_refresh(
        &self,
        client: &Client,
        tokens: &TokenSet,
        report: &mut Report,
    ) -> Option<TokenSet> {
        let Some(refresh_token) = &tokens.refresh_token else {
            let fix = "ask for one by `scope = \"openid offline_access\"`, or permit the grant to the client";
            report.warning(self.subject, "there is no refresh token: the session ends with its JWT", fix);
            return None;
        };
        let jwt = Some(tokens.access_token.as_str());
        match self.provider.refresh_grant(client, refresh_token, jwt).await {
            Ok(mut refreshed) => {
                report.ok(self.subject, "the refresh token gives a new JWT");
                refreshed.refresh_token.get_or_insert_with(|| refresh_token.clone());
                Some(refreshed)
            }
            Err(error) => {
                let message = Explained::from(error).after("the fresh refresh token is refused: ");
                report.error(self.subject, message, "permit the grant `refresh_token` to the client");
                None
            }
        }
    }

    async fn check_revocation(&self, client: &Client, tokens: &TokenSet, report: &mut Report) {
        let [_, logout, _] = self.provider.known_endpoints();
        let (Some(refresh_token), Some(_)) = (&tokens.refresh_token, logout) else { return };
        if let Err(error) = self.provider.revoke(client, refresh_token).await {
            let fix = "permit it to the client, or set `revocation_client_auth`";
            let message = Explained::from(error).after("a logout does not end the session: ");
            return report.error(self.subject, message, fix);
        }
        let jwt = Some(tokens.access_token.as_str());
        match self.provider.refresh_grant(client, refresh_token, jwt).await {
            Err(RefreshError::Dead(_)) => report.ok(self.subject, "a logout ends the refresh token"),
            Ok(_) => report.error(
                self.subject,
                "a revoked refresh token still gives new JWTs",
                "look for a setting of the provider's, or try `logout = \"end_session\"` (Keycloak)",
            ),
            Err(error) => {
                let message =
                    Explained::from(error).after("cannot tell whether a logout ends the refresh token: ");
                report.warning(self.subject, message, "try again when the provider is up");
            }
        }
    }

    async fn check_rotation(&self, client: &Client, tokens: &TokenSet, report: &mut Report) {
        let Some(first) = &tokens.refresh_token else { return };
        let jwt = Some(tokens.access_token.as_str());
        let Ok(second) = self.provider.refresh_grant(client, first, jwt).await else { return };
        let newest = second.refresh_token.as_ref().unwrap_or(first);
        tokio::time::sleep(BEFORE_REUSE).await;
        let again = self.provider.refresh_grant(client, first, jwt).await;
        let window = self.config.refresh.replay_window.as_secs();
        match &again {
            Err(RefreshError::Dead(_)) => report.ok(
                self.subject,
                format!("refresh tokens rotate, without grace; `refresh.replay_window` gives {window} s here"),
            ),
            Ok(third) if newest != first && third.refresh_token.as_ref() == Some(newest) => {
                report.ok(self.subject, "refresh tokens rotate, with a grace period for the old one");
            }
            Ok(_) => report.warning(
                self.subject,
                "a replaced refresh token can be used again: no rotation, or a grace period",
                "turn rotation on (Keycloak: \"Revoke refresh token\", reuse 0): a thief's use is found out then",
            ),
            Err(error) => {
                let message =
                    Explained::from(error.clone()).after("cannot tell whether refresh tokens rotate: ");
                report.warning(self.subject, message, "try again when the provider is up");
            }
        }
        // This call only ends the session, so that nothing remains.
        let third = again.ok().and_then(|tokens| tokens.refresh_token);
        let _ = self.provider.revoke(client, third.as_ref().unwrap_or(newest)).await;
    }
}
