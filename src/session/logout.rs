//! Ends a session. From then on its tokens are refused here, and its refresh token is revoked at the provider.

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
use crate::session::calls_under_way::{CallUnderWay, CallsUnderWay, Kind};
use crate::session::relying_party::RelyingParty;
use crate::session::sessions::Sessions;
use crate::telemetry::audit::{self, Event};
use crate::telemetry::traces;

/// The pauses before each further attempt to revoke, in seconds. The session stays ended here during all attempts.
const PAUSES: [u64; 6] = [1, 5, 25, 60, 120, 300];

/// The largest number of steps from a refresh token to its newest successor. One step is enough, unless a refresh
/// replaces the newest one meanwhile.
const MAX_FOLLOWED: usize = 8;

/// The way in which a session is ended.
#[derive(Clone, Copy)]
struct Ending<'a> {
    by: EndedBy,
    /// The JWT of another login, which is not revoked.
    spared: Option<&'a TokenMarks>,
    /// Anyone may have made the refresh token up.
    is_strangers: bool,
}

impl Ending<'_> {
    const BY_REVOCATION: Self = Self { by: EndedBy::Revocation, spared: None, is_strangers: false };
}

impl Sessions {
    /// Ends a session because its user logs out. Returns after the first attempt to revoke at the provider, or after
    /// the request timeout. Further attempts are made in the background.
    ///
    /// `identity` is the identity of the presented JWT, if the JWT is genuine. The JWT may have expired.
    pub async fn logout(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: Option<&Grant>,
        identity: Option<&Identity>,
    ) {
        if let Some(identity) = identity {
            self.revoke_jwt(relying_party, (*identity.marks(), identity.expires_at()), EndedBy::Revocation)
                .await;
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
            && !self.replay_window.is_known(Self::key(relying_party, &grant.refresh_token));
        let ending = Ending { by: EndedBy::Revocation, spared: None, is_strangers };
        let (newest, _) = self.end(relying_party, grant, ending).await;
        let (asked, first_attempt) = oneshot::channel();
        let first = FirstAttempt { _under_way: self.under_way.begin(Kind::Revocation), over: Some(asked) };
        let work = revoke(Arc::clone(relying_party), newest, first, is_strangers);
        tokio::spawn(traces::under(traces::parent(), work));
        let _ = timeout(relying_party.request_timeout, first_attempt).await;
    }

    /// Ends the old session of a browser because somebody logs in with it. `new` is the identity of the new login. Does
    /// not wait for the provider.
    pub async fn replace(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: Option<&Grant>,
        old: Option<&Identity>,
        new: &Identity,
    ) {
        let spared = Some(new.marks());
        if let Some(old) = old.filter(|old| !is_spared(spared, old.marks())) {
            self.revoke_jwt(relying_party, (*old.marks(), old.expires_at()), EndedBy::AnotherLogin).await;
        }
        if let Some(grant) = grant {
            let ending = Ending { by: EndedBy::AnotherLogin, spared, is_strangers: false };
            let (newest, is_new) = self.end(relying_party, grant, ending).await;
            if is_new {
                audit::record(
                    Event::SessionEnded,
                    ReasonCode::Replaced,
                    relying_party,
                    old.map(Identity::subject),
                );
            }
            spawn_revocation(&self.under_way, relying_party, newest);
        }
    }

    /// Ends a session that was revoked or has exceeded its lifetime. The first request that ends it also revokes it at
    /// the provider.
    pub async fn expire(&self, relying_party: &Arc<RelyingParty>, grant: &Grant, reason: ReasonCode) {
        if let (newest, true) = self.end(relying_party, grant, Ending::BY_REVOCATION).await {
            audit::record(Event::SessionEnded, reason, relying_party, None);
            spawn_revocation(&self.under_way, relying_party, newest);
        }
    }

    /// Ends a session because one of its refresh tokens was used again after it had been replaced. All tokens of the
    /// session end as well.
    pub(super) async fn end_reused(
        &self,
        relying_party: &Arc<RelyingParty>,
        grant: &Grant,
        newest: Option<&RefreshToken>,
        previous: Option<&Previous>,
    ) {
        let subject = previous.map(|previous| previous.identity.subject());
        audit::record(Event::SessionEnded, ReasonCode::Reused, relying_party, subject);
        if let Some(Previous { identity, .. }) = previous {
            self.revoke_jwt(relying_party, (*identity.marks(), identity.expires_at()), EndedBy::Revocation)
                .await;
        }
        let newest = newest.unwrap_or(&grant.refresh_token).clone();
        let newest = Grant { refresh_token: newest, record: grant.record };
        self.shared.end(Self::key(relying_party, &grant.refresh_token), EndedBy::Revocation, false).await;
        let (newest, _) = self.end(relying_party, &newest, Ending::BY_REVOCATION).await;
        spawn_revocation(&self.under_way, relying_party, newest);
    }

    /// Marks the refresh token and its successors as ended, and revokes their JWTs. Returns the last successor, which the provider knows. Also returns `true` if the session had not been
    /// ended before.
    async fn end(
        &self,
        relying_party: &RelyingParty,
        grant: &Grant,
        ending: Ending<'_>,
    ) -> (RefreshToken, bool) {
        let Ending { by, spared, is_strangers } = ending;
        if let Some(record) = &grant.record {
            let provider = relying_party.rules.session.provider;
            self.revoke_mark(provider, Mark::sealed_session(provider, &record.id), by).await;
        }
        let mut token = grant.refresh_token.clone();
        let mut is_new = false;
        for _ in 0..MAX_FOLLOWED {
            let end = self.shared.end(Self::key(relying_party, &token), by, is_strangers).await;
            is_new |= end.is_new;
            for jwt in end.jwts.into_iter().filter(|(marks, _)| !is_spared(spared, marks)) {
                self.revoke_jwt(relying_party, jwt, by).await;
            }
            match end.successor {
                Some(successor) => token = successor,
                None => break,
            }
        }
        (token, is_new)
    }
}

/// Tells whether a JWT belongs to the login in `spared`. A provider may treat two logins as one session, or give both
/// the same JWT within one second.
fn is_spared(spared: Option<&TokenMarks>, marks: &TokenMarks) -> bool {
    spared.is_some_and(|spared| {
        spared.token == marks.token || (spared.session.is_some() && spared.session == marks.session)
    })
}

/// The first attempt to revoke.
struct FirstAttempt {
    _under_way: CallUnderWay,
    /// Gets a message when it is over.
    over: Option<oneshot::Sender<()>>,
}

/// Revokes a refresh token in a task of its own.
pub(super) fn spawn_revocation(
    calls: &Arc<CallsUnderWay>,
    relying_party: &Arc<RelyingParty>,
    refresh_token: RefreshToken,
) {
    let first = FirstAttempt { _under_way: calls.begin(Kind::Revocation), over: None };
    let work = revoke(Arc::clone(relying_party), refresh_token, first, false);
    tokio::spawn(traces::under(traces::parent(), work));
}

/// Revokes a refresh token, and tries again if the provider is unavailable. `is_strangers` says that anyone may have
/// made up the refresh token. Such revocations never take the places of sessions.
async fn revoke(
    relying_party: Arc<RelyingParty>,
    refresh_token: RefreshToken,
    first_attempt: FirstAttempt,
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
    // Made-up tokens may fill the places for further attempts. They never prevent the first attempt for a genuine
    // token.
    let mut place = None;
    let mut first_attempt = Some(first_attempt);
    loop {
        let result = {
            let _permit = bounds.calls.acquire().await;
            drop(queued.take());
            relying_party.provider.revoke(&relying_party.client, &refresh_token).await
        };
        if let Some(asked) = first_attempt.take().and_then(|first| first.over) {
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

/// Takes a place among the revocations that wait for another attempt. Returns `false` if no place is free.
fn has_place<'a>(relying_party: &'a RelyingParty, place: &mut Option<SemaphorePermit<'a>>) -> bool {
    if place.is_none() {
        *place = relying_party.calls.waiting_revocations.try_acquire().ok();
    }
    place.is_some()
}
