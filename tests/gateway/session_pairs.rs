//! Cookies of two sessions side by side, and refresh tokens of unknown sessions. The tests say which session ends
//! another.

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Answer, Browser, Endpoint, Fault, Gateway, Request, Rotation, SEALED, World, wait_for};

pub(crate) const BOUND: &str = "[session]\nbind_refresh = true\n";
const ADMIN_TOKEN: &str = "an admin token of the tests";

pub(crate) async fn world(settings: &str) -> World {
    World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'\n{settings}")).await
}

pub(crate) async fn revoke(gateway: &Gateway, body: &Value) {
    let request = Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
    Browser::new(gateway.admin, "localhost").send(request.json(body)).await.assert_status(204);
}

pub(crate) fn subject(answer: &Answer) -> Option<String> {
    (answer.status() == 200).then(|| answer.seen_by_app("x-auth-user")).flatten()
}

/// Lets 400 copies of a stranger bring made-up refresh tokens while the provider does not answer. Asserts that so many
/// of them are answered at once, without the provider, and that another browser's session is refreshed.
pub(crate) async fn assert_crowd_starves_nobody(world: &World, stranger: &Browser, at_once: usize) {
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let (gate, opened) = watch::channel(false);
    world.provider.fail(Endpoint::Refresh, Fault::Held(opened));
    let crowd: Vec<_> = (0..400)
        .map(|number| {
            let mut stranger = stranger.clone();
            stranger.jar.insert(REFRESH.into(), format!("made-up-{number}"));
            tokio::spawn(async move { stranger.get("/api/cart").await.status() })
        })
        .collect();
    let answered = || crowd.iter().filter(|stranger| stranger.is_finished()).count();
    wait_for("most of them to be answered", || answered() >= at_once).await;
    let calls = world.provider.count(Endpoint::Refresh);
    assert!(calls <= crowd.len() - at_once, "{calls}");
    world.provider.recover();
    browser.get("/api/cart").await.assert_status(200);
    gate.send_replace(true);
    for stranger in crowd {
        let status = stranger.await.unwrap();
        assert!(matches!(status, 401 | 503), "{status}");
    }
}

/// A late answer, or a browser's fault, leaves the JWT of an ended session beside the refresh token of a living one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_whose_session_is_over_ends_no_other_session() {
    for (settings, expected) in [("", Some("id-of-bob")), (BOUND, None), (SEALED, None)] {
        for rotation in [Rotation::Rotate, Rotation::Same] {
            for has_sid in [true, false] {
                for ended_by in ["logout", "login", "sub"] {
                    let world = world(settings).await;
                    world.provider.set(|settings| settings.rotation = rotation);
                    let sid = |sid: &str| if has_sid { json!({"sid": sid}) } else { json!({}) };
                    world.provider.set(|settings| settings.claims = sid("of-ada"));
                    let mut browser = world.logged_in("ada").await;
                    let mut other = world.browser();
                    let old = browser.jar[ACCESS].clone();
                    world.provider.set(|settings| settings.claims = sid("of-bob"));
                    match ended_by {
                        "logout" => {
                            browser.send(Request::post("/api/logout")).await.assert_status(204);
                            browser.log_in("bob").await;
                        }
                        "login" => {
                            browser.log_in("bob").await;
                        }
                        _ => {
                            revoke(&world.gateway, &json!({"sub": "id-of-ada"})).await;
                            browser.jar.clear();
                            browser.log_in("bob").await;
                        }
                    }
                    other.jar = browser.jar.clone();
                    browser.jar.insert(ACCESS.into(), old);
                    let what = format!("{settings:?} {rotation:?} {has_sid} {ended_by}");
                    let answer = browser.get("/api/cart").await;
                    assert_eq!(subject(&answer).as_deref(), expected, "{what}: {}", answer.text());
                    // The session itself goes on where it belongs.
                    world.expire_access_tokens();
                    let answer = other.get("/api/cart").await;
                    assert_eq!(subject(&answer).as_deref(), Some("id-of-bob"), "{what}: {}", answer.text());
                    let revoked = world.provider.calls(Endpoint::Revoke);
                    assert!(
                        revoked.iter().all(|call| !call.field("token").unwrap_or_default().contains("bob")),
                        "{what}"
                    );
                }
            }
        }
    }
}

/// A session and its JWTs end together, and the provider is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_session_ends_with_both_its_cookies() {
    for settings in ["", BOUND, SEALED] {
        for (claims, revoked) in
            [(json!({"sid": "s1"}), json!({"sid": "s1"})), (json!({}), json!({"sub": "id-of-ada"}))]
        {
            let world = world(settings).await;
            world.provider.set(|settings| settings.claims = claims);
            let mut browser = world.logged_in("ada").await;
            let refresh_token =
                world.provider.calls(Endpoint::Login).len().to_string() + browser.jar[REFRESH].as_str();
            revoke(&world.gateway, &revoked).await;
            browser.get("/api/cart").await.assert_problem(401, "session_expired");
            assert!(browser.jar.is_empty(), "{refresh_token}");
            assert_eq!(world.provider.count(Endpoint::Refresh), 0, "{settings} {revoked}");
            wait_for("the revocation", || world.provider.count(Endpoint::Revoke) == 1).await;
        }
    }
}

