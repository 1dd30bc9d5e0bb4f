//! A browser with several tabs, and what it may find.

mod state;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use serde_json::Value;
use tokio::net::TcpStream;

use self::state::{Login, Sent, State, short};
use super::scene::Scene;
use crate::support::client::{receive, request_bytes};
use crate::support::provider::PASSWORD;
use crate::support::set_cookie::SetCookie;
use crate::support::wire::Wire;
use crate::support::{Answer, Browser, Request, patiently};

/// Counts of what happened.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) requests: usize,
    /// Clients that did not wait for their answer.
    pub(super) left: usize,
    pub(super) logins: usize,
    /// Requests whose session was found.
    pub(super) signed_in: usize,
    /// Requests that were told of no session, for a reason.
    pub(super) signed_out: usize,
    /// Requests that were told to come again.
    pub(super) unavailable: usize,
    pub(super) refreshes: usize,
    /// Cookies of sessions that were over, and found nobody.
    pub(super) ghosts: usize,
}

impl Story {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.left += other.left;
        self.logins += other.logins;
        self.signed_in += other.signed_in;
        self.signed_out += other.signed_out;
        self.unavailable += other.unavailable;
        self.refreshes += other.refreshes;
        self.ghosts += other.ghosts;
    }
}

pub(super) struct Person {
    number: usize,
    state: Mutex<State>,
}

enum Act {
    /// A path, and whether it needs a session.
    Get(&'static str),
    Logout,
    Login,
    /// An operator, or the provider, ends the session.
    End,
}

impl Person {
    pub(super) fn new(number: usize) -> Self {
        Self { number, state: Mutex::default() }
    }

    pub(super) fn story(&self) -> Story {
        std::mem::take(&mut self.state.lock().unwrap().story)
    }

