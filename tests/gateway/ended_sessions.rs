//! Sessions that their user, an operator or time has ended. Nothing of them is good any more.

use serde_json::json;

use crate::session_protection::{ADMIN_TOKEN, assert_ended, logout, revoke, sealed};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Request, SEALED, World, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_jwt_is_dead_after_a_logout() {
    for claims in [json!({"sid": "s1", "jti": "t1"}), json!({"jti": "t1"}), json!({"jti": null, "sid": null})]
    {
        let world = World::start().await;
        world.provider.set(|settings| settings.claims = claims.clone());
        let mut browser = world.logged_in("ada").await;
        let mut thief = browser.clone();
        let jwt = thief.jar[ACCESS].clone();
        thief.get("/api/cart").await.assert_status(200);
        browser.send(logout()).await.assert_status(204);
        let answer = thief.get("/api/cart").await;
        assert_ended(&answer);
        thief.jar.insert(ACCESS.to_owned(), jwt);
        thief.jar.remove(REFRESH);
        thief.get("/api/cart").await.assert_problem(401, "not_logged_in");
        assert_eq!(thief.get("/api/user").await.status(), 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jwts_of_a_session_that_was_refreshed_are_dead_after_a_logout() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    // Refreshed early: the old JWT is still valid.
    world.clock.advance(280);
    let before = browser.clone();
    browser.get("/api/cart").await.assert_status(200);
    world.clock.advance(280);
    let between = browser.clone();
    browser.get("/api/cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Refresh), 2);
    browser.send(logout()).await.assert_status(204);
    for mut old in [before, between] {
        old.jar.remove(REFRESH);
        old.get("/api/cart").await.assert_problem(401, "not_logged_in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_login_in_the_same_browser_ends_the_old_jwt() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let mut old = browser.clone();
    browser.log_in("bob").await.assert_status(200);
    let answer = old.get("/api/cart").await;
    answer.assert_problem(401, "session_expired");
    assert_eq!(answer.set_cookies().len(), 0, "they would take the new session");
    browser.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_revokes_by_sid_sub_and_jti() {
    let world = World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
    for claim in ["sid", "sub", "jti"] {
        world.provider.set(|settings| settings.claims = json!({"sid": "of bob", "jti": "of bob"}));
        let mut bob = world.logged_in("bob").await;
        let value = if claim == "sub" { "id-of-ada" } else { "of ada" };
        world.provider.set(|settings| settings.claims = json!({"sid": "of ada", "jti": "of ada"}));
        if claim != "sid" {
            world.provider.set(|settings| settings.claims["sid"] = json!(claim));
        }
        if claim == "sub" {
            world.provider.set(|settings| settings.claims["jti"] = json!("another"));
        }
        let mut ada = world.logged_in("ada").await;
        ada.get("/api/cart").await.assert_status(200);
        revoke(&world, &json!({ claim: value })).await.assert_status(204);
        if claim == "jti" {
            // The JWT alone: the session goes on with another one.
            world.provider.set(|settings| settings.claims["jti"] = json!("next"));
            ada.get("/api/cart").await.assert_status(200);
            assert_eq!(world.provider.count(Endpoint::Refresh), 1);
        } else {
            assert_ended(&ada.get("/api/cart").await);
            assert_eq!(world.provider.count(Endpoint::Refresh), 0);
        }
        bob.get("/api/cart").await.assert_status(200);
        world.clock.advance(2);
    }
    // Another login of the same subject, later, is another session.
    world.provider.set(|settings| settings.claims = json!({}));
    world.logged_in("ada").await.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_revokes_anything() {
    let world = World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    let with_token =
        |token: &str| Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {token}"));
    let body = json!({"sub": "id-of-ada"});
    for request in [
        Request::post("/sessions/revoke"),
        with_token(""),
        with_token("another"),
        with_token(&ADMIN_TOKEN[1..]),
        with_token(&format!("{ADMIN_TOKEN}!")),
        Request::post("/sessions/revoke").header("Authorization", &format!("Basic {ADMIN_TOKEN}")),
    ] {
        let answer = admin.send(request.json(&body)).await;
        answer.assert_status(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let right = || with_token(ADMIN_TOKEN);
    for (body, status) in [
        (json!({}), 400),
        (json!([]), 400),
        (json!({"sub": ""}), 400),
        (json!({"sub": 1}), 400),
        (json!({"sub": "a", "sid": "b"}), 400),
        (json!({"sid": "a", "issued_until": 1}), 400),
        (json!({"sub": "a", "issued_until": "1"}), 400),
        (json!({"sub": "a", "identity_provider": "none"}), 400),
        (json!({"user": "a"}), 400),
        (json!({"sub": "x".repeat(20_000)}), 413),
        (json!({"sub": "a", "identity_provider": "main", "issued_until": 1}), 204),
    ] {
        let answer = admin.send(right().json(&body)).await;
        assert_eq!(answer.status(), status, "{body}: {}", answer.text());
    }
    assert_eq!(admin.send(right().form("sub=a")).await.status(), 415);
    assert_eq!(admin.send(Request::get("/sessions/revoke")).await.status(), 405);
    // Not through the public listener.
    let answer = world.browser().send(right().json(&body)).await;
    assert_ne!(answer.status(), 204);
    world.logged_in("ada").await.get("/api/cart").await.assert_status(200);

    let world = World::start().await;
    let answer = revoke(&world, &body).await;
    answer.assert_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_revoked_is_not_refreshed_even_if_the_provider_would() {
    let world = World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
    world.provider.set(|settings| settings.claims = json!({"sid": "s1"}));
    let mut browser = world.logged_in("ada").await;
    // Nothing in the request says whose session it is: only the new JWT does.
    browser.jar.remove(ACCESS);
    revoke(&world, &json!({"sid": "s1"})).await.assert_status(204);
    assert_ended(&browser.get("/api/cart").await);
    wait_for("the new grant's revocation", || world.provider.count(Endpoint::Revoke) > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_after_their_lifetimes() {
    let world = sealed("absolute_lifetime = '30m'\nidle_lifetime = '10m'").await;
    let mut busy = world.logged_in("ada").await;
    let mut idle = world.logged_in("bob").await;
    for _ in 0..5 {
        world.clock.advance(350);
        busy.get("/api/cart").await.assert_status(200);
    }
    assert_ended(&idle.get("/api/cart").await);
    world.clock.advance(60);
    assert_ended(&busy.get("/api/cart").await);
    assert_eq!(world.provider.count(Endpoint::Refresh), 5);
    wait_for("both revocations", || world.provider.count(Endpoint::Revoke) >= 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_a_login_is_good_at_once() {
    for settings in ["", SEALED] {
        let world = World::with(&format!("{settings}\n[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
        world.provider.set(|settings| settings.claims = json!({"sid": "the same again"}));
        for how in ["sub", "sid", "logout"] {
            let mut old = world.logged_in("ada").await;
            let mut thief = old.clone();
            match how {
                "sub" => revoke(&world, &json!({"sub": "id-of-ada"})).await.assert_status(204),
                "sid" => revoke(&world, &json!({"sid": "the same again"})).await.assert_status(204),
                _ => old.send(logout()).await.assert_status(204),
            }
            thief.get("/api/cart").await.assert_problem(401, "session_expired");
            // In the same second as far as anybody's clock says.
            let mut new = world.logged_in("ada").await;
            new.get("/api/cart").await.assert_status(200);
            world.expire_access_tokens();
            new.get("/api/cart").await.assert_status(200);
        }
    }
}
