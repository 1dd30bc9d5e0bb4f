//! Carries out the protocol of claims for one refresh: asks the engine, waits for other replicas, and publishes the
//! result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::access::revocations::EndedBy;
use crate::access::tokens::RefreshToken;
use crate::engine::commands::{Asserted, Assertion, Claiming, EngineError, Known, RecordState, Verdict};
use crate::engine::names::Name;
use crate::session::outcome::{Outcome, jwt_mark};
use crate::session::session_key::SessionKey;
use crate::session::shared_state::fleet::claim_protocol::{Errand, Next};
use crate::session::shared_state::fleet::generation::note_generation;
use crate::session::shared_state::fleet::message::{Bytes, Message, ResultMessage};
use crate::session::shared_state::fleet::replica::Replica;
use crate::session::shared_state::fleet::report;
use crate::session::shared_state::fleet::results::StoredResult;
use crate::session::shared_state::fleet::sealed_tokens;
use crate::session::shared_state::values::{Asked, Claim, Claimed, Gain, NoAnswer};
use crate::system::elapsed::elapsed;
use crate::telemetry::metrics::fleet::{ClaimOutcome, FLEET_METRICS, ResultFrom};

/// The longest time for which a request waits for another replica, or for the engine to settle.
const PATIENCE: Duration = Duration::from_secs(6);

/// The pauses after which the engine is asked again, if no message comes. Messages may be lost. The last one is repeated.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];

/// The time for which this replica keeps new tokens that no request has brought yet. The browser may be asleep.
const UNUSED_IS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The longest time for which the engine keeps new tokens that no request has brought yet.
const UNUSED_IS_KEPT_BY_ENGINE: Duration = Duration::from_secs(600);

/// The longest time for which "this grant is dead" is kept. It is long enough for a page's parallel requests.
const DEAD_IS_KEPT: Duration = Duration::from_secs(5);

/// The result of asking the engine.
enum Answer {
    /// The engine has granted the claim.
    Granted(Grant),
    /// There is an outcome.
    Outcome(Outcome),
    /// A result is known here now. The request looks at the local tables again.
    LookAgain(ResultFrom),
}

/// Claims a refresh, or says what to do instead.
pub(super) async fn claim(
    replica: &Arc<Replica>,
    key: SessionKey,
    refresh_token: &RefreshToken,
    asked: Asked,
) -> Claim {
    let names = replica.names(key);
    let mut from = ResultFrom::Local;
    for _ in 0..4 {
        if let Some(known) = replica.known(&names)
            && let Some(outcome) = replica.take_in(key, refresh_token, &names, &known)
        {
            return Claim::Known(outcome);
        }
        let claimed = match replica.replay_window.claim(key, asked) {
            Claim::Mine(claimed) => claimed,
            other => {
                if has_tokens(&other) {
                    FLEET_METRICS.replayed(from);
                }
                return other;
            }
        };
        let (sender, answered) = oneshot::channel();
        let question = Question {
            replica: Arc::clone(replica),
            key,
            refresh_token: refresh_token.clone(),
            names: names.clone(),
            asked,
        };
        // In a task of its own, because a claim that is granted to a request that has left must be taken back.
        tokio::spawn(question.ask(claimed, sender));
        match answered.await {
            Ok(Answer::Granted(mut grant)) => {
                if let Some(claimed) = grant.claimed.take() {
                    return Claim::Mine(claimed);
                }
            }
            Ok(Answer::Outcome(outcome)) => return Claim::Known(outcome),
            Ok(Answer::LookAgain(found)) => from = found,
            Err(_) => break,
        }
    }
    Claim::Known(Outcome::Unavailable)
}

/// A granted claim on its way to the request. If nobody takes it, because the request has left, it is given back.
struct Grant {
    replica: Arc<Replica>,
    names: Vec<Name>,
    claimed: Option<Claimed>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(claimed) = self.claimed.take() {
            debug!("a claim was granted after its request had left");
            self.replica.not_processed(&self.names);
            self.replica.replay_window.abandon(claimed.key());
            claimed.give_up();
        }
    }
}

