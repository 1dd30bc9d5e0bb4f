//! Carries out the protocol of claims for one refresh: asks the engine, and waits for other replicas. `publishing` records
//! the result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::access::revocations::EndedBy;
use crate::access::tokens::RefreshToken;
use crate::engine::commands::{Claiming, EngineError, Known, RecordState, Verdict};
use crate::engine::names::Name;
use crate::session::outcome::{Outcome, jwt_mark};
use crate::session::session_key::SessionKey;
use crate::session::shared_state::fleet::claim_protocol::Next;
use crate::session::shared_state::fleet::generation::note_generation;
use crate::session::shared_state::fleet::replica::Replica;
use crate::session::shared_state::fleet::report;
use crate::session::shared_state::fleet::sealed_tokens;
use crate::session::shared_state::values::{Asked, Claim, Claimed, Gain};
use crate::system::elapsed::elapsed;
use crate::telemetry::metrics::fleet::{ClaimOutcome, FLEET_METRICS, ResultFrom};

/// The longest time for which a request waits for another replica, or for the engine to settle.
const PATIENCE: Duration = Duration::from_secs(6);

/// The pauses after which the engine is asked again, if no message comes. Messages may be lost. The last one is repeated.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(200)];

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
    pub(super) fn open(
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
    pub(super) fn not_processed(&self, names: &[Name]) {
        if let Some(name) = names.first() {
            self.protocol().not_processed(*name, elapsed());
            self.posted.notify_one();
        }
    }
}

/// Returns the cause of an end that the engine has recorded.
pub(super) const fn ended_by(state: RecordState) -> EndedBy {
    if matches!(state, RecordState::Replaced) { EndedBy::AnotherLogin } else { EndedBy::Revocation }
}
