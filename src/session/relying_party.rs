//! An app as its provider's client.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::access::decision::AppRules;
use crate::access::identity::Identity;
use crate::access::key_set::KeySet;
use crate::access::token::{self, Verification};
use crate::access::token_error::TokenError;
use crate::access::tokens::AccessToken;
use crate::identity_provider::{Client, IdentityProvider, UnknownKeySource};
use crate::session::provider_calls::ProviderCalls;
use crate::telemetry::audit::Audited;
use crate::telemetry::metrics;

/// The app and the provider of a session. OAuth calls such an app a client. OpenID Connect calls it a relying party.
#[derive(Debug)]
pub struct RelyingParty {
    /// The app's name, for logs and metrics.
    pub app: String,
    /// The rules for the app's tokens.
    pub rules: AppRules,
    /// The app's client.
    pub client: Client,
    /// The provider.
    pub provider: Arc<IdentityProvider>,
    /// The time for which a request waits for the provider.
    pub request_timeout: Duration,
    /// The bounds of calls to the provider. All apps with this provider share them.
    pub(crate) calls: Arc<ProviderCalls>,
}

impl Audited for RelyingParty {
    fn app(&self) -> &str {
        &self.app
    }

    fn client_id(&self) -> &str {
        &self.client.id
    }

    fn provider(&self) -> &str {
        self.provider.name()
    }
}

impl RelyingParty {
    /// Verifies a JWT that the provider has just answered with. If it names an unknown key, the keys are fetched first.
    pub(super) async fn verify_new(
        &self,
        access_token: &AccessToken,
        now: u64,
    ) -> Result<Arc<Identity>, TokenError> {
        let is_unknown = |error: &_| matches!(error, TokenError::UnknownKey);
        let verify = |keys: &KeySet| self.verify(access_token, keys, now);
        self.provider.with_keys(UnknownKeySource::TokenAnswer, is_unknown, verify).await
    }

    fn verify(&self, access_token: &str, keys: &KeySet, now: u64) -> Result<Arc<Identity>, TokenError> {
        let Verification { claims, validity } = token::verify(access_token, &self.rules.token, keys, now)?;
        self.compare_clocks(claims.issued_at(), now);
        validity.check()?;
        let identity = Identity::new(claims, &self.rules.identity)?;
        self.tell_omissions(&identity);
        Ok(Arc::new(identity))
    }

    /// Warns of each fact in the JWT that the app does not receive. The app may misread its absence.
    fn tell_omissions(&self, identity: &Identity) {
        let (app, subject) = (&self.app, identity.subject());
        for omission in identity.omissions() {
            warn!(app, subject, %omission, "the app is not told all that the JWT says");
            metrics::count_omission(app);
        }
    }

    /// Warns if the provider's clock is ahead by more than `leeway`. This does not depend on whether the JWT is
    /// accepted.
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
