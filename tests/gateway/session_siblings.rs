//! Cases that are near to those of `late_answers`, `session_pairs` and `provider_answers`.

use serde_json::json;
use tokio::sync::watch;

use crate::session_pairs::{BOUND, assert_crowd_starves_nobody, revoke, subject, world};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Request, Rotation, SEALED, wait_for};

/// A provider may give one refresh token for each user and client, however often they log in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_brings_the_refresh_token_of_an_ended_session_begins_a_new_one() {
    for settings in ["", BOUND, SEALED] {
        for rotation in [Rotation::Same, Rotation::Omit] {
            for ended_by in ["logout", "sub", "login", "the provider"] {
                let world = world(settings).await;
                world.provider.set(|settings| {
                    settings.rotation = rotation;
                    settings.one_refresh_token = true;
                });
                let mut browser = world.logged_in("ada").await;
                let old = browser.clone();
                match ended_by {
                    "logout" => browser.send(Request::post("/api/logout")).await.assert_status(204),
                    "sub" => {
                        revoke(&world.gateway, &json!({"sub": "id-of-ada"})).await;
                        browser.get("/api/cart").await.assert_status(401);
                    }
                    "login" => {}
                    _ => {
                        world.provider.end_all_sessions();
                        world.expire_access_tokens();
                        browser.get("/api/cart").await.assert_status(401);
                    }
                }
                if ended_by != "login" {
                    wait_for("the revocation", || {
                        ended_by == "the provider" || world.provider.count(Endpoint::Revoke) > 0
                    })
                    .await;
                }
                world.clock.advance(1);
                browser.log_in("ada").await;
                let what = format!("{settings} {rotation:?} {ended_by}");
                for _ in 0..3 {
                    let answer = browser.get("/api/cart").await;
                    assert_eq!(subject(&answer).as_deref(), Some("id-of-ada"), "{what}: {}", answer.text());
                    world.clock.advance(290);
                }
                let browser_jwt = browser.jar[ACCESS].clone();
                // What the same refresh token gave ends together, whichever login it was.
                browser.send(Request::post("/api/logout")).await.assert_status(204);
                for jwt in [old.jar[ACCESS].clone(), browser_jwt] {
                    let mut thief = world.browser();
                    thief.jar.insert(ACCESS.into(), jwt);
                    assert_eq!(subject(&thief.get("/api/cart").await), None, "{what}");
                }
            }
        }
    }
}

/// Both are of one user, and nothing in the JWTs tells the sessions apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_of_a_revoked_session_ends_no_later_session_of_the_same_user() {
    for settings in ["", BOUND, SEALED] {
        for claims in [json!({}), json!({"sid": "s1"})] {
            for revoked in [json!({"sub": "id-of-ada"}), json!({"sid": "s1"})] {
                if revoked.get("sid") != claims.get("sid") && revoked.get("sid").is_some() {
                    continue;
                }
                let world = world(settings).await;
                world.provider.set(|settings| settings.claims = claims.clone());
                let mut browser = world.logged_in("ada").await;
                let old = browser.jar[ACCESS].clone();
                revoke(&world.gateway, &revoked).await;
                browser.jar.clear();
                world.clock.advance(40);
                browser.log_in("ada").await;
                let mut other = browser.clone();
                browser.jar.insert(ACCESS.into(), old);
                let answer = browser.get("/api/cart").await;
                let what = format!("{settings} {claims} {revoked}");
                let expected = (settings != SEALED).then_some("id-of-ada");
                assert_eq!(subject(&answer).as_deref(), expected, "{what}: {}", answer.text());
                world.clock.advance(5);
                let answer = other.get("/api/cart").await;
                assert_eq!(subject(&answer).as_deref(), Some("id-of-ada"), "{what}: {}", answer.text());
                world.expire_access_tokens();
                let answer = other.get("/api/cart").await;
                assert_eq!(subject(&answer).as_deref(), Some("id-of-ada"), "{what}: {}", answer.text());
            }
        }
    }
}

/// Whoever has had an account has a genuine JWT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_refresh_tokens_beside_one_genuine_jwt_starve_nobody() {
    let world = world("").await;
    let mallory = world.logged_in("mallory").await;
    assert_crowd_starves_nobody(&world, &mallory, 300).await;
}

