//! The end of a session: its tokens are refused here from now on, and its refresh token is revoked at the provider.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::access::assessment::{Grant, Previous};
use crate::access::identity::Identity;
use crate::access::revocations::{EndedBy, Mark, TokenMarks};
use crate::access::tokens::RefreshToken;
use crate::answer::reason::ReasonCode;
use crate::identity_provider::RevokeError;
use crate::session::relying_party::RelyingParty;
use crate::session::sessions::Sessions;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::traces;

/// Seconds to pause before each further attempt to revoke. As long as that is tried, the session stays ended here.
const PAUSES: [u64; 6] = [1, 5, 25, 60, 120, 300];

/// Successors of a refresh token that are followed: the newest one is known at once, unless it is being replaced.
const MAX_FOLLOWED: usize = 8;

impl Sessions {
    /// Ends a session at its user's wish. Returns once the provider has been asked once, or a request has waited long
    /// enough; further attempts are made in the background.
    ///
    /// `identity`: whose JWT was presented, if it is genuine, expired or not.
    pub async fn logout(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: Option<&Grant>,
        identity: Option<&Identity>,
    ) {
        if let Some(identity) = identity {
            self.revoke_jwt(relying_party, (*identity.marks(), identity.expires_at()), EndedBy::Revocation);
        }
        if grant.is_some() || identity.is_some() {
            audit::record(
                Event::Logout,
                ReasonCode::Requested,
                relying_party,
                identity.map(Identity::subject),
            );
        }
        let Some(grant) = grant else { return };
        let is_strangers = grant.record.is_none()
            && identity.is_none()
            && !self.ledger.is_known(Self::key(relying_party, &grant.refresh_token));
        let (newest, _) = self.end(relying_party, grant, EndedBy::Revocation, None);
        let (asked, first_attempt) = oneshot::channel();
        let work = revoke(Arc::clone(relying_party), newest, Some(asked), is_strangers);
        tokio::spawn(traces::under(traces::parent(), work));
        let _ = timeout(relying_party.request_timeout, first_attempt).await;
    }

    /// The same without waiting: somebody, whose identity is `new`, logs in with this browser.
    pub fn replace(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: Option<&Grant>,
        old: Option<&Identity>,
        new: &Identity,
    ) {
        let spared = Some(new.marks());
        if let Some(old) = old.filter(|old| !is_spared(spared, old.marks())) {
            self.revoke_jwt(relying_party, (*old.marks(), old.expires_at()), EndedBy::AnotherLogin);
        }
        if let Some(grant) = grant {
            let (newest, is_new) = self.end(relying_party, grant, EndedBy::AnotherLogin, spared);
            if is_new {
                audit::record(
                    Event::SessionEnded,
                    ReasonCode::Replaced,
                    relying_party,
                    old.map(Identity::subject),
                );
            }
            spawn_revocation(relying_party, newest);
        }
    }

    /// Ends a session that was revoked or has outlived itself. The first request that finds out also tells the provider.
    pub fn expire(&self, relying_party: &Arc<RelyingParty>, grant: &Grant, reason: ReasonCode) {
        if let (newest, true) = self.end(relying_party, grant, EndedBy::Revocation, None) {
            audit::record(Event::SessionEnded, reason, relying_party, None);
            spawn_revocation(relying_party, newest);
        }
    }

    /// Ends a session one of whose refresh tokens was used again after it had been replaced, with all that it gave.
    pub(super) fn end_reused(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        newest: &RefreshToken,
        previous: Option<&Previous>,
    ) {
        let subject = previous.map(|previous| previous.identity.subject());
        audit::record(Event::SessionEnded, ReasonCode::Reused, relying_party, subject);
        if let Some(Previous { identity, .. }) = previous {
            self.revoke_jwt(relying_party, (*identity.marks(), identity.expires_at()), EndedBy::Revocation);
        }
        let newest = Grant { refresh_token: newest.clone(), record: grant.record };
        self.ledger.end(Self::key(relying_party, &grant.refresh_token), EndedBy::Revocation);
        let (newest, _) = self.end(relying_party, &newest, EndedBy::Revocation, None);
        spawn_revocation(relying_party, newest);
    }

    /// Marks the token and its successors as ended, and revokes their JWTs. The last of them is the one that the provider
    /// knows. `true`: it had not been ended before. `spared`: a JWT that goes on.
    fn end(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        by: EndedBy,
        spared: Option<&TokenMarks>,
    ) -> (RefreshToken, bool) {
        if let Some(record) = &grant.record {
            let provider = relying_party.rules.session.provider;
            self.revoke_mark(provider, Mark::sealed_session(provider, &record.id), by);
        }
        let mut token = grant.refresh_token.clone();
        let mut is_new = false;
        for _ in 0..MAX_FOLLOWED {
            let end = self.ledger.end(Self::key(relying_party, &token), by);
            is_new |= end.is_new;
            for jwt in end.jwts.into_iter().filter(|(marks, _)| !is_spared(spared, marks)) {
                self.revoke_jwt(relying_party, jwt, by);
            }
            match end.successor {
                Some(successor) => token = successor,
                None => break,
            }
        }
        (token, is_new)
    }
}

/// A provider may take two logins for one session, or give both the same JWT within one second.
fn is_spared(spared: Option<&TokenMarks>, marks: &TokenMarks) -> bool {
    spared.is_some_and(|spared| {
        spared.token == marks.token || (spared.session.is_some() && spared.session == marks.session)
    })
}

/// Revokes in a task of its own.
pub(super) fn spawn_revocation(relying_party: &Arc<RelyingParty>, refresh_token: RefreshToken) {
    let work = revoke(Arc::clone(relying_party), refresh_token, None, false);
    tokio::spawn(traces::under(traces::parent(), work));
}

/// Revokes, and tries again where the provider is unavailable. `asked` is told after the first attempt. `is_strangers`: anyone
/// may have made it up; those never take the places of sessions.
async fn revoke(
    relying_party: Arc<RelyingParty>,
    refresh_token: RefreshToken,
    mut asked: Option<oneshot::Sender<()>>,
    is_strangers: bool,
) {
    let (provider, client) = (relying_party.provider.name(), &relying_party.client.id);
    let mut pauses = PAUSES.iter();
    let calls = &relying_party.calls;
    let bounds = if is_strangers { &calls.stranger_revocations } else { &calls.revocations };
    let Ok(mut queued) = bounds.queued.try_acquire().map(Some) else {
        warn!(provider, client, "revocation impossible: too many are waiting");
        return;
    };
    // Made-up tokens may fill the places for further attempts; they never take the first attempt from a genuine one.
    let mut place = None;
    loop {
        let result = {
            let _permit = bounds.calls.acquire().await;
            drop(queued.take());
            relying_party.provider.revoke(&relying_party.client, &refresh_token).await
        };
        if let Some(asked) = asked.take() {
            let _ = asked.send(());
        }
        let Err(error) = result else { return };
        match pauses.next() {
            Some(pause)
                if matches!(error, RevokeError::Unavailable(_)) && has_place(&relying_party, &mut place) =>
            {
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
fn has_place<'a>(relying_party: &'a RelyingParty, place: &mut Option<SemaphorePermit<'a>>) -> bool {
    if place.is_none() {
        *place = relying_party.calls.waiting_revocations.try_acquire().ok();
    }
    place.is_some()
}
