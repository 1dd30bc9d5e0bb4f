//! What becomes of which request, in tables, and the one property that matters most.

use std::fmt::Write as _;

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::access::endpoint::Call;
use crate::access::key_set::KeySet;
use crate::access::session_tables::SessionTables;
use crate::access::testing::{NOW, app_rules, claims, key_set, mint, mint_raw};
use crate::answer::reason::ReasonCode;

const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed"}"#;

fn rules() -> AppRules {
    app_rules(
        "routes = [{ path = '/', access = 'public' }, { path = '/maybe/*', access = 'optional' },
         { path = '/admin/*', access = 'required', roles = ['admin', 'root'] }]
         allowed_origins = ['https://www.example.com']",
    )
}

/// A request, and what is known when it comes.
struct Scene {
    rules: AppRules,
    keys: KeySet,
    memory: SessionTables,
    method: Method,
    path: String,
    headers: HeaderMap,
    websocket: bool,
    fresh: bool,
    now: u64,
}

impl Scene {
    fn new(method: Method, path: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("store.example.com"));
        let (rules, keys, memory) = (rules(), key_set(), SessionTables::new(64, NOW));
        let path = path.to_owned();
        Self { rules, keys, memory, method, path, headers, websocket: false, fresh: false, now: NOW }
    }

    fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    fn cookies(mut self, cookies: &str) -> Self {
        if !cookies.is_empty() {
            self.headers.insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
        }
        self
    }

    fn header(mut self, name: http::HeaderName, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn with<T>(&self, then: impl FnOnce(Decision<'_>) -> T) -> T {
        let head = RequestHead {
            method: &self.method,
            path: &self.path,
            host: "store.example.com",
            headers: &self.headers,
            websocket: self.websocket,
        };
        let known = Knowledge {
            keys: &self.keys,
            key_generation: 1,
            memory: &self.memory,
            now: self.now,
            refresh_ahead: 30,
            keys_are_fresh: self.fresh,
        };
        then(decide(&self.rules, &head, &known))
    }

    /// The decision as a line.
    fn line(&self) -> String {
        self.with(|decision| line(&decision))
    }
}

fn line(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Forward(permit) => match (permit.reason(), permit.identity()) {
            (ReasonCode::Preflight, None) => "preflight".into(),
            (_, None) => "forward".into(),
            (_, Some(identity)) => format!("forward {}", identity.subject()),
        },
        Decision::Nobody(problem) => {
            format!("{} {}, nobody", problem.status.as_u16(), problem.code.as_str())
        }
        Decision::Serve(Call::Login) => "login".into(),
        Decision::Serve(Call::Logout) => "logout".into(),
        Decision::Serve(Call::BackchannelLogout) => "back-channel logout".into(),
        Decision::Serve(Call::Webhook) => "webhook".into(),
        Decision::Serve(Call::User(identity)) => format!("user {}", identity.subject()),
        Decision::Refresh(pending) => {
            let mut line = format!("refresh {}", &*pending.grant.refresh_token);
            if let Some(previous) = &pending.previous {
                let still = if previous.still_valid { ", valid" } else { ", expired" };
                let _ = write!(line, " of {}{still}", previous.identity.subject());
            }
            line
        }
        Decision::End(ending) => format!("end: {}", ending.reason),
        Decision::FetchKeys => "fetch keys".into(),
        Decision::Reject(problem, _) => format!("{} {}", problem.status.as_u16(), problem.code.as_str()),
    }
}

fn jwt(changes: &serde_json::Value) -> String {
    format!("__Host-access_token={}", mint(&claims(changes)))
}

const REFRESH: &str = "__Host-refresh_token=r1";

/// As no session, and the cookies are cleared.
const TWICE: &str = "end: a session cookie came twice";

