//! Logout: the refresh token is revoked, and whatever is known of it is forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::identity_provider::RevokeError;
use crate::session::ledger::SessionKey;
use crate::session::{Outcome, SessionContext, Sessions};

/// Pauses before each further attempt to revoke.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

impl Sessions {
    /// Ends the session of a refresh token. Returns once the provider has answered or a request has waited long enough;
    /// revoking goes on in the background.
    pub async fn logout(&self, app: &Arc<SessionContext>, refresh_token: &Zeroizing<String>) {
        let newest = self.end(app, refresh_token);
        info!(provider = app.provider.name(), client = app.client.id, "logout");
        let revoking = tokio::spawn(revoke(Arc::clone(app), newest));
        let _ = timeout(app.request_timeout, revoking).await;
    }

    /// The same without waiting: somebody else logs in with this browser.
    pub fn replace(&self, app: &Arc<SessionContext>, refresh_token: &Zeroizing<String>) {
        let newest = self.end(app, refresh_token);
        tokio::spawn(revoke(Arc::clone(app), newest));
    }

    /// Marks the token and its known successors as ended; the last of them is the one that the provider knows.
    fn end(&self, app: &SessionContext, refresh_token: &Zeroizing<String>) -> Zeroizing<String> {
        let mut token = refresh_token.clone();
        while let Some(Outcome::Renewed(tokens)) = self.ledger.end(SessionKey::new(app.rules.index, &token)) {
            match &tokens.refresh_token {
                Some(next) if **next != *token => token.clone_from(next),
                _ => break,
            }
        }
        token
    }
}

/// Revokes, and tries again where the provider is unavailable.
pub(super) async fn revoke(app: Arc<SessionContext>, refresh_token: Zeroizing<String>) {
    let (provider, client) = (app.provider.name(), &app.client.id);
    let mut pauses = RETRIES.iter();
    while let Err(error) = app.provider.revoke(&app.client, &refresh_token).await {
        match pauses.next() {
            Some(pause) if matches!(error, RevokeError::Unavailable(_)) => {
                warn!(provider, client, %error, "revocation failed, trying again");
                sleep(*pause).await;
            }
            _ => {
                warn!(provider, client, %error, "revocation failed: the grant lives until it expires at the provider");
                return;
            }
        }
    }
}
