//! Answers that come late: they do not write old cookies over new ones.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::gateway::ACCESS;
use crate::support::set_cookie::SetCookie;
use crate::support::{Answer, Browser, Endpoint, Fault, Reply, Request, Rotation, SEALED, World, wait_for};

/// Sessions as they are kept: sealed or plain.
pub(crate) const SETTINGS: [&str; 2] = ["", SEALED];

/// A replay window that a test can wait for.
pub(crate) const WINDOW: Duration = Duration::from_millis(500);

pub(crate) async fn world(settings: &str) -> World {
    World::with(&format!("[refresh]\nreplay_window = '500ms'\n{settings}")).await
}

/// Another tab that asks for something; `true` opens the app's answer.
pub(crate) async fn slow_tab(
    world: &World,
    browser: &Browser,
    path: &str,
) -> (watch::Sender<bool>, JoinHandle<Answer>) {
    let (gate, opened) = watch::channel(false);
    world.store.on(path, Reply::Held(opened, Box::new(Reply::Echo)));
    let heads = world.store.heads();
    let (mut tab, target) = (browser.clone(), path.to_owned());
    let answer = tokio::spawn(async move { tab.get(&target).await });
    wait_for("the app to have the request", || world.store.heads() > heads).await;
    (gate, answer)
}

pub(crate) async fn release((gate, answer): (watch::Sender<bool>, JoinHandle<Answer>)) -> Answer {
    gate.send_replace(true);
    answer.await.unwrap()
}

pub(crate) async fn assert_signed_in(browser: &mut Browser, user: &str) {
    let answer = browser.get("/api/user").await;
    answer.assert_status(200);
    assert_eq!(answer.json()["sub"], format!("id-of-{user}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_took_long_writes_no_old_cookies_over_newer_ones() {
    for settings in SETTINGS {
        for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
            let world = world(settings).await;
            world.provider.set(|settings| settings.rotation = rotation);
            let mut browser = world.logged_in("ada").await;
            world.expire_access_tokens();
            let slow = slow_tab(&world, &browser, "/api/report").await;
            for _ in 0..2 {
                browser.get("/api/cart").await.assert_status(200);
                browser.get("/api/cart").await.assert_status(200);
                world.expire_access_tokens();
            }
            browser.get("/api/cart").await.assert_status(200);
            let late = release(slow).await;
            late.assert_status(200);
            assert_eq!(late.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
            assert!(late.set_cookies().is_empty(), "{settings} {rotation:?}: {:?}", late.set_cookies());
            browser.keep_cookies(&late);
            tokio::time::sleep(WINDOW * 2).await;
            world.expire_access_tokens();
            assert_signed_in(&mut browser, "ada").await;
            assert_eq!(world.provider.count(Endpoint::Revoke), 0);
        }
    }
}

/// The session is dead, and one tab knows it before the other's answer comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_clear_takes_no_cookies_of_a_login_that_came_meanwhile() {
    for settings in SETTINGS {
        for knows_before_login in [true, false] {
            let world = world(settings).await;
            let mut browser = world.logged_in("ada").await;
            world.expire_access_tokens();
            world.provider.end_all_sessions();
            let slow = slow_tab(&world, &browser, "/either/report").await;
            if knows_before_login {
                browser.get("/api/cart").await.assert_problem(401, "session_expired");
                assert!(browser.jar.is_empty());
            }
            browser.log_in("bob").await;
            let late = release(slow).await;
            assert!(late.seen_by_app("x-auth-user").is_none());
            assert!(late.set_cookies().is_empty(), "{settings}: {:?}", late.set_cookies());
            browser.keep_cookies(&late);
            assert_signed_in(&mut browser, "bob").await;
        }
    }
}

/// Without a login meanwhile the late answer clears, so that a browser gets rid of what is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_that_is_late_but_right_is_written() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        world.provider.end_all_sessions();
        let late = release(slow_tab(&world, &browser, "/either/report").await).await;
        assert!(late.set_cookies().len() == 2 && late.set_cookies().iter().all(SetCookie::clears));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_tokens_of_a_dead_session_do_not_replace_those_of_a_login() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        let slow = slow_tab(&world, &browser, "/api/report").await;
        browser.get("/api/cart").await.assert_status(200);
        world.expire_access_tokens();
        world.provider.end_all_sessions();
        browser.get("/api/cart").await.assert_problem(401, "session_expired");
        browser.log_in("bob").await;
        let late = release(slow).await;
        assert!(late.set_cookies().is_empty(), "{settings}: {:?}", late.set_cookies());
        browser.keep_cookies(&late);
        assert_signed_in(&mut browser, "bob").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_logout_clears_no_cookies_of_a_login_that_came_meanwhile() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let mut browser = world.logged_in("ada").await;
        let (gate, opened) = watch::channel(false);
        world.provider.fail_next(Endpoint::Revoke, Fault::Held(opened));
        let mut tab = browser.clone();
        let logout = tokio::spawn(async move { tab.send(Request::post("/api/logout")).await });
        wait_for("the revocation", || world.provider.count(Endpoint::Revoke) > 0).await;
        browser.log_in("bob").await;
        gate.send_replace(true);
        let late = logout.await.unwrap();
        late.assert_status(204);
        assert!(late.set_cookies().is_empty(), "{settings}: {:?}", late.set_cookies());
        assert_signed_in(&mut browser, "bob").await;
    }
}

