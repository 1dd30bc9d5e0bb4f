//! Refresh: one call to the provider for any number of requests, and one outcome for all of them.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::access::decision::Previous;
use crate::access::identity::Identity;
use crate::access::token::TokenError;
use crate::identity_provider::RefreshError;
use crate::session::ledger::{Ledger, SessionKey, Turn};
use crate::session::logout::revoke;
use crate::session::{Outcome, SessionContext, Sessions, Tokens};

/// Refreshes that one request follows from an old refresh token to the newest one.
const MAX_HOPS: usize = 8;

impl Sessions {
    /// Gets a new JWT for a refresh token. `previous`: the old JWT, if it is genuine; it says whose session it is.
    ///
    /// Many may ask for the same token: one calls the provider, and the call runs to its end even if nobody waits any
    /// more, since a rotated token would be lost with it. For the replay window the outcome is told again to those who
    /// still bring the old token.
    pub async fn refresh(
        &self,
        app: &Arc<SessionContext>,
        refresh_token: &Zeroizing<String>,
        previous: Option<&Previous>,
    ) -> Outcome {
        let waiting = timeout(app.request_timeout, self.newest(app, refresh_token, previous));
        let outcome = waiting.await.unwrap_or(Outcome::Unavailable);
        match &outcome {
            // A JWT of somebody else is refused, whoever asked for it first.
            Outcome::Renewed(tokens)
                if previous.is_some_and(|previous| is_of_another(previous, &tokens.identity)) =>
            {
                error!(
                    provider = app.provider.name(),
                    client = app.client.id,
                    "a refresh gave another user's JWT"
                );
                Outcome::Unavailable
            }
            _ => outcome,
        }
    }

    async fn newest(
        &self,
        app: &Arc<SessionContext>,
        refresh_token: &Zeroizing<String>,
        previous: Option<&Previous>,
    ) -> Outcome {
        let mut token = refresh_token.clone();
        let mut fallback = Outcome::Unavailable;
        for _ in 0..MAX_HOPS {
            let key = SessionKey::new(app.rules.index, &token);
            match self.ledger.take_turn(key, |outcome| self.is_usable(outcome, &token)) {
                Turn::Call(sender) => {
                    let mut waiter = sender.subscribe();
                    let call = Call {
                        app: Arc::clone(app),
                        ledger: Arc::clone(&self.ledger),
                        clock: Arc::clone(&self.clock),
                        refresh_token: token.clone(),
                        previous: previous.cloned(),
                    };
                    tokio::spawn(async move {
                        let outcome = call.run(key).await;
                        sender.send_replace(Some(outcome));
                    });
                    return wait(&mut waiter).await.or(fallback);
                }
                Turn::Wait(mut waiter) => return wait(&mut waiter).await.or(fallback),
                Turn::Known(Outcome::Renewed(tokens)) => match self.successor(app, &tokens, &token) {
                    // The old token is known to have a successor: its own fate counts.
                    Some(successor) => {
                        token = successor;
                        if self.clock.now() < tokens.identity.expires_at() {
                            fallback = Outcome::Renewed(tokens);
                        }
                    }
                    None => return Outcome::Renewed(tokens),
                },
                Turn::Known(outcome) => return outcome,
            }
        }
        warn!(
            provider = app.provider.name(),
            client = app.client.id,
            "a refresh token has too many successors"
        );
        Outcome::Unavailable
    }

    /// Whether an outcome that is known answers a request again. Without rotation the token has no successor, so a JWT
    /// that is about to expire means that another call is due.
    fn is_usable(&self, outcome: &Outcome, token: &str) -> bool {
        match outcome {
            Outcome::Renewed(tokens) => is_rotated(tokens, token) || self.is_fresh(tokens),
            Outcome::Dead | Outcome::Unavailable => true,
        }
    }

    fn is_fresh(&self, tokens: &Tokens) -> bool {
        let now = self.clock.now();
        now < tokens.identity.expires_at() && !tokens.identity.is_about_to_expire(self.refresh_ahead, now)
    }

    /// The refresh token to go on with, if the tokens of an outcome are not the newest or not fresh.
    fn successor(&self, app: &SessionContext, tokens: &Tokens, token: &str) -> Option<Zeroizing<String>> {
        let next = tokens.refresh_token.as_ref().filter(|_| is_rotated(tokens, token))?;
        let known = self.ledger.known(SessionKey::new(app.rules.index, next)).is_some();
        (known || !self.is_fresh(tokens)).then(|| next.clone())
    }
}

impl Outcome {
    /// The other outcome where this one says nothing.
    fn or(self, other: Self) -> Self {
        if matches!(self, Self::Unavailable) { other } else { self }
    }
}

fn is_of_another(previous: &Previous, identity: &Identity) -> bool {
    previous.identity.subject() != identity.subject()
}

fn is_rotated(tokens: &Tokens, token: &str) -> bool {
    tokens.refresh_token.as_ref().is_some_and(|next| next.as_str() != token)
}

async fn wait(waiter: &mut tokio::sync::watch::Receiver<Option<Outcome>>) -> Outcome {
    match waiter.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Outcome::Unavailable),
        // The caller has panicked.
        Err(_) => Outcome::Unavailable,
    }
}

/// One call to the provider.
struct Call {
    app: Arc<SessionContext>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn crate::clock::Clock>,
    refresh_token: Zeroizing<String>,
    previous: Option<Previous>,
}

impl Call {
    async fn run(self, key: SessionKey) -> Outcome {
        let outcome = self.ask().await;
        let told = self.ledger.finish(key, outcome.clone());
        if let (Outcome::Renewed(tokens), Outcome::Dead) = (&outcome, &told) {
            // Logged out while the call was under way: the new grant must not outlive the session.
            // In a task of its own, since those who wait for the outcome need not wait for that.
            let newest = tokens.refresh_token.as_ref().unwrap_or(&self.refresh_token);
            tokio::spawn(revoke(Arc::clone(&self.app), newest.clone()));
        }
        told
    }

    async fn ask(&self) -> Outcome {
        let app = &self.app;
        let (provider, client) = (app.provider.name(), &app.client.id);
        let old_jwt = self.previous.as_ref().map(|previous| previous.access_token.as_str());
        let tokens = match app.provider.refresh_grant(&app.client, &self.refresh_token, old_jwt).await {
            Ok(tokens) => tokens,
            Err(RefreshError::Dead(reason)) => {
                info!(provider, client, reason, "session ended: the refresh was refused");
                return Outcome::Dead;
            }
            Err(RefreshError::Unavailable(reason)) => {
                warn!(provider, client, reason, "refresh impossible: the provider is unavailable");
                return Outcome::Unavailable;
            }
            Err(RefreshError::Misconfigured(reason)) => {
                error!(provider, client, reason, "refresh impossible: the provider refuses this client");
                return Outcome::Unavailable;
            }
        };
        let identity = match app.verify_new(&tokens.access_token, self.clock.now()).await {
            Ok(identity) => identity,
            Err(error @ TokenError::UnusableClaim(_)) => {
                warn!(provider, client, %error, "session ended: its claims cannot be passed on");
                return Outcome::Dead;
            }
            Err(error) => {
                error!(provider, client, %error, "the provider's JWT was refused at a refresh");
                return Outcome::Unavailable;
            }
        };
        if self.previous.as_ref().is_some_and(|previous| is_of_another(previous, &identity)) {
            error!(provider, client, "the provider's JWT was refused at a refresh: another subject");
            return Outcome::Unavailable;
        }
        Outcome::Renewed(Arc::new(Tokens {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            identity,
        }))
    }
}