/// Tells whether a known result has tokens for the request.
const fn has_tokens(claim: &Claim) -> bool {
    matches!(claim, Claim::Known(Outcome::Renewed(_) | Outcome::Unverified(_)) | Claim::Replaced(_))
}

/// A request's question to the engine.
struct Question {
    replica: Arc<Replica>,
    key: SessionKey,
    refresh_token: RefreshToken,
    names: Vec<Name>,
    asked: Asked,
}

impl Question {
    /// Asks until there is an answer, and gives it to the request. If the request has left, everything is given back.
    async fn ask(self, claimed: Claimed, sender: oneshot::Sender<Answer>) {
        let answer = self.answer(claimed, &sender).await;
        drop(sender.send(answer));
    }

    fn granted(&self, claimed: Claimed, is_second: bool) -> Answer {
        let claimed = claimed.granted(&self.refresh_token, is_second);
        let (replica, names) = (Arc::clone(&self.replica), self.names.clone());
        Answer::Granted(Grant { replica, names, claimed: Some(claimed) })
    }

    async fn answer(&self, claimed: Claimed, sender: &oneshot::Sender<Answer>) -> Answer {
        let Self { replica, key, refresh_token, names, .. } = self;
        let until = elapsed() + PATIENCE;
        let mut pauses = PAUSES.into_iter();
        let mut pause = Duration::ZERO;
        let mut last = None;
        while elapsed() < until && !sender.is_closed() {
            let arrived = replica.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let (next, outcome) = self.ask_once().await;
            last = Some(outcome);
            match next {
                Next::Present { is_second } => {
                    return self.granted(claimed, is_second);
                }
                Next::Use(known) => {
                    if known.state == RecordState::Tokens && self.is_useless(&known) {
                        // The refresh token stays in use, and its last JWT is used up.
                        return self.granted(claimed, false);
                    }
                    if let Some(outcome) = replica.take_in(*key, refresh_token, names, &known) {
                        // The end of a session is recorded already, with its cause.
                        replica.replay_window.abandon(*key);
                        claimed.tell(outcome.clone());
                        return Answer::Outcome(outcome);
                    }
                    replica.replay_window.abandon(*key);
                    claimed.give_up();
                    let is_of_engine = outcome == ClaimOutcome::Known;
                    return Answer::LookAgain(if is_of_engine {
                        ResultFrom::Engine
                    } else {
                        ResultFrom::Local
                    });
                }
                Next::Wait => {
                    pause = pauses.next().unwrap_or(pause);
                    let _ = timeout(pause, arrived).await;
                }
                Next::AskAgain => sleep(Duration::from_millis(10)).await,
                Next::Refuse => break,
            }
        }
        if let Some(reason) = last {
            report::refused(reason);
        }
        if sender.is_closed() {
            // The request has left, and says nothing of those that wait for it. One of them asks now.
            replica.replay_window.abandon(*key);
            claimed.give_up();
            return Answer::LookAgain(ResultFrom::Local);
        }
        self.tell(claimed, Outcome::Unavailable)
    }

    /// Gives the outcome to all requests that wait at this replica.
    fn tell(&self, claimed: Claimed, outcome: Outcome) -> Answer {
        let outcome = self.replica.replay_window.finish(self.key, outcome, Gain::default());
        claimed.tell(outcome.clone());
        Answer::Outcome(outcome)
    }

