//! Sealed and bound refresh tokens, revocations and lifetimes, as the decision sees them.

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::access::decision::{Decision, Pending, RequestHead, decide};
use crate::access::key_set::KeySet;
use crate::access::numbers::testing::PROVIDER;
use crate::access::revocations::EndedBy;
use crate::access::seal::{Seal, SessionRecord};
use crate::access::session_tables::SessionTables;
use crate::access::testing::{NOW, app_rules_in, claims, key_set, mint};
use crate::config;

const KEY: &str = "c2VhbCBrZXkgb2YgdGhlIHRlc3RzLCBubyBzZWNyZXQ=";

struct Scene {
    rules: AppRules,
    keys: KeySet,
    memory: SessionTables,
    now: u64,
}

impl Scene {
    /// With lines of `[session]`.
    fn new(settings: &str) -> Self {
        let rules = app_rules_in(&format!("[session]\n{settings}"), "");
        Self { rules, keys: key_set(), memory: SessionTables::new(64, NOW), now: NOW }
    }

    fn sealed(settings: &str) -> Self {
        Self::new(&format!("seal_keys = ['{KEY}']\n{settings}"))
    }

    /// Without keys: they have been replaced.
    fn without_keys(mut self) -> Self {
        self.keys = KeySet::from_jwks(
            &crate::access::testing::jwks(&[crate::access::testing::jwk("rsa")]),
            &[jsonwebtoken::Algorithm::RS256],
        )
        .unwrap();
        self
    }

    fn with<T>(&self, cookies: &str, then: impl FnOnce(Decision<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("store.example.com"));
        headers.insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
        let (method, host) = (&Method::GET, "store.example.com");
        let head = RequestHead { method, path: "/x", host, headers: &headers, websocket: false };
        let known = Knowledge {
            keys: &self.keys,
            key_generation: 1,
            memory: &self.memory,
            now: self.now,
            refresh_ahead: 30,
            keys_are_fresh: true,
        };
        then(decide(&self.rules, &head, &known))
    }

    fn line(&self, cookies: &str) -> String {
        self.with(cookies, |decision| match decision {
            Decision::Forward(permit) => {
                format!("forward {}", permit.identity().map_or("nobody", |identity| identity.subject()))
            }
            Decision::Refresh(Pending { grant, previous, .. }) => {
                let is_over = previous.is_some_and(|previous| previous.over.is_some());
                let beside = if is_over { " beside a revoked JWT" } else { "" };
                format!("refresh {}{beside}", &*grant.refresh_token)
            }
            Decision::End(ending) => format!("end: {}", ending.reason),
            Decision::Reject(problem, reason) => format!("{}: {reason}", problem.code.as_str()),
            other => format!("{other:?}"),
        })
    }

    fn record(&self, jwt: &str, subject: &str) -> SessionRecord {
        SessionRecord {
            id: [1; 16],
            subject: Mark::subject(PROVIDER, subject),
            access_token: Mark::token(PROVIDER, jwt),
            access_token_expires_at: self.now + 300,
            started_at: self.now,
            renewed_at: self.now,
        }
    }

    fn seal(&self, record: &SessionRecord) -> String {
        self.rules.session.seal.as_ref().unwrap().close("r1", record).unwrap().to_string()
    }

    /// The pair that a login of `alice` gives for a JWT.
    fn pair(&self, jwt: &str) -> String {
        pair(jwt, &self.seal(&self.record(jwt, "alice")))
    }
}

fn pair(jwt: &str, refresh_token: &str) -> String {
    format!("__Host-access_token={jwt}; __Host-refresh_token={refresh_token}")
}

fn valid() -> String {
    jwt(&json!({}))
}

fn expired() -> String {
    jwt(&json!({"exp": NOW - 10}))
}

fn jwt(changes: &Value) -> String {
    mint(&claims(changes))
}

const NOT_BOUND: &str = "end: the refresh token came without the JWT of the same session";
const NOT_SEALED: &str = "end: the refresh token's cookie was not sealed here";
const REVOKED: &str = "end: it is revoked";

#[test]
fn a_sealed_refresh_token_refreshes_with_the_jwt_that_it_was_given_with() {
    let scene = Scene::sealed("");
    assert_eq!(scene.line(&scene.pair(&valid())), "forward alice");
    assert_eq!(scene.line(&scene.pair(&expired())), "refresh r1");
    let about_to_expire = jwt(&json!({"iat": NOW - 290, "exp": NOW + 10}));
    assert_eq!(scene.line(&scene.pair(&about_to_expire)), "refresh r1");
}