#[test]
fn every_access_with_every_session() {
    let valid = jwt(&json!({}));
    let expired = jwt(&json!({"exp": NOW - 5}));
    let unknown_key = format!(
        "__Host-access_token={}",
        mint_raw("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"new"}"#, claims(&json!({})).to_string())
    );
    let junk = "__Host-access_token=junk";
    let foreign = jwt(&json!({"azp": "forums", "aud": "forums"}));
    let no = "401 not_logged_in";
    // cookies; required, optional, user
    for (cookies, required, optional, user) in [
        (String::new(), no, "forward", "404 not_logged_in, nobody"),
        ("other=1".into(), no, "forward", "404 not_logged_in, nobody"),
        (valid.clone(), "forward alice", "forward alice", "user alice"),
        (format!("{valid}; {REFRESH}"), "forward alice", "forward alice", "user alice"),
        (expired.clone(), no, "forward", "404 not_logged_in"),
        (
            format!("{expired}; {REFRESH}"),
            "refresh r1 of alice, expired",
            "refresh r1 of alice, expired",
            "refresh r1 of alice, expired",
        ),
        (REFRESH.into(), "refresh r1", "refresh r1", "refresh r1"),
        (junk.into(), no, "forward", "404 not_logged_in"),
        (format!("{junk}; {REFRESH}"), "refresh r1", "refresh r1", "refresh r1"),
        (foreign.clone(), no, "forward", "404 not_logged_in"),
        // The provider binds refresh tokens to clients (RFC 6749 section 6): it refuses another client's.
        (format!("{foreign}; {REFRESH}"), "refresh r1", "refresh r1", "refresh r1"),
        (format!("{valid}; {valid}"), TWICE, TWICE, TWICE),
        (format!("{valid}; {REFRESH}; {REFRESH}"), TWICE, TWICE, TWICE),
        (format!("{valid}; {REFRESH}; __Host-refresh_token=x"), TWICE, TWICE, TWICE),
        ("__Host-access_token=!2!0123456789abcdef!x".into(), no, "forward", "404 not_logged_in"),
        ("__Host-access_token.1=x".into(), no, "forward", "404 not_logged_in"),
        (
            format!("__Host-access_token=!2!0123456789abcdef!x; {REFRESH}"),
            "refresh r1",
            "refresh r1",
            "refresh r1",
        ),
        ("__Host-access_token=; __Host-refresh_token=".into(), no, "forward", "404 not_logged_in"),
        (unknown_key.clone(), "fetch keys", "fetch keys", "fetch keys"),
        (format!("{unknown_key}; {REFRESH}"), "fetch keys", "fetch keys", "fetch keys"),
    ] {
        for (path, expected) in [
            ("/", "forward"),
            ("/x", required),
            ("/maybe", optional),
            ("/maybe/x", optional),
            ("/api/user", user),
        ] {
            assert_eq!(Scene::get(path).cookies(&cookies).line(), expected, "{path} with {cookies}");
        }
    }
}

#[test]
fn keys_that_are_unknown_or_not_there_yet() {
    let valid = jwt(&json!({}));
    let stranger =
        mint_raw("EdDSA by a stranger", r#"{"alg":"EdDSA","kid":"new"}"#, claims(&json!({})).to_string());
    let both = format!("__Host-access_token={stranger}; {REFRESH}");
    for (cookies, fresh, no_keys, expected) in [
        (both.as_str(), true, false, "refresh r1"),
        (both.split(';').next().unwrap(), true, false, "401 not_logged_in"),
        (&valid, false, true, "fetch keys"),
        (&valid, true, true, "503 identity_provider_unavailable"),
        (&format!("{valid}; {REFRESH}"), false, true, "fetch keys"),
        // It may be as good as any: refreshing it would cost the session of a provider that rotates.
        (&format!("{valid}; {REFRESH}"), true, true, "503 identity_provider_unavailable"),
        (&format!("__Host-access_token=junk; {REFRESH}"), false, true, "refresh r1"),
        ("__Host-access_token=junk", false, true, "401 not_logged_in"),
        (REFRESH, false, true, "refresh r1"),
        ("", false, true, "401 not_logged_in"),
    ] {
        let mut scene = Scene::get("/x").cookies(cookies);
        scene.fresh = fresh;
        if no_keys {
            scene.keys = KeySet::default();
        }
        assert_eq!(scene.line(), expected, "{cookies}");
    }
    let mut public = Scene::get("/").cookies(&valid);
    public.keys = KeySet::default();
    assert_eq!(public.line(), "forward");
}

#[test]
fn early_refresh_to_the_second() {
    // Lifetime, seconds since it was issued, and whether it is refreshed early.
    for (lifetime, age, early) in [
        (300, 269, false),
        (300, 270, true),
        (300, 299, true),
        (20, 14, false),
        (20, 15, true),
        (40, 29, false),
        (40, 30, true),
        (100, 69, false),
        (100, 75, true),
    ] {
        let cookie = jwt(&json!({"iat": NOW - age, "exp": NOW - age + lifetime}));
        let with_refresh = Scene::get("/x").cookies(&format!("{cookie}; {REFRESH}")).line();
        let expected = if early { "refresh r1 of alice, valid" } else { "forward alice" };
        assert_eq!(with_refresh, expected, "{age} of {lifetime}");
        assert_eq!(Scene::get("/x").cookies(&cookie).line(), "forward alice");
    }
    let undated = jwt(&json!({"iat": null, "exp": NOW + 1}));
    assert_eq!(Scene::get("/x").cookies(&format!("{undated}; {REFRESH}")).line(), "forward alice");
    // But it does expire.
    let undated = jwt(&json!({"iat": null, "exp": NOW - 5}));
    let expired = Scene::get("/x").cookies(&format!("{undated}; {REFRESH}")).line();
    assert_eq!(expired, "refresh r1 of alice, expired");
}

/// No browser sends these, so neither the origin nor a session matters, and there is no preflight.
#[test]
fn what_providers_send() {
    for (method, origin, expected) in [
        ("POST", "https://store.example.com", "back-channel logout"),
        ("POST", "https://id.example.com", "back-channel logout"),
        ("GET", "https://store.example.com", "405 method_not_allowed"),
        ("OPTIONS", "https://store.example.com", "405 method_not_allowed"),
        ("DELETE", "https://evil.example", "405 method_not_allowed"),
    ] {
        let scene = Scene::new(method.parse().unwrap(), "/ended").cookies(REFRESH).header(ORIGIN, origin);
        let mut scene = scene.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        scene.rules = app_rules("backchannel_logout.path = '/ended'");
        assert_eq!(scene.line(), expected, "{method} {origin}");
        scene.rules = app_rules("");
        assert_ne!(scene.line(), expected, "{method} {origin}");
    }
}

#[test]
fn own_endpoints_and_methods() {
    for (method, path, expected) in [
        ("POST", "/api/login", "login"),
        ("POST", "/api/logout", "logout"),
        ("GET", "/api/login", "405 method_not_allowed"),
        ("HEAD", "/api/logout", "405 method_not_allowed"),
        ("PUT", "/api/login", "405 method_not_allowed"),
        ("OPTIONS", "/api/login", "405 method_not_allowed"),
        ("PROPFIND", "/api/login", "405 method_not_allowed"),
        ("POST", "/api/user", "405 method_not_allowed"),
        ("OPTIONS", "/api/user", "405 method_not_allowed"),
        ("HEAD", "/api/user", "404 not_logged_in, nobody"),
        ("POST", "/API/login", "400 bad_request"),
        ("POST", "/api/login/", "400 bad_request"),
        ("POST", "/api/%6cogin", "400 bad_request"),
        ("PUT", "/Api/Login/", "400 bad_request"),
        ("DELETE", "/api/LOGIN", "400 bad_request"),
        ("GET", "/api/login/", "401 not_logged_in"),
        ("OPTIONS", "/API/login", "401 not_logged_in"),
        ("POST", "/api/login/x", "401 not_logged_in"),
        ("POST", "/api//login", "400 bad_request"),
        ("POST", "/x/../api/login", "400 bad_request"),
        ("POST", "/api/login;x", "400 bad_request"),
        ("GET", "", "400 bad_request"),
        ("GET", "/%2e%2e/", "400 bad_request"),
        ("OPTIONS", "/x", "401 not_logged_in"),
        ("OPTIONS", "/admin", "401 not_logged_in"),
        ("OPTIONS", "/maybe", "forward"),
        ("OPTIONS", "/", "forward"),
        ("POST", "/", "forward"),
        ("POST", "/x", "401 not_logged_in"),
    ] {
        let scene = Scene::new(Method::from_bytes(method.as_bytes()).unwrap(), path);
        assert_eq!(scene.line(), expected, "{method} {path}");
    }
    let preflight = |path| {
        let scene = Scene::new(Method::OPTIONS, path).header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        scene.header(ORIGIN, "https://evil.example")
    };
    for path in ["/api/login", "/api/logout", "/api/user", "/x", "/admin", "/maybe", "/", "/API/login"] {
        assert_eq!(preflight(path).line(), "preflight", "{path}");
    }
    // A preflight takes no identity along, whatever cookies it has. What is none does.
    assert_eq!(preflight("/x").cookies(&jwt(&json!({}))).line(), "preflight");
    let with_session = Scene::new(Method::OPTIONS, "/x").cookies(&jwt(&json!({})));
    assert_eq!(with_session.line(), "forward alice");
    assert_eq!(
        Scene::get("/api/login").with(|decision| match decision {
            Decision::Reject(problem, _) => problem.allow,
            _ => None,
        }),
        Some("POST")
    );
}

#[test]
fn the_status_without_a_user_is_configurable() {
    let mut scene = Scene::get("/api/user");
    scene.rules = app_rules("user.anonymous_status = 401");
    assert_eq!(scene.line(), "401 not_logged_in, nobody");
}

#[test]
fn handshakes_that_are_none() {
    for (path, version, key, expected) in [
        ("/x", "13", "dGhlIHNhbXBsZSBub25jZQ==", "401 not_logged_in"),
        ("/", "13", "dGhlIHNhbXBsZSBub25jZQ==", "forward"),
        ("/", "8", "dGhlIHNhbXBsZSBub25jZQ==", "426 upgrade_required"),
        ("/x", "8", "", "426 upgrade_required"),
        ("/maybe", "13", "", "400 bad_request"),
    ] {
        let scene = Scene::get(path).header(SEC_WEBSOCKET_VERSION, version);
        let mut scene = scene.header(SEC_WEBSOCKET_KEY, key);
        scene.websocket = true;
        assert_eq!(scene.line(), expected, "{path} {version} {key}");
        scene.websocket = false;
        assert_ne!(scene.line(), "426 upgrade_required", "{path} {version} {key}");
    }
}

#[test]
fn requests_from_other_sites() {
    let evil = "https://evil.example";
    let refused = "403 cross_site_request";
    let valid = jwt(&json!({}));
    for (method, path, websocket, cookies, origin, expected) in [
        ("POST", "/x", false, valid.as_str(), evil, refused),
        ("DELETE", "/maybe", false, &valid, evil, refused),
        ("POST", "/x", false, REFRESH, evil, refused),
        ("POST", "/x", false, "__Host-access_token.1=x", evil, refused),
        ("POST", "/x", false, "other=1", evil, "401 not_logged_in"),
        ("POST", "/maybe", false, "", evil, "forward"),
        ("POST", "/", false, &valid, evil, "forward"),
        ("GET", "/x", false, &valid, evil, "forward alice"),
        ("GET", "/x", true, &valid, evil, refused),
        ("GET", "/maybe", true, REFRESH, "null", refused),
        ("GET", "/x", true, "", evil, "401 not_logged_in"),
        ("GET", "/x", true, &valid, "https://store.example.com", "forward alice"),
        ("GET", "/x", true, &valid, "https://www.example.com", "forward alice"),
        ("POST", "/x", false, &valid, "https://store.example.com", "forward alice"),
        ("POST", "/api/login", false, "", evil, refused),
        ("POST", "/api/logout", false, "", evil, refused),
        ("POST", "/api/login", false, "", "https://www.example.com", "login"),
        ("POST", "/api/logout", false, &valid, "https://store.example.com", "logout"),
        ("OPTIONS", "/x", false, &valid, evil, "forward alice"),
    ] {
        let mut scene = Scene::new(method.parse().unwrap(), path).cookies(cookies).header(ORIGIN, origin);
        if websocket {
            scene = scene.header(SEC_WEBSOCKET_VERSION, "13");
            scene = scene.header(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        }
        scene.websocket = websocket;
        assert_eq!(scene.line(), expected, "{method} {path} {websocket} {origin} {cookies}");
    }
    let fetch_site = http::HeaderName::from_static("sec-fetch-site");
    for (site, expected) in [
        ("same-origin", "forward alice"),
        ("none", "forward alice"),
        ("same-site", refused),
        ("cross-site", refused),
    ] {
        let scene = Scene::new(Method::POST, "/x").cookies(&valid).header(fetch_site.clone(), site);
        assert_eq!(scene.line(), expected, "{site}");
    }
}

#[test]
fn roles() {
    for (changes, path, expected) in [
        (json!({"roles": ["admin"]}), "/admin", "forward alice"),
        (json!({"roles": ["x", "root"]}), "/admin/x", "forward alice"),
        (json!({"roles": "x,root"}), "/ADMIN/x", "forward alice"),
        (json!({"roles": ["x"]}), "/admin", "403 forbidden"),
        (json!({"roles": ["Admin"]}), "/admin", "403 forbidden"),
        (json!({"roles": ["x,admin"]}), "/admin", "403 forbidden"),
        // As the app would read it.
        (json!({"roles": [" admin "]}), "/admin", "forward alice"),
        // A map whose keys are the roles.
        (json!({"roles": {"admin": true}}), "/admin", "forward alice"),
        (json!({"roles": {"admin": {"1": "a.example"}}}), "/admin", "forward alice"),
        (json!({"roles": {"admin": false}}), "/admin", "403 forbidden"),
        (json!({"roles": {"admin": {"roles": ["x"]}}}), "/admin", "403 forbidden"),
        (json!({}), "/admin", "403 forbidden"),
        (json!({}), "/x", "forward alice"),
    ] {
        assert_eq!(Scene::get(path).cookies(&jwt(&changes)).line(), expected, "{path} {changes}");
    }
    assert_eq!(Scene::get("/admin").line(), "401 not_logged_in");
}

#[test]
fn a_claim_that_cannot_be_a_header_lets_nobody_in() {
    let cookie = jwt(&json!({"email": "a\r\nX-Auth-User: admin"}));
    let mut scene = Scene::get("/x").cookies(&cookie);
    scene.rules = app_rules("identity_headers.X-Auth-Email = 'email'");
    assert_eq!(scene.line(), "401 not_logged_in");
    let mut scene = Scene::get("/x").cookies(&format!("{cookie}; {REFRESH}"));
    scene.rules = app_rules("identity_headers.X-Auth-Email = 'email'");
    assert_eq!(scene.line(), "refresh r1");
}

#[test]
fn a_token_verified_before_is_not_let_in_longer_nor_for_other_keys() {
    let mut scene = Scene::get("/x").cookies(&jwt(&json!({})));
    assert_eq!(scene.line(), "forward alice");
    scene.now = NOW + 304;
    assert_eq!(scene.line(), "forward alice", "leeway");
    scene.now = NOW + 305;
    assert_eq!(scene.line(), "401 not_logged_in");
}

#[test]
fn tokens_are_not_shown() {
    let scene = Scene::get("/x").cookies("__Host-access_token=secret-jwt; __Host-refresh_token=secret-token");
    let shown = scene.with(|decision| format!("{decision:?}"));
    assert!(shown.contains("Refresh") && !shown.contains("secret"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// An identity reaches the app only out of a token that is genuine, for this app, and has not expired.
    #[test]
    fn only_a_verified_unexpired_token_gives_an_identity(
        exp in -400_i64..400, iat in proptest::option::weighted(0.8, -400_i64..400), nbf in proptest::option::of(-100_i64..100), shift in -400_i64..400,
        subject in "[a-z]{0,3}", stranger in prop::bool::weighted(0.2), foreign in prop::bool::weighted(0.2),
        mutated in proptest::option::weighted(0.3, (0_usize..400, b'!'..b'~')), with_refresh: bool,
        path in prop::sample::select(vec!["/", "/x", "/maybe", "/admin", "/api/user", "/api/login"]),
        method in prop::sample::select(vec!["GET", "POST", "HEAD", "OPTIONS"]), warm: bool,
    ) {
        let at = |offset: i64| NOW.saturating_add_signed(offset);
        let mut changes = json!({"sub": subject, "exp": at(exp), "iat": iat.map(at), "roles": ["admin"]});
        if let Some(nbf) = nbf {
            changes["nbf"] = json!(at(nbf));
        }
        if foreign {
            changes["azp"] = json!("forums");
        }
        let signer = if stranger { "EdDSA by a stranger" } else { "EdDSA" };
        let good = mint_raw(signer, HEADER, claims(&changes).to_string());
        let mut bytes = good.clone().into_bytes();
        if let Some((position, byte)) = mutated {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        let token = String::from_utf8(bytes).unwrap();
        let refresh = if with_refresh { "; __Host-refresh_token=r1" } else { "" };
        let mut scene = Scene::new(method.parse().unwrap(), path).cookies(&format!("__Host-access_token={token}{refresh}"));
        if warm {
            // Seen before, at another time: what is remembered must not let it in now.
            scene.line();
        }
        scene.now = at(shift);
        let genuine = token == good && !stranger && !foreign && !subject.is_empty();
        let latest = scene.now + 5;
        let in_time = at(exp) + 5 > scene.now && iat.is_none_or(|iat| at(iat) <= latest + 25) && nbf.is_none_or(|nbf| at(nbf) <= latest);
        // A token that was verified earlier stays good when the clock goes back.
        let was_in_time = warm && shift < 0;
        scene.with(|decision| {
            let identity = match &decision {
                Decision::Forward(permit) => permit.identity(),
                Decision::Serve(Call::User(identity)) => Some(identity),
                _ => None,
            };
            if let Some(identity) = identity {
                prop_assert!(genuine && (in_time || was_in_time), "{}", line(&decision));
                prop_assert!(identity.expires_at() + 5 > scene.now);
                prop_assert_eq!(identity.subject(), &subject);
            }
            if let Decision::Refresh(Pending { previous: Some(previous), .. }) = &decision {
                prop_assert!(genuine);
                prop_assert!(!previous.still_valid || in_time || was_in_time);
            }
            Ok(())
        })?;
    }
}