/// It was sent before the new cookies came, and its JWT is as good as it was then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_on_its_way_for_long_ends_nothing_while_its_jwt_is_valid() {
    for settings in SETTINGS {
        let world = world(settings).await;
        let mut browser = world.logged_in("ada").await;
        let mut late = browser.clone();
        world.clock.advance(280);
        for _ in 0..2 {
            browser.get("/api/cart").await.assert_status(200);
        }
        assert_eq!(world.provider.count(Endpoint::Refresh), 1);
        tokio::time::sleep(WINDOW * 2).await;
        let answer = late.get("/api/cart").await;
        answer.assert_status(200);
        assert!(answer.set_cookies().is_empty());
        assert_signed_in(&mut browser, "ada").await;
        world.clock.advance(30);
        late.get("/api/cart").await.assert_problem(401, "session_expired");
    }
}

/// Somebody uses what followed, and asks for more: whoever comes with both cookies of before is given nothing of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_jwt_leads_to_no_tokens_that_followed_those_in_use() {
    let world = world("").await;
    let browser = world.logged_in("ada").await;
    let mut thief = browser.clone();
    thief.jar.insert(ACCESS.into(), "junk".into());
    for calls in [1, 2] {
        // The refresh token alone, of which the first gives the second, and the second the third.
        thief.get("/api/cart").await.assert_status(200);
        thief.jar.insert(ACCESS.into(), "junk".into());
        assert_eq!(world.provider.count(Endpoint::Refresh), calls);
    }
    let mut late = browser.clone();
    tokio::time::sleep(WINDOW * 2).await;
    // Its JWT is due, and still valid.
    world.clock.advance(280);
    for _ in 0..3 {
        let answer = late.get("/api/cart").await;
        answer.assert_status(200);
        assert!(answer.set_cookies().is_empty(), "{:?}", answer.set_cookies());
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 2);
    world.clock.advance(30);
    late.get("/api/cart").await.assert_problem(401, "session_expired");
}

/// A refresh token that is sealed for the JWT of before does not belong to the one that the browser has by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_503_breaks_no_pair_of_cookies() {
    for settings in SETTINGS {
        let world =
            World::with(&format!("[identity_providers.main]\nrequest_timeout = '500ms'\n{settings}")).await;
        let mut browser = world.logged_in("ada").await;
        let mut late = browser.clone();
        world.expire_access_tokens();
        browser.get("/api/cart").await.assert_status(200);
        world.expire_access_tokens();
        let (gate, opened) = watch::channel(false);
        world.provider.fail_next(Endpoint::Refresh, Fault::Held(opened));
        let answer = late.get("/api/cart").await;
        answer.assert_problem(503, "identity_provider_unavailable");
        browser.keep_cookies(&answer);
        gate.send_replace(true);
        let signed_in = async {
            loop {
                match browser.get("/api/cart").await.status() {
                    503 => tokio::time::sleep(Duration::from_millis(50)).await,
                    status => break assert_eq!(status, 200, "{settings}"),
                }
            }
        };
        crate::support::patiently("the session goes on", signed_in).await;
    }
}

/// Nobody has come with its cookies since, so that its end has not been found out by a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_tokens_of_a_session_that_was_revoked_meanwhile_are_not_written() {
    const ADMIN_TOKEN: &str = "[server]\nadmin_token = 'an admin token of the tests'\n";
    for settings in SETTINGS {
        for whose in ["sub", "sid", "jti"] {
            let world = world(&format!("{ADMIN_TOKEN}{settings}")).await;
            world.provider.set(|settings| settings.claims = json!({"sid": "s1"}));
            let mut browser = world.logged_in("ada").await;
            world.expire_access_tokens();
            world.provider.set(|settings| settings.claims = json!({"sid": "s1", "jti": "j1"}));
            let slow = slow_tab(&world, &browser, "/api/report").await;
            let revoked = match whose {
                "sub" => "id-of-ada",
                "sid" => "s1",
                _ => "j1",
            };
            let request = Request::post("/sessions/revoke")
                .header("Authorization", "Bearer an admin token of the tests")
                .json(&json!({ whose: revoked }));
            Browser::new(world.gateway.admin, "localhost").send(request).await.assert_status(204);
            browser.jar.clear();
            world.provider.set(|settings| settings.claims = json!({}));
            browser.log_in("bob").await;
            let late = release(slow).await;
            assert!(late.set_cookies().is_empty(), "{settings} {whose}: {:?}", late.set_cookies());
            browser.keep_cookies(&late);
            assert_signed_in(&mut browser, "bob").await;
        }
    }
}