/// The attack of the workflow, in every shape.
#[test]
fn a_refresh_token_without_its_jwt_gives_nothing() {
    let scene = Scene::sealed("");
    let of_alice = scene.seal(&scene.record(&expired(), "alice"));
    for jwt in [
        "junk",
        "eyJhbGciOiJub25lIn0.e30.",
        // Genuine, of the same user, and of another session.
        &jwt(&json!({"exp": NOW - 20})),
        // Of the thief.
        &jwt(&json!({"sub": "mallory", "exp": NOW - 10})),
    ] {
        assert_eq!(scene.line(&pair(jwt, &of_alice)), NOT_BOUND, "{jwt}");
    }
    assert_eq!(scene.line(&format!("__Host-refresh_token={of_alice}")), NOT_BOUND);
    // A valid JWT beside it is a session of its own, for as long as it lives; it refreshes nothing.
    let of_mallory = jwt(&json!({"sub": "mallory", "iat": NOW - 290, "exp": NOW + 10}));
    assert_eq!(scene.line(&pair(&of_mallory, &of_alice)), "forward mallory");
}

#[test]
fn a_record_of_another_subject_refreshes_nothing() {
    let scene = Scene::sealed("");
    let jwt = expired();
    assert_eq!(scene.line(&pair(&jwt, &scene.seal(&scene.record(&jwt, "bob")))), NOT_BOUND);
}

#[test]
fn a_key_that_is_gone_does_not_end_a_sealed_session() {
    let scene = Scene::sealed("").without_keys();
    assert_eq!(scene.line(&scene.pair(&expired())), "refresh r1");
    assert_eq!(scene.line(&pair("junk", &scene.seal(&scene.record(&expired(), "alice")))), NOT_BOUND);
}

#[test]
fn binding_can_be_turned_off() {
    let scene = Scene::sealed("bind_refresh = false");
    let of_alice = scene.seal(&scene.record(&expired(), "alice"));
    assert_eq!(scene.line(&format!("__Host-refresh_token={of_alice}")), "refresh r1");
    assert_eq!(scene.line(&pair("junk", &of_alice)), "refresh r1");
}

#[test]
fn where_cookies_are_sealed_a_plain_refresh_token_is_none() {
    let scene = Scene::sealed("");
    for settings in ["", "bind_refresh = false"] {
        let scene = Scene::sealed(settings);
        assert_eq!(scene.line(&pair(&expired(), "r1")), NOT_SEALED);
        assert_eq!(scene.line("__Host-refresh_token=r1"), NOT_SEALED);
    }
    assert_eq!(scene.line(&pair(&valid(), "r1")), "forward alice", "the JWT stands for itself");
    let of_forums = Seal::new(
        &[config::SealKey::new(*b"seal key of the tests, no secret")],
        "forums",
        "__Host-refresh_token",
    );
    let foreign = of_forums.unwrap().close("r1", &scene.record(&expired(), "alice")).unwrap();
    assert_eq!(scene.line(&pair(&expired(), &foreign)), NOT_SEALED);
}

#[test]
fn unsealed_and_bound_a_genuine_jwt_is_needed() {
    let scene = Scene::new("bind_refresh = true");
    assert_eq!(scene.line(&pair(&expired(), "r1")), "refresh r1");
    for cookies in [pair("junk", "r1"), "__Host-refresh_token=r1".to_owned()] {
        assert_eq!(scene.line(&cookies), NOT_BOUND);
    }
    let foreign = jwt(&json!({"azp": "forums", "aud": "forums", "exp": NOW - 10}));
    assert_eq!(scene.line(&pair(&foreign, "r1")), NOT_BOUND);
    let unbound = Scene::new("");
    assert_eq!(unbound.line(&pair("junk", "r1")), "refresh r1", "the bare workflow");
}

#[test]
fn a_revoked_session_is_over_however_its_jwt_is_found() {
    for remembered in [false, true] {
        for (name, revoke) in [
            ("sid", (|memory, _| revoke(memory, Mark::session(PROVIDER, "s1"))) as fn(&SessionTables, u64)),
            ("sub", |memory, now| {
                memory.revocations.revoke_until(Mark::subject(PROVIDER, "alice"), now, now + 60, now);
            }),
        ] {
            let scene = Scene::new("");
            let jwt = jwt(&json!({"sid": "s1", "jti": "t1"}));
            let alone = format!("__Host-access_token={jwt}");
            if remembered {
                assert_eq!(scene.line(&alone), "forward alice");
            }
            revoke(&scene.memory, NOW);
            assert_eq!(scene.line(&alone), "not_logged_in: it is revoked", "{name}");
            // Only what the refresh token gives tells whether it is of the same session.
            assert_eq!(scene.line(&pair(&jwt, "r1")), "refresh r1 beside a revoked JWT", "{name}");
            let other = self::jwt(&json!({"sid": "s2", "jti": "t2", "sub": "bob"}));
            assert_eq!(scene.line(&pair(&other, "r2")), "forward bob");
        }
    }
}