    /// One tab, until the story is over.
    pub(super) async fn tab(&self, scene: &Scene, mut rng: Rng, until: Instant) {
        while Instant::now() < until {
            let act = self.choose(&mut rng);
            match act {
                Act::Get(path) => {
                    let after = if rng.u32(0..4) == 0 { rng.u64(0..2500) } else { rng.u64(0..30) };
                    let target = format!("{path}?id={:x}&after={after}", rng.u64(..));
                    self.get(scene, target, &mut rng).await;
                }
                Act::Logout => self.log_out(scene, &mut rng).await,
                Act::Login => self.log_in(scene, &mut rng).await,
                Act::End => self.end(scene, &mut rng).await,
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..40))).await;
        }
    }

    fn choose(&self, rng: &mut Rng) -> Act {
        let is_signed_in = self.state.lock().unwrap().login.is_some();
        match rng.u32(0..100) {
            0..50 if is_signed_in => Act::Get("/api/cart"),
            50..65 if is_signed_in => Act::Get("/api/user"),
            65..92 => Act::Get("/either/page"),
            92..94 => Act::Get("/open/page"),
            94..96 => Act::Logout,
            96..97 => Act::End,
            _ => Act::Login,
        }
    }

    /// Returns the request that the browser sends now, and notes of it.
    fn send(&self, target: &str) -> Sent {
        let mut state = self.state.lock().unwrap();
        state.story.requests += 1;
        let note = format!("{target} with the cookies of {:?}: {}", state.login, short(&state.jar));
        state.note(&note);
        let (jar, login) = (state.jar.clone(), state.login);
        let mut place = 0;
        if let Some(login) = login.and_then(|login| state.logins.get_mut(login)) {
            place = login.states.len() - 1;
            let (_, sent_at) = &mut login.states[place];
            sent_at.get_or_insert_with(Instant::now);
        }
        Sent { target: target.to_owned(), jar, login, state: place, at: Instant::now() }
    }

    /// The answer, unless the client leaves before that.
    async fn exchange(&self, scene: &Scene, request: Request, sent: &Sent, rng: &mut Rng) -> Option<Answer> {
        let mut browser = Browser::new(scene.gateway.address, "store.localhost");
        browser.jar = sent.jar.clone();
        let exchange = async {
            let mut wire = Wire::new(TcpStream::connect(scene.gateway.address).await.unwrap());
            wire.send(request_bytes(&browser, &request)).await.unwrap();
            receive(&mut wire, "GET", usize::MAX).await.expect("an answer")
        };
        if rng.u32(0..6) == 0 {
            let answer = tokio::time::timeout(Duration::from_millis(rng.u64(0..300)), exchange).await.ok();
            self.state.lock().unwrap().story.left += usize::from(answer.is_none());
            return answer;
        }
        Some(patiently("an answer", exchange).await)
    }

    async fn get(&self, scene: &Scene, target: String, rng: &mut Rng) {
        let sent = self.send(&target);
        let Some(answer) = self.exchange(scene, Request::get(&target), &sent, rng).await else {
            self.state.lock().unwrap().note(&format!("{target}: left"));
            return;
        };
        let mut state = self.state.lock().unwrap();
        state.note(&format!("{target}: {}", answer.status()));
        let found = whose(&answer, &target);
        match (answer.status(), found) {
            (200, Some(user)) => {
                let login = sent.login.map(|login| &state.logins[login]);
                let expected = login.map(|login| format!("id-of-{}", login.user));
                assert_eq!(Some(user), expected, "somebody else's identity: {}", answer.text());
                let is_over = login.is_some_and(|login| login.over_at.is_some_and(|(at, _)| at < sent.at));
                assert!(!is_over, "{target} found a session that was over{}", state.notes());
                state.story.signed_in += 1;
            }
            (503, None) => {
                let clears = answer.set_cookies().iter().any(SetCookie::clears);
                assert!(!clears, "503 keeps the cookies: {:?}", answer.set_cookies());
                state.story.unavailable += 1;
            }
            (200 | 401 | 404, None) => {
                if !target.starts_with("/open/") {
                    state.check_signed_out(&sent, &answer);
                    state.story.signed_out += 1;
                }
            }
            other => panic!("{other:?} to {target}: {}", answer.text()),
        }
        let composed_after = scene.store.answered(&target);
        state.keep_cookies(&answer, &sent, composed_after);
    }

    async fn log_in(&self, scene: &Scene, rng: &mut Rng) {
        let sent = self.send("login");
        let (number, user) = {
            let mut state = self.state.lock().unwrap();
            let number = state.logins.len();
            let user = format!("p{}n{number}", self.number);
            let login = Login {
                user: user.clone(),
                is_bare: sent.login.is_none(),
                sent_at: Instant::now(),
                came_at: None,
                ends: Vec::new(),
                over_at: None,
                states: Vec::new(),
            };
            state.logins.push(login);
            state.may_end(sent.login, "another login");
            state.story.logins += 1;
            (number, user)
        };
        let body = serde_json::json!({"username": user, "password": PASSWORD});
        let request = Request::post("/api/login").json(&body);
        let Some(answer) = self.exchange(scene, request, &sent, rng).await else { return };
        let mut state = self.state.lock().unwrap();
        match answer.status() {
            200 => {
                assert_eq!(answer.json()["sub"], format!("id-of-{user}"));
                state.keep_cookies(&answer, &sent, None);
                assert_eq!(state.login, Some(number), "a login is always written");
                state.is_over(sent.login, "another login");
                state.logins[number].came_at = Some(Instant::now());
                state.latest = Some((Instant::now(), number));
            }
            503 => assert!(answer.set_cookies().is_empty()),
            status => panic!("{status} to a login: {}", answer.text()),
        }
    }

    async fn log_out(&self, scene: &Scene, rng: &mut Rng) {
        let sent = self.send("logout");
        self.state.lock().unwrap().may_end(sent.login, "logout");
        let request = Request::post("/api/logout");
        let Some(answer) = self.exchange(scene, request, &sent, rng).await else { return };
        answer.assert_status(204);
        let mut state = self.state.lock().unwrap();
        state.is_over(sent.login, "a logout");
        state.keep_cookies(&answer, &sent, None);
    }

    async fn end(&self, scene: &Scene, rng: &mut Rng) {
        let (login, user) = {
            let mut state = self.state.lock().unwrap();
            let Some(login) = state.login else { return };
            state.may_end(Some(login), "a revocation");
            (login, state.logins[login].user.clone())
        };
        if rng.bool() {
            // A clock that is behind does not reach what was issued later.
            let is_exact = scene.is_exact();
            scene.revoke_user(&user).await;
            if is_exact && scene.is_exact() {
                self.state.lock().unwrap().is_over(Some(login), "a revocation");
            }
        } else {
            scene.provider.end_sessions_of(&user);
        }
    }

    /// Cookies of sessions that are over, which somebody has kept.
    async fn nothing_haunts(&self, scene: &Scene) -> usize {
        let over: Vec<_> = {
            let state = self.state.lock().unwrap();
            let over = state.logins.iter().filter(|login| login.over_at.is_some());
            over.flat_map(|login| {
                let last = login.states.iter().rev().take(3);
                let reason = login.over_at.map_or("", |(_, reason)| reason);
                last.map(|(jar, _)| (login.user.clone(), reason, jar.clone())).collect::<Vec<_>>()
            })
            .collect()
        };
        for (user, reason, jar) in &over {
            let mut browser = Browser::new(scene.gateway.address, "store.localhost");
            browser.jar = jar.clone();
            let answer = browser.get("/either/ghost").await;
            let found = whose(&answer, "/either/ghost");
            let notes = self.state.lock().unwrap().notes();
            assert_eq!(found, None, "the session of {user} was over by {reason}: {}{notes}", short(jar));
        }
        over.len()
    }

    /// Logs out, after which nothing is left.
    pub(super) async fn go_home(&self, scene: &Scene) {
        let mut rng = Rng::with_seed(0);
        for _ in 0..10 {
            let is_signed_in = self.state.lock().unwrap().login.is_some();
            if is_signed_in {
                self.log_out(scene, &mut rng).await;
            }
        }
        let ghosts = self.nothing_haunts(scene).await;
        self.state.lock().unwrap().story.ghosts += ghosts;
    }

    /// When all is calm, whoever is signed in is.
    pub(super) async fn is_as_it_should_be(&self, scene: &Scene) {
        let mut rng = Rng::with_seed(0);
        for _ in 0..24 {
            let (is_signed_in, before) = {
                let state = self.state.lock().unwrap();
                (state.login.is_some(), state.story.signed_in)
            };
            if !is_signed_in {
                return;
            }
            let target = format!("/api/user?id={:x}", rng.u64(..));
            self.get(scene, target, &mut rng).await;
            if self.state.lock().unwrap().story.signed_in > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let state = self.state.lock().unwrap();
        let login = &state.logins[state.login.unwrap()];
        // A browser that never got the answer to its last login keeps the cookies of the session before.
        assert!(!login.ends.is_empty(), "the session of {} does not come back", login.user);
    }
}

/// Returns the user whom the answer names.
fn whose(answer: &Answer, target: &str) -> Option<String> {
    if answer.status() != 200 {
        return None;
    }
    let body = answer.json();
    if target.starts_with("/api/user") {
        return body["sub"].as_str().map(str::to_owned);
    }
    assert_eq!(body["target"], target, "an answer to another request");
    body["headers"].get("x-auth-user").and_then(|values| values[0].as_str()).map(str::to_owned)
}

fn subject(jwt: &str) -> String {
    let claims = jwt.split('.').nth(1).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}
