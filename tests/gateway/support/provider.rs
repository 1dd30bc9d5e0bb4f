//! An OAuth 2 provider with the password and refresh grants, rotation, reuse detection and revocation, which fails on
//! demand.

mod state;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portcullis::system::clock::Clock;
use serde_json::{Value, json};

use self::state::{State, lay_over};
use super::call::{Call, Endpoint, classify};
use super::fault::{self, Fault};
use super::keys::Key;
use super::listening::Listening;
use super::wire::Wire;

/// The refresh token that a refresh answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// A new one; the second use of an old one kills the family.
    Rotate,
    /// A new one; old ones stay good.
    Lenient,
    /// The same one.
    Same,
    /// None at all.
    Omit,
}

/// Settings that a test may change at any time.
pub(crate) struct Settings {
    /// Seconds that an access token lives.
    pub(crate) lifetime: u64,
    pub(crate) rotation: Rotation,
    /// The time for which a refresh token is still good after its first use.
    pub(crate) grace: Duration,
    /// Each user has one refresh token at a client, which every login gives.
    pub(crate) one_refresh_token: bool,
    /// Appended to each refresh token.
    pub(crate) odd_characters: String,
    /// Laid over the claims of every token; `null` removes one.
    pub(crate) claims: Value,
    /// Bytes of a claim that is there for its size.
    pub(crate) padding: usize,
    /// Bytes added to each refresh token.
    pub(crate) refresh_padding: usize,
    /// The key that signs.
    pub(crate) key: Key,
    /// The keys that the JWKS shows.
    pub(crate) published: Vec<Key>,
    /// Replaces the whole access token.
    pub(crate) access_token: Option<String>,
    /// Laid over the discovery document; `null` removes an entry.
    pub(crate) discovery: Value,
    /// Laid over each token answer.
    pub(crate) answer: Value,
}

/// The provider.
pub(crate) struct Provider {
    listening: Listening,
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

/// Password of every user; `nobody` is not a user.
pub(crate) const PASSWORD: &str = "correct horse";

impl Provider {
    /// Starts one that tells the time by `clock`.
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let settings = Settings {
            lifetime: 300,
            rotation: Rotation::Rotate,
            grace: Duration::ZERO,
            one_refresh_token: false,
            odd_characters: String::new(),
            claims: json!({}),
            padding: 0,
            refresh_padding: 0,
            key: Key::Rsa,
            published: vec![Key::Rsa, Key::Ec, Key::Ed],
            access_token: None,
            discovery: json!({}),
            answer: json!({}),
        };
        let state = Arc::new(Mutex::new(State {
            settings,
            issuer: String::new(),
            calls: Vec::new(),
            next_faults: HashMap::new(),
            standing_faults: HashMap::new(),
            grants: HashMap::new(),
            dead_families: HashSet::new(),
            reuses: 0,
            counter: 0,
            running: HashMap::new(),
            most_parallel: HashMap::new(),
        }));
        let (shared, time) = (state.clone(), clock.clone());
        let listening = Listening::start(move |wire, _| serve(wire, shared.clone(), time.clone())).await;
        state.lock().unwrap().issuer = format!("http://{}", listening.address());
        Self { listening, state, clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state().settings);
    }

    /// The next call there fails so; several queue up.
    pub(crate) fn fail_next(&self, endpoint: Endpoint, fault: Fault) {
        self.state().next_faults.entry(endpoint).or_default().push_back(fault);
    }

    /// Every call there fails so, until [`Self::recover`].
    pub(crate) fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.state().standing_faults.insert(endpoint, fault);
    }

    pub(crate) fn recover(&self) {
        let mut state = self.state();
        state.standing_faults.clear();
        state.next_faults.clear();
    }

    pub(crate) fn calls(&self, endpoint: Endpoint) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.endpoint == endpoint).cloned().collect()
    }

    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.calls(endpoint).len()
    }

    /// The most calls of this kind that were ever under way at once.
    pub(crate) fn most_parallel(&self, endpoint: Endpoint) -> usize {
        self.state().most_parallel.get(&endpoint).copied().unwrap_or(0)
    }

    /// The number of refresh calls with a token that was spent already. Each has ended a session.
    pub(crate) fn reuses(&self) -> usize {
        self.state().reuses
    }

    /// Ends every login, as an administrator would.
    pub(crate) fn end_all_sessions(&self) {
        let mut state = self.state();
        let families: Vec<_> = state.grants.values().map(|grant| grant.family).collect();
        state.dead_families.extend(families);
    }

    /// Ends every login of a user.
    pub(crate) fn end_sessions_of(&self, user: &str) {
        let mut state = self.state();
        let of_user = state.grants.values().filter(|grant| grant.user == user).map(|grant| grant.family);
        let families: Vec<_> = of_user.collect();
        state.dead_families.extend(families);
    }

    /// Returns whether this refresh token would still be taken.
    pub(crate) fn is_alive(&self, refresh_token: &str) -> bool {
        let state = self.state();
        let grant = state.grants.get(refresh_token);
        grant.is_some_and(|grant| !grant.used && !state.dead_families.contains(&grant.family))
    }

    /// An access token that the provider never handed out: its usual claims with `changes` laid over them.
    pub(crate) fn mint(&self, user: &str, client: &str, changes: &Value) -> String {
        let mut state = self.state();
        let mut claims = state.claims(user, client, self.clock.now());
        lay_over(&mut claims, changes);
        state.settings.key.sign(&claims)
    }
}

async fn serve(mut wire: Wire, state: Arc<Mutex<State>>, clock: Arc<dyn Clock>) {
    while let Ok(Some(head)) = wire.head().await {
        let Ok(body) = wire.body(head.request_framing(), 1 << 20).await else { return };
        let call = classify(head, &body.bytes);
        let (fault, usual) = {
            let mut state = state.lock().unwrap();
            let fault = state.start(&call);
            let effective = fault.as_ref().is_none_or(Fault::takes_effect);
            (fault, if effective { state.answer(&call, clock.now()) } else { Vec::new() })
        };
        // Who has the answer may send the next call at once: those two are not parallel.
        let ends = || {
            if let Some(running) = state.lock().unwrap().running.get_mut(&call.endpoint) {
                *running -= 1;
            }
        };
        let Some(next) = fault::answer(fault, wire, usual, ends).await else { return };
        wire = next;
    }
}
