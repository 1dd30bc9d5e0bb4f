//! The state of the provider: its grants, and the answers that follow from them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::{PASSWORD, Rotation, Settings};
use crate::support::call::{Call, Endpoint, client_of};
use crate::support::fault::Fault;

pub(super) struct Grant {
    pub(super) family: u64,
    pub(super) user: String,
    pub(super) client: String,
    pub(super) used: bool,
    /// Its first use.
    pub(super) used_at: Option<Instant>,
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) issuer: String,
    pub(super) calls: Vec<Call>,
    pub(super) next_faults: HashMap<Endpoint, VecDeque<Fault>>,
    pub(super) standing_faults: HashMap<Endpoint, Fault>,
    pub(super) grants: HashMap<String, Grant>,
    pub(super) dead_families: HashSet<u64>,
    pub(super) reuses: usize,
    pub(super) counter: u64,
    pub(super) running: HashMap<Endpoint, usize>,
    pub(super) most_parallel: HashMap<Endpoint, usize>,
}

/// Sets entries of an object; `null` removes one.
pub(super) fn lay_over(target: &mut Value, changes: &Value) {
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
    pub(super) fn claims(&mut self, user: &str, client: &str, now: u64) -> Value {
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

    pub(super) fn tokens(&mut self, user: &str, client: &str, refresh: Option<String>, now: u64) -> Value {
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

    pub(super) fn new_refresh_token(&mut self, family: u64, user: &str, client: &str) -> String {
        self.counter += 1;
        let padding = noise(self.settings.refresh_padding, self.counter);
        let number = if self.settings.one_refresh_token { 0 } else { self.counter };
        let token = format!("rt{number}-{user}-{client}{}{padding}", self.settings.odd_characters);
        let (user, client) = (user.to_owned(), client.to_owned());
        self.grants.insert(token.clone(), Grant { family, user, client, used: false, used_at: None });
        token
    }

    pub(super) fn grant(&mut self, call: &Call, now: u64) -> (u16, Value) {
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

    pub(super) fn refresh(&mut self, call: &Call, client: &str, now: u64) -> (u16, Value) {
        let dead = (400, json!({"error": "invalid_grant", "error_description": "Token is not active"}));
        let old = call.field("refresh_token").unwrap_or_default().to_owned();
        let rotation = self.settings.rotation;
        let Some(grant) = self.grants.get_mut(&old) else { return dead };
        let is_spent = grant.used && grant.used_at.is_none_or(|at| at.elapsed() >= self.settings.grace);
        self.reuses += usize::from(is_spent);
        if is_spent || grant.client != client || self.dead_families.contains(&grant.family) {
            self.dead_families.insert(grant.family);
            return dead;
        }
        grant.used = rotation == Rotation::Rotate;
        grant.used_at.get_or_insert_with(Instant::now);
        let (family, user) = (grant.family, grant.user.clone());
        let refresh = match rotation {
            Rotation::Rotate | Rotation::Lenient => Some(self.new_refresh_token(family, &user, client)),
            Rotation::Same => Some(old),
            Rotation::Omit => None,
        };
        (200, self.tokens(&user, client, refresh, now))
    }

    pub(super) fn discovery(&self) -> Value {
        let issuer = &self.issuer;
        let mut document = json!({
            "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "end_session_endpoint": format!("{issuer}/logout"), "grant_types_supported": ["authorization_code"],
        });
        lay_over(&mut document, &self.settings.discovery);
        document
    }

    pub(super) fn answer(&mut self, call: &Call, now: u64) -> Vec<u8> {
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

    pub(super) fn start(&mut self, call: &Call) -> Option<Fault> {
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

/// Text that does not compress and never repeats.
pub(super) fn noise(length: usize, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.lowercase()).collect()
}
