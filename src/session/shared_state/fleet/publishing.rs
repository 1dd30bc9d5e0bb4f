//! Records what becomes of a claimed refresh: here, in the engine, and at all replicas.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::access::tokens::RefreshToken;
use crate::engine::commands::{Asserted, Assertion, Known, RecordState};
use crate::engine::names::Name;
use crate::session::outcome::Outcome;
use crate::session::session_key::SessionKey;
use crate::session::shared_state::fleet::claim_protocol::Errand;
use crate::session::shared_state::fleet::claiming::ended_by;
use crate::session::shared_state::fleet::message::{Bytes, Message, ResultMessage};
use crate::session::shared_state::fleet::replica::Replica;
use crate::session::shared_state::fleet::results::StoredResult;
use crate::session::shared_state::fleet::sealed_tokens;
use crate::session::shared_state::values::{Claimed, Gain, NoAnswer};
use crate::system::elapsed::elapsed;
use crate::telemetry::metrics::fleet::FLEET_METRICS;

/// The time for which this replica keeps new tokens that no request has brought yet. The browser may be asleep.
const UNUSED_IS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest time for which the engine keeps new tokens that no request has brought yet.
const UNUSED_IS_KEPT_BY_ENGINE: Duration = Duration::from_secs(600);

/// The longest time for which "this grant is dead" is kept. It is long enough for a page's parallel requests.
const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// Returns the new refresh token of an outcome, if there is one.
fn next_key(key: SessionKey, outcome: &Outcome) -> Option<SessionKey> {
    let next = outcome.refresh_token().flatten()?;
    Some(SessionKey::new(key.client_number, next)).filter(|next| *next != key)
}

/// Records the outcome of a call here, then in the engine, and then gives it to the requests that wait.
pub(super) async fn publish(
    replica: &Arc<Replica>,
    claimed: Claimed,
    outcome: Outcome,
    gain: Gain,
) -> Outcome {
    let key = claimed.key();
    let names = replica.names(key);
    // A refusal is only recorded here after the engine has been asked once more: tokens from elsewhere are better.
    let outcome = match outcome {
        Outcome::Dead => outcome,
        outcome => replica.replay_window.finish(key, outcome, gain),
    };
    let stored = claimed.refresh_token().zip(names.first()).and_then(|(refresh_token, name)| {
        let stored = replica.stored(key, refresh_token, *name, &outcome, gain)?;
        Some((replica.protocol().finished(*name, stored, elapsed()), refresh_token))
    });
    let told = if let Some((assertion, refresh_token)) = stored {
        let kept = record(replica, assertion).await;
        let better = kept.and_then(|known| replica.better(key, refresh_token, &names, &known, &outcome));
        better.unwrap_or(outcome)
    } else {
        replica.not_processed(&names);
        outcome
    };
    let told = match told {
        Outcome::Dead => replica.replay_window.finish(key, Outcome::Dead, gain),
        told => told,
    };
    claimed.tell(told.clone());
    told
}

/// Writes a result into the engine. If that fails, the outbox does it later. Returns the record that stands there
/// instead.
async fn record(replica: &Replica, assertion: Assertion) -> Option<Known> {
    match replica.engine.assert(&assertion).await {
        Ok(Asserted::Written) => None,
        Ok(Asserted::Kept(known)) => Some(known),
        Err(error) => {
            debug!(%error, "a result waits in the outbox");
            replica.protocol().post_assertion(assertion, elapsed());
            replica.posted.notify_one();
            None
        }
    }
}

impl Replica {
    /// Returns the outcome that counts instead of this one, because the engine has a stronger record.
    fn better(
        &self,
        key: SessionKey,
        refresh_token: &RefreshToken,
        names: &[Name],
        known: &Known,
        outcome: &Outcome,
    ) -> Option<Outcome> {
        match (known.state, outcome) {
            (RecordState::Ended | RecordState::Replaced, _) => {
                let by = ended_by(known.state);
                self.replay_window.end(key, by);
                // The tokens that have just come belong to the session as well.
                if let Some(next) = next_key(key, outcome) {
                    self.end_successor(next, by);
                }
                Some(Outcome::Ended)
            }
            (RecordState::Tokens, Outcome::Dead) => {
                let better = self.open(key, refresh_token, names, known)?;
                self.protocol().results.forget_end(names);
                Some(self.replay_window.finish(key, better, Gain::default()))
            }
            _ => None,
        }
    }

    /// A request has brought a refresh token. The tokens that it was given with need not be kept for long any more.
    pub(super) fn used(&self, key: SessionKey) {
        let window = self.replay_window.length();
        let own = self.protocol().results.shorten(key, elapsed() + window);
        if let Some(name) = own {
            self.post([(Errand::Shorten(vec![name], String::new(), window), window)]);
        }
    }
}

/// Gives up a claim that brought no answer.
pub(super) fn release(replica: &Arc<Replica>, claimed: Claimed, outcome: Outcome, why: NoAnswer) -> Outcome {
    let names = replica.names(claimed.key());
    if let Some(name) = names.first() {
        match why {
            NoAnswer::NotProcessed => replica.protocol().not_processed(*name, elapsed()),
            NoAnswer::Unknown => {
                FLEET_METRICS.unknown_outcomes.inc();
                replica.protocol().unknown(*name, elapsed());
            }
        }
        replica.posted.notify_one();
    }
    let told = replica.replay_window.finish(claimed.key(), outcome, Gain::default());
    claimed.tell(told.clone());
    told
}

impl Replica {
    /// Returns a result as it is kept here and in the engine.
    fn stored(
        &self,
        key: SessionKey,
        refresh_token: &RefreshToken,
        name: Name,
        outcome: &Outcome,
        gain: Gain,
    ) -> Option<StoredResult> {
        let (now, window) = (elapsed(), self.replay_window.length());
        let (state, value, lasts, is_kept) = match outcome {
            Outcome::Renewed(_) | Outcome::Unverified(_) => {
                let plain = sealed_tokens::write(outcome)?;
                let of = (&name, RecordState::Tokens);
                let value = self.keys.seal_result(&key.client_number.bytes(), refresh_token, of, &plain)?;
                if next_key(key, outcome).is_some() {
                    let lasts = window.max(gain.lasts.min(UNUSED_IS_KEPT_BY_ENGINE));
                    (RecordState::Tokens, value, lasts, lasts.max(UNUSED_IS_KEPT))
                } else {
                    // The same refresh token is used again when its JWT is used up.
                    let lasts = window.min(gain.is_fresh.max(Duration::from_millis(500)));
                    (RecordState::Tokens, value, lasts, lasts)
                }
            }
            Outcome::Dead => {
                let lasts = DEAD_IS_KEPT.min(window);
                (RecordState::Dead, Vec::new(), lasts, lasts)
            }
            _ => return None,
        };
        let jwt = match outcome {
            Outcome::Renewed(tokens) => Some((*tokens.identity.marks(), tokens.identity.expires_at()).into()),
            _ => None,
        };
        let next = next_key(key, outcome);
        let message = Message::Result(ResultMessage {
            name: name.into(),
            state: state.word().to_owned(),
            lasts: u64::try_from(is_kept.as_millis()).unwrap_or(u64::MAX),
            asserts: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            old: key.into(),
            next: next.map(Bytes::from),
            jwt,
        });
        let message = self.sealed(&message, &value)?;
        let (until, engine_until) = (now + is_kept, now + lasts);
        Some(StoredResult { state, value, message, next, until, engine_until })
    }
}