/// Cookies are plain, and a gateway that does not know the session cannot tell its age from the refresh token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_alone_brings_no_revoked_subject_back() {
    for known in [true, false] {
        for settings in ["", "[identity_providers.main]\nleeway = '0s'\n"] {
            let builder = World::builder().await;
            let builder = builder.lay_over(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'\n{settings}"));
            let text = builder.text();
            let world = builder.start().await;
            let elsewhere = Gateway::start(&text, world.clock.clone()).await;
            elsewhere.ready().await;
            let gateway = if known { &world.gateway } else { &elsewhere };
            let stolen = world.logged_in("ada").await.jar[REFRESH].clone();
            revoke(gateway, &json!({"sub": "id-of-ada"})).await;
            world.clock.advance(7);
            for path in ["/api/cart", "/either/x", "/api/user"] {
                let mut thief = Browser::new(gateway.address, "store.localhost");
                thief.jar.insert(REFRESH.into(), stolen.clone());
                let answer = thief.get(path).await;
                assert_eq!(subject(&answer), None, "{known} {path}: {}", answer.text());
            }
            // Who logs in after that is let in, and goes on.
            let mut browser = Browser::new(gateway.address, "store.localhost");
            browser.log_in("ada").await;
            for _ in 0..2 {
                world.clock.advance(400);
                assert_eq!(subject(&browser.get("/api/cart").await).as_deref(), Some("id-of-ada"), "{known}");
            }
            // A session that began earlier stays out, whatever JWT is newer than the revocation.
            let mut thief = Browser::new(gateway.address, "store.localhost");
            thief.jar.insert(REFRESH.into(), stolen.clone());
            assert_eq!(subject(&thief.get("/api/cart").await), None);
        }
    }
}

/// It has no `sid` by which the logout would reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_ends_the_jwt_of_the_login_though_the_session_was_refreshed_early_since() {
    for settings in ["", SEALED] {
        for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
            let world = world(settings).await;
            world.provider.set(|settings| settings.rotation = rotation);
            let mut browser = world.logged_in("ada").await;
            let mut thief = world.browser();
            thief.jar.insert(ACCESS.into(), browser.jar[ACCESS].clone());
            world.clock.advance(280);
            browser.get("/api/cart").await.assert_status(200);
            assert_eq!(world.provider.count(Endpoint::Refresh), 1);
            assert_eq!(subject(&thief.get("/api/cart").await).as_deref(), Some("id-of-ada"));
            browser.send(Request::post("/api/logout")).await.assert_status(204);
            thief.get("/api/cart").await.assert_problem(401, "not_logged_in");
        }
    }
}

/// They are made up as fast as one likes, and each would wait for the provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_refresh_tokens_do_not_keep_sessions_from_being_refreshed() {
    let world = world("").await;
    let stranger = world.browser();
    assert_crowd_starves_nobody(&world, &stranger, 392).await;
}

/// The gateway's clock has stepped back, or the provider's was ahead for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_of_the_future_ends_no_session() {
    for settings in ["", BOUND, SEALED] {
        for rotation in [Rotation::Rotate, Rotation::Same] {
            for claim in ["iat", "nbf"] {
                let world = world(settings).await;
                world.provider.set(|settings| settings.rotation = rotation);
                let now = world.provider_now();
                let dates = json!({ claim: now + 400, "exp": now + 1100 });
                let future = world.provider.mint("ada", "store", &dates);
                let mut browser = world.logged_in("ada").await;
                if settings != SEALED {
                    browser.jar.insert(ACCESS.into(), future.clone());
                }
                world.provider.set(|settings| settings.access_token = Some(future));
                world.clock.advance(if settings == SEALED { 310 } else { 0 });
                for _ in 0..3 {
                    let answer = browser.get("/api/cart").await;
                    answer.assert_problem(503, "identity_provider_unavailable");
                    let mut optional = browser.clone();
                    optional.get("/either/x").await.assert_problem(503, "identity_provider_unavailable");
                    assert!(browser.jar.contains_key(ACCESS) && browser.jar.contains_key(REFRESH));
                }
                world.clock.advance(401);
                world.provider.set(|settings| settings.access_token = None);
                let answer = browser.get("/api/cart").await;
                assert_eq!(subject(&answer).as_deref(), Some("id-of-ada"), "{settings} {rotation:?} {claim}");
            }
        }
    }
}
