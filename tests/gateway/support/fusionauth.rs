//! A FusionAuth look-alike after its documentation: both refresh APIs, its errors and challenges, its own logout.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use portcullis::system::clock::Clock;
use serde_json::{Value, json};

use super::fault::{self, Fault};
use super::keys::Key;
use super::listening::Listening;
use super::provider::PASSWORD;
use super::wire::{Head, Wire};

/// One call, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// Method and path, without the query.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.head.word(0), self.head.word(1).split('?').next().unwrap_or_default())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    fn query(&self) -> HashMap<String, String> {
        let query = self.head.word(1).split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    faults: HashMap<String, VecDeque<Fault>>,
    refresh_tokens: HashMap<String, String>,
    counter: u64,
    one_time_use: bool,
}

/// The look-alike.
pub(crate) struct FusionAuth {
    listening: Listening,
    state: Arc<Mutex<State>>,
}

/// FusionAuth's issuer is a free text.
pub(crate) const ISSUER: &str = "acme.com";

impl FusionAuth {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let listening = Listening::start(move |wire, _| serve(wire, shared.clone(), clock.clone())).await;
        Self { listening, state }
    }

    /// Returns the `gateway.toml` for it, with the store as its only app.
    pub(crate) fn config(&self, refresh_api: &str) -> String {
        let base = self.url();
        format!(
            r#"
            [identity_providers.main]
            kind = "fusionauth"
            refresh_api = "{refresh_api}"
            issuer = "{ISSUER}"
            token_endpoint = "{base}/oauth2/token"
            jwks_uri = "{base}/.well-known/jwks.json"
            "#
        )
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    /// Rotates refresh tokens, without grace.
    pub(crate) fn use_tokens_once(&self) {
        self.state.lock().unwrap().one_time_use = true;
    }

    /// The next such call (`POST /oauth2/token`) fails so.
    pub(crate) fn fail_next(&self, what: &str, fault: Fault) {
        self.state.lock().unwrap().faults.entry(what.into()).or_default().push_back(fault);
    }

    pub(crate) fn calls(&self, what: &str) -> Vec<Call> {
        self.state.lock().unwrap().calls.iter().filter(|call| call.what() == what).cloned().collect()
    }

    /// Forgets every refresh token.
    pub(crate) fn revoke_all(&self) {
        self.state.lock().unwrap().refresh_tokens.clear();
    }

    pub(crate) fn is_alive(&self, refresh_token: &str) -> bool {
        self.state.lock().unwrap().refresh_tokens.contains_key(refresh_token)
    }
}

impl State {
    fn token(&mut self, user: &str, now: u64) -> String {
        self.counter += 1;
        Key::Rsa.sign(&json!({
            "iss": ISSUER, "aud": "store", "applicationId": "store", "sub": format!("id-of-{user}"),
            "iat": now, "exp": now + 300, "jti": format!("jti-{}", self.counter), "auth_time": now,
            "authenticationType": "PASSWORD", "roles": ["user"], "tid": "tenant", "sid": "sid",
        }))
    }

    fn new_refresh_token(&mut self, user: &str) -> String {
        self.counter += 1;
        let token = format!("fa-{}-{user}", self.counter);
        self.refresh_tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// Takes a refresh token; the new one, if there is one.
    fn use_refresh_token(&mut self, old: &str) -> Option<(String, Option<String>)> {
        let user = self.refresh_tokens.get(old)?.clone();
        if !self.one_time_use {
            return Some((user, None));
        }
        self.refresh_tokens.remove(old);
        let new = self.new_refresh_token(&user);
        Some((user, Some(new)))
    }

    fn answer(&mut self, call: &Call, now: u64) -> (u16, Option<Value>) {
        let form = call.form();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        match (call.what().as_str(), field("grant_type")) {
            ("GET /.well-known/jwks.json", _) => (200, Some(json!({"keys": [Key::Rsa.jwk()]}))),
            ("POST /oauth2/token", "password") => {
                if field("password") != PASSWORD {
                    return (400, Some(error("invalid_grant", "invalid_user_credentials")));
                }
                let user = field("username").to_owned();
                let refresh = self.new_refresh_token(&user);
                (
                    200,
                    Some(json!({
                        "access_token": self.token(&user, now), "expires_in": 300, "id_token": "not.for.us",
                        "refresh_token": refresh, "refresh_token_id": "rid", "scope": field("scope"),
                        "token_type": "Bearer", "userId": format!("id-of-{user}"),
                    })),
                )
            }
            ("POST /oauth2/token", "refresh_token") => match self.use_refresh_token(field("refresh_token")) {
                Some((user, new)) => {
                    let mut body = json!({"access_token": self.token(&user, now), "expires_in": 300,
                        "token_type": "Bearer", "userId": format!("id-of-{user}")});
                    if let Some(new) = new {
                        body["refresh_token"] = json!(new);
                    }
                    (200, Some(body))
                }
                None => (400, Some(error("invalid_grant", "refresh_token_not_found"))),
            },
            ("POST /api/jwt/refresh", _) => {
                let old = call.json()["refreshToken"].as_str().unwrap_or_default().to_owned();
                match self.use_refresh_token(&old) {
                    Some((user, new)) => (
                        200,
                        Some(json!({
                            "refreshToken": new.unwrap_or(old), "refreshTokenId": "rid", "token": self.token(&user, now),
                        })),
                    ),
                    None => (404, None),
                }
            }
            ("DELETE /api/jwt/refresh", _) => {
                self.refresh_tokens.remove(call.query().get("token").map_or("", String::as_str));
                (200, None)
            }
            ("POST /api/logout", _) => {
                let query = call.query();
                let token = query.get("refreshToken").cloned();
                self.refresh_tokens.remove(&token.unwrap_or_default());
                (200, None)
            }
            _ => (404, None),
        }
    }
}

fn error(error: &str, reason: &str) -> Value {
    json!({"error": error, "error_reason": reason, "error_description": "as documented"})
}

async fn serve(mut wire: Wire, state: Arc<Mutex<State>>, clock: Arc<dyn Clock>) {
    while let Ok(Some(head)) = wire.head().await {
        let Ok(body) = wire.body(head.request_framing(), 1 << 20).await else { return };
        let call = Call { head, body: body.bytes };
        let (fault, (status, body)) = {
            let mut state = state.lock().unwrap();
            state.calls.push(call.clone());
            let fault = state.faults.get_mut(&call.what()).and_then(VecDeque::pop_front);
            let effective = fault.as_ref().is_none_or(Fault::takes_effect);
            (fault, if effective { state.answer(&call, clock.now()) } else { (500, None) })
        };
        let body = body.map_or_else(String::new, |body| body.to_string());
        let head = format!(
            "HTTP/1.1 {status} \r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let usual = (head + &body).into_bytes();
        let Some(next) = fault::answer(fault, wire, usual, || {}).await else { return };
        wire = next;
    }
}
