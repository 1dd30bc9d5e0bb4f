//! Logout: the refresh token is revoked, and whatever is known of it is forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::identity_provider::RevokeError;
use crate::session::ledger::SessionKey;
use crate::session::{SessionContext, Sessions};

/// Seconds to pause before each further attempt to revoke. As long as that is tried, the session stays ended here.
const PAUSES: [u64; 6] = [1, 5, 25, 60, 120, 300];

impl Sessions {
    /// Ends the session of a refresh token. Returns once the provider has been asked once, or a request has waited long
    /// enough; further attempts are made in the background.
    pub async fn logout(&self, app: &Arc<SessionContext>, refresh_token: &Zeroizing<String>) {
        let newest = self.end(app, refresh_token);
        info!(provider = app.provider.name(), client = app.client.id, "logout");
        let (asked, first_attempt) = oneshot::channel();
        tokio::spawn(revoke(Arc::clone(app), newest, Some(asked)));
        let _ = timeout(app.request_timeout, first_attempt).await;
    }

    /// The same without waiting: somebody else logs in with this browser.
    pub fn replace(&self, app: &Arc<SessionContext>, refresh_token: &Zeroizing<String>) {
        let newest = self.end(app, refresh_token);
        tokio::spawn(revoke(Arc::clone(app), newest, None));
    }

    /// Marks the token and its known successors as ended; the last of them is the one that the provider knows.
    fn end(&self, app: &SessionContext, refresh_token: &Zeroizing<String>) -> Zeroizing<String> {
        let mut token = refresh_token.clone();
        while let Some(outcome) = self.ledger.end(SessionKey::new(app.rules.index, &token)) {
            match outcome.refresh_token().flatten() {
                Some(next) if **next != *token => token.clone_from(next),
                _ => break,
            }
        }
        token
    }
}

/// Revokes, and tries again where the provider is unavailable. `asked` is told after the first attempt.
pub(super) async fn revoke(
    app: Arc<SessionContext>,
    refresh_token: Zeroizing<String>,
    mut asked: Option<oneshot::Sender<()>>,
) {
    let (provider, client) = (app.provider.name(), &app.client.id);
    let mut pauses = PAUSES.iter();
    // Made-up tokens may fill the places for further attempts; they never take the first attempt from a genuine one.
    let mut place = None;
    loop {
        let result = {
            let _permit = app.calls.revocations.acquire().await;
            app.provider.revoke(&app.client, &refresh_token).await
        };
        if let Some(asked) = asked.take() {
            let _ = asked.send(());
        }
        let Err(error) = result else { return };
        match pauses.next() {
            Some(pause) if matches!(error, RevokeError::Unavailable(_)) && has_place(&app, &mut place) => {
                warn!(provider, client, %error, "revocation failed, trying again");
                sleep(Duration::from_secs(*pause)).await;
            }
            _ => {
                warn!(provider, client, %error, "revocation failed: the grant lives until it expires at the provider");
                return;
            }
        }
    }
}

/// Whether there is a place among the revocations that wait for another attempt.
fn has_place<'a>(app: &'a SessionContext, place: &mut Option<SemaphorePermit<'a>>) -> bool {
    if place.is_none() {
        *place = app.calls.waiting_revocations.try_acquire().ok();
    }
    place.is_some()
}