#[test]
fn a_revoked_jwt_is_dead_and_its_session_goes_on() {
    let scene = Scene::new("bind_refresh = true");
    let jwt = jwt(&json!({"sid": "s1", "jti": "t1"}));
    assert_eq!(scene.line(&pair(&jwt, "r1")), "forward alice");
    revoke(&scene.memory, Mark::token_id(PROVIDER, "t1"));
    assert_eq!(scene.line(&format!("__Host-access_token={jwt}")), "not_logged_in: it is revoked");
    assert_eq!(scene.line(&pair(&jwt, "r1")), "refresh r1 beside a revoked JWT");
}

#[test]
fn an_expired_jwt_still_says_that_its_session_is_revoked() {
    let scene = Scene::new("");
    revoke(&scene.memory, Mark::session(PROVIDER, "s1"));
    let line = scene.line(&pair(&jwt(&json!({"sid": "s1", "exp": NOW - 10})), "r1"));
    assert_eq!(line, "refresh r1 beside a revoked JWT");
}

#[test]
fn a_sealed_session_is_revoked_also_where_its_jwt_says_nothing() {
    let scene = Scene::sealed("bind_refresh = false");
    let record = scene.record(&expired(), "alice");
    let cookie = format!("__Host-refresh_token={}", scene.seal(&record));
    assert_eq!(scene.line(&cookie), "refresh r1");
    scene.memory.revocations.revoke_until(Mark::subject(PROVIDER, "alice"), NOW - 1, NOW + 60, NOW);
    assert_eq!(scene.line(&cookie), "refresh r1", "it began later");
    scene.memory.revocations.revoke_until(Mark::subject(PROVIDER, "alice"), NOW, NOW + 60, NOW);
    assert_eq!(scene.line(&cookie), REVOKED);
    let scene = Scene::sealed("bind_refresh = false");
    revoke(&scene.memory, Mark::sealed_session(PROVIDER, &record.id));
    assert_eq!(scene.line(&cookie), REVOKED);
}

#[test]
fn the_absolute_lifetime_ends_a_session_with_a_valid_jwt_and_at_a_refresh() {
    let mut scene = Scene::sealed("absolute_lifetime = '100s'");
    let (valid, late) = (scene.pair(&valid()), scene.pair(&jwt(&json!({"iat": NOW, "exp": NOW + 1}))));
    assert_eq!(scene.line(&valid), "forward alice");
    scene.now += 99;
    assert_eq!((scene.line(&valid), scene.line(&late)), ("forward alice".into(), "refresh r1".into()));
    scene.now += 1;
    let over = "end: the session has reached its absolute lifetime";
    assert_eq!((scene.line(&valid), scene.line(&late)), (over.into(), over.into()));
    // Not remembered, so verified anew.
    scene.memory = SessionTables::new(64, scene.now);
    assert_eq!((scene.line(&valid), scene.line(&late)), (over.into(), over.into()));
    let alone = format!("__Host-access_token={}", jwt(&json!({"iat": NOW - 1})));
    assert_eq!(scene.line(&alone), "not_logged_in: the session has reached its absolute lifetime");
}

#[test]
fn the_idle_lifetime_counts_from_the_last_request() {
    let mut scene = Scene::sealed("idle_lifetime = '100s'");
    let cookies = scene.pair(&jwt(&json!({"exp": NOW + 500})));
    for _ in 0..4 {
        assert_eq!(scene.line(&cookies), "forward alice");
        scene.now += 99;
    }
    scene.now += 1;
    assert_eq!(scene.line(&cookies), "end: the session was idle for too long");
}

/// A thief who brings the JWT alone first, and keeps it alive, decides on nothing.
#[test]
fn the_ends_of_a_session_are_those_of_its_sealed_cookie_whoever_came_first() {
    let mut scene = Scene::sealed("absolute_lifetime = '100s'\nidle_lifetime = '50s'");
    let jwt = jwt(&json!({"iat": NOW, "exp": NOW + 500}));
    let session = SessionRecord { started_at: NOW - 60, ..scene.record(&jwt, "alice") };
    let (alone, both) = (format!("__Host-access_token={jwt}"), pair(&jwt, &scene.seal(&session)));
    assert_eq!(scene.line(&alone), "forward alice");
    scene.now += 30;
    assert_eq!(scene.line(&both), "forward alice");
    scene.now += 10;
    let over = "the session has reached its absolute lifetime";
    assert_eq!(scene.line(&both), format!("end: {over}"));
    assert_eq!(scene.line(&alone), format!("not_logged_in: {over}"), "the thief, too");
}

fn revoke(memory: &SessionTables, mark: Mark) {
    memory.revocations.revoke(mark, EndedBy::Revocation, NOW + 3600, NOW);
}
