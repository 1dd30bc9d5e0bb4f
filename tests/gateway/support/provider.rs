//! An OAuth 2 provider with the password and refresh grants, rotation, reuse detection and revocation, which fails on
//! demand.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use portcullis::clock::Clock;
use serde_json::{Map, Value, json};

use super::call::{Call, Endpoint, classify, client_of};
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

struct Grant {
    family: u64,
    user: String,
    client: String,
    used: bool,
}

struct State {
    settings: Settings,
    issuer: String,
    calls: Vec<Call>,
    next_faults: HashMap<Endpoint, VecDeque<Fault>>,
    standing_faults: HashMap<Endpoint, Fault>,
    grants: HashMap<String, Grant>,
    dead_families: HashSet<u64>,
    counter: u64,
    running: HashMap<Endpoint, usize>,
    most_parallel: HashMap<Endpoint, usize>,
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

/// Sets entries of an object; `null` removes one.
fn lay_over(target: &mut Value, changes: &Value) {
    let target: &mut Map<_, _> = target.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            target.remove(name);
        } else {
            target.insert(name.clone(), value.clone());
        }
    }
}

impl State {
    fn claims(&mut self, user: &str, client: &str, now: u64) -> Value {
        self.counter += 1;
        let roles = if user == "root" { json!(["user", "admin"]) } else { json!(["user"]) };
        let mut claims = json!({
            "iss": self.issuer, "sub": format!("id-of-{user}"), "aud": client, "azp": client,
            "iat": now, "exp": now + self.settings.lifetime, "jti": format!("jti-{}", self.counter),
            "email": format!("{user}@example.com"), "name": format!("The {user}"), "preferred_username": user,
            "roles": roles, "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        });
        if self.settings.padding > 0 {
            claims["padding"] = json!(noise(self.settings.padding, self.counter));
        }
        lay_over(&mut claims, &self.settings.claims.clone());
        claims
    }

    fn tokens(&mut self, user: &str, client: &str, refresh: Option<String>, now: u64) -> Value {
        let claims = self.claims(user, client, now);
        let token = self.settings.access_token.clone().unwrap_or_else(|| self.settings.key.sign(&claims));
        let mut answer =
            json!({"access_token": token, "token_type": "Bearer", "expires_in": self.settings.lifetime});
        if let Some(refresh) = refresh {
            answer["refresh_token"] = json!(refresh);
        }
        lay_over(&mut answer, &self.settings.answer.clone());
        answer
    }

    fn new_refresh_token(&mut self, family: u64, user: &str, client: &str) -> String {
        self.counter += 1;
        let padding = noise(self.settings.refresh_padding, self.counter);
        let number = if self.settings.one_refresh_token { 0 } else { self.counter };
        let token = format!("rt{number}-{user}-{client}{}{padding}", self.settings.odd_characters);
        let (user, client) = (user.to_owned(), client.to_owned());
        self.grants.insert(token.clone(), Grant { family, user, client, used: false });
        token
    }

    fn grant(&mut self, call: &Call, now: u64) -> (u16, Value) {
        let Some(client) = client_of(call) else { return (401, json!({"error": "invalid_client"})) };
        match call.endpoint {
            Endpoint::Login => {
                let user = call.field("username").unwrap_or_default().to_lowercase();
                if user == "nobody" || call.field("password") != Some(PASSWORD) {
                    return (
                        400,
                        json!({"error": "invalid_grant", "error_description": "Invalid user credentials"}),
                    );
                }
                self.counter += 1;
                let refresh = self.new_refresh_token(self.counter, &user, &client);
                (200, self.tokens(&user, &client, Some(refresh), now))
            }
            Endpoint::Refresh => self.refresh(call, &client, now),
            Endpoint::Revoke => {
                let token = call.field("token").unwrap_or_default();
                if let Some(grant) = self.grants.get(token) {
                    self.dead_families.insert(grant.family);
                }
                (200, json!({}))
            }
            Endpoint::EndSession => match self.grants.get(call.field("refresh_token").unwrap_or_default()) {
                Some(grant) if grant.client == client => {
                    self.dead_families.insert(grant.family);
                    (204, json!(null))
                }
                _ => (400, json!({"error": "invalid_grant", "error_description": "Invalid refresh token"})),
            },
            _ => (400, json!({"error": "unsupported_grant_type"})),
        }
    }

    fn refresh(&mut self, call: &Call, client: &str, now: u64) -> (u16, Value) {
        let dead = (400, json!({"error": "invalid_grant", "error_description": "Token is not active"}));
        let old = call.field("refresh_token").unwrap_or_default().to_owned();
        let rotation = self.settings.rotation;
        let Some(grant) = self.grants.get_mut(&old) else { return dead };
        if grant.used || grant.client != client || self.dead_families.contains(&grant.family) {
            self.dead_families.insert(grant.family);
            return dead;
        }
        grant.used = rotation == Rotation::Rotate;
        let (family, user) = (grant.family, grant.user.clone());
        let refresh = match rotation {
            Rotation::Rotate | Rotation::Lenient => Some(self.new_refresh_token(family, &user, client)),
            Rotation::Same => Some(old),
            Rotation::Omit => None,
        };
        (200, self.tokens(&user, client, refresh, now))
    }

    fn discovery(&self) -> Value {
        let issuer = &self.issuer;
        let mut document = json!({
            "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "end_session_endpoint": format!("{issuer}/logout"), "grant_types_supported": ["authorization_code"],
        });
        lay_over(&mut document, &self.settings.discovery);
        document
    }

    fn answer(&mut self, call: &Call, now: u64) -> Vec<u8> {
        let (status, body) = match call.endpoint {
            Endpoint::Discovery => (200, self.discovery()),
            Endpoint::Jwks => {
                let keys: Vec<_> = self.settings.published.iter().map(|key| key.jwk()).collect();
                (200, json!({"keys": keys}))
            }
            Endpoint::Other => (404, json!({})),
            _ => self.grant(call, now),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }

    fn start(&mut self, call: &Call) -> Option<Fault> {
        let endpoint = call.endpoint;
        self.calls.push(call.clone());
        let running = self.running.entry(endpoint).or_default();
        *running += 1;
        let most = self.most_parallel.entry(endpoint).or_default();
        *most = (*most).max(*running);
        let next = self.next_faults.get_mut(&endpoint).and_then(VecDeque::pop_front);
        next.or_else(|| self.standing_faults.get(&endpoint).cloned())
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

/// Text that does not compress and never repeats.
fn noise(length: usize, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.lowercase()).collect()
}