    /// Asks the engine once. If its answer is lost, repeats the claim with the same nonce.
    async fn ask_once(&self) -> (Next, ClaimOutcome) {
        let Self { replica, names, asked, .. } = self;
        let nonce = replica.protocol().begin(names, elapsed());
        let claiming = Claiming {
            names: names.clone(),
            nonce,
            lasts: crate::config::SharedState::CLAIM,
            refresh_grace: asked.refresh_grace,
        };
        let first = replica.engine.claim(&claiming).await;
        let is_lost = matches!(first, Err(EngineError::NoAnswer(_)));
        let answer = if is_lost {
            replica.protocol().repeats(names);
            replica.engine.claim(&claiming).await
        } else {
            first
        };
        let outcome = report::claimed(&answer);
        let next = match answer {
            Ok(answer) => {
                note_generation(replica, &answer.generation);
                if let (Verdict::Busy { owner }, Some(name)) = (&answer.verdict, names.first())
                    && !replica.members.is_living(owner, elapsed())
                {
                    // It may have presented the refresh token before it went.
                    replica.protocol().note_orphan(*name, elapsed());
                }
                let next = replica.protocol().answered(names, answer, elapsed());
                replica.posted.notify_one();
                next
            }
            Err(error) => {
                debug!(%error, "no claim");
                if is_lost || matches!(error, EngineError::NoAnswer(_)) {
                    let next = replica.protocol().unanswered(names, elapsed());
                    replica.posted.notify_one();
                    next
                } else {
                    replica.protocol().not_asked(names, elapsed())
                }
            }
        };
        (next, outcome)
    }

    /// Tells whether a result has a JWT that the request knows already and cannot use, and no new refresh token.
    fn is_useless(&self, known: &Known) -> bool {
        let Self { replica, key, refresh_token, names, asked } = self;
        let Some(useless) = asked.useless else { return false };
        let outcome = replica.open(*key, refresh_token, names, known);
        outcome.is_some_and(|outcome| {
            outcome.access_token().map(jwt_mark) == Some(useless)
                && outcome.refresh_token().flatten().is_none_or(|next| next == refresh_token)
        })
    }
}

impl Replica {
    /// Returns the result of a refresh token that this replica has seen.
    fn known(&self, names: &[Name]) -> Option<Known> {
        self.protocol().results.get(names, elapsed())
    }

    /// Opens the tokens of a result.
    fn open(
        &self,
        key: SessionKey,
        refresh_token: &RefreshToken,
        names: &[Name],
        known: &Known,
    ) -> Option<Outcome> {
        let name = names.get(known.key)?;
        let client = key.client_number.bytes();
        let opened =
            self.keys.open_result(&client, refresh_token, (name, known.state), known.key, &known.value);
        opened.and_then(|bytes| sealed_tokens::read(&bytes))
    }

    /// Takes a result into the local tables. Returns the outcome if it is an end. Tokens are found in the tables.
    fn take_in(
        &self,
        key: SessionKey,
        refresh_token: &RefreshToken,
        names: &[Name],
        known: &Known,
    ) -> Option<Outcome> {
        match known.state {
            RecordState::Tokens => {
                let Some(outcome) = self.open(key, refresh_token, names, known) else {
                    report::unreadable();
                    return Some(Outcome::Unavailable);
                };
                self.replay_window.receive(key, &outcome, Duration::ZERO);
                None
            }
            RecordState::Dead => Some(Outcome::Dead),
            RecordState::Ended | RecordState::Replaced => {
                let by = ended_by(known.state);
                self.replay_window.end(key, by);
                Some(Outcome::of_end(by))
            }
            RecordState::Claimed => Some(Outcome::Unavailable),
        }
    }

    /// Takes a claim back, because its refresh token was certainly not processed.
    fn not_processed(&self, names: &[Name]) {
        if let Some(name) = names.first() {
            self.protocol().not_processed(*name, elapsed());
            self.posted.notify_one();
        }
    }

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

/// Returns the new refresh token of an outcome, if there is one.
fn next_key(key: SessionKey, outcome: &Outcome) -> Option<SessionKey> {
    let next = outcome.refresh_token().flatten()?;
    Some(SessionKey::new(key.client_number, next)).filter(|next| *next != key)
}

const fn ended_by(state: RecordState) -> EndedBy {
    if matches!(state, RecordState::Replaced) { EndedBy::AnotherLogin } else { EndedBy::Revocation }
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