/// It is of no use, and neither will the next one be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_whose_jwts_are_of_no_use_is_not_asked_with_every_request() {
    for settings in ["", SEALED] {
        for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
            for (claims, without_jwt) in [
                (json!({"exp": 1}), false),
                (json!({"aud": "x", "azp": "x"}), false),
                (json!({"exp": 1}), true),
            ] {
                if without_jwt && settings == SEALED {
                    continue;
                }
                let world = world(settings).await;
                world.provider.set(|settings| settings.rotation = rotation);
                let mut browser = world.logged_in("ada").await;
                world.provider.set(|settings| settings.claims = claims.clone());
                world.expire_access_tokens();
                if without_jwt {
                    browser.jar.remove(ACCESS);
                }
                for _ in 0..10 {
                    browser.get("/api/cart").await.assert_problem(503, "identity_provider_unavailable");
                }
                let what = format!("{settings} {rotation:?} {claims} {without_jwt}");
                assert_eq!(world.provider.count(Endpoint::Refresh), 1, "{what}");
                // Long enough to wait for once.
                if (settings, rotation, without_jwt) != (SEALED, Rotation::Rotate, false) {
                    continue;
                }
                world.provider.set(|settings| settings.claims = json!({}));
                let signed_in = async {
                    while browser.get("/api/cart").await.status() != 200 {
                        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    }
                };
                crate::support::patiently("the session goes on", signed_in).await;
            }
        }
    }
}

/// The tokens have become too many for the cookies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_do_not_fit_into_cookies_are_not_asked_for_with_every_request() {
    for settings in ["", SEALED] {
        for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
            for seconds in [280, 310] {
                let world = world(&format!("{settings}\n[server.limits]\nmax_header_size = '8KiB'")).await;
                world.provider.set(|settings| settings.rotation = rotation);
                let mut browser = world.logged_in("ada").await;
                world.provider.set(|settings| settings.padding = 7000);
                world.clock.advance(seconds);
                let mut statuses = Vec::new();
                for _ in 0..10 {
                    statuses.push(browser.get("/api/cart").await.status());
                }
                let what = format!("{settings} {rotation:?} {seconds} {statuses:?}");
                assert_eq!(world.provider.count(Endpoint::Refresh), 1, "{what}");
            }
        }
    }
}

/// The clock of the gateway was behind for a while; the JWT is good once that is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_ends_a_jwt_whose_time_has_not_come() {
    for claims in [json!({}), json!({"sid": "s1"})] {
        for with_refresh_token in [true, false] {
            let world = world("").await;
            let now = world.provider_now();
            let mut dates = json!({"iat": now + 100, "exp": now + 400});
            dates.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let future = world.provider.mint("ada", "store", &dates);
            let mut browser = world.logged_in("ada").await;
            browser.jar.insert(ACCESS.into(), future);
            if !with_refresh_token {
                browser.jar.remove(REFRESH);
            }
            let mut thief = world.browser();
            thief.jar.insert(ACCESS.into(), browser.jar[ACCESS].clone());
            browser.send(Request::post("/api/logout")).await.assert_status(204);
            world.clock.advance(101);
            let answer = thief.get("/api/cart").await;
            assert_eq!(subject(&answer), None, "{claims} {with_refresh_token}");
        }
    }
}

/// They are made up as fast as one likes, and each would be revoked at the provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logouts_with_made_up_refresh_tokens_keep_no_session_from_being_revoked() {
    let world = world("").await;
    let mut browser = world.logged_in("ada").await;
    let token = browser.jar[REFRESH].clone();
    let (gate, opened) = watch::channel(false);
    world.provider.fail(Endpoint::Revoke, Fault::Held(opened));
    let mut strangers = Vec::new();
    for number in 0..200 {
        let mut stranger = world.browser();
        stranger.jar.insert(REFRESH.into(), format!("made-up-{number}"));
        let logout = async move { stranger.send(Request::post("/api/logout")).await.status() };
        strangers.push(tokio::spawn(logout));
    }
    wait_for("as many as may be to be on their way", || world.provider.count(Endpoint::Revoke) >= 8).await;
    let logout = tokio::spawn(async move { browser.send(Request::post("/api/logout")).await.status() });
    wait_for("the revocation", || !world.provider.is_alive(&token)).await;
    gate.send_replace(true);
    assert_eq!(logout.await.unwrap(), 204);
    for stranger in strangers {
        assert_eq!(stranger.await.unwrap(), 204);
    }
}
