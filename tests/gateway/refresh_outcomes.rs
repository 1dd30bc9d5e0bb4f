//! The outcome of a refresh: who gets it, and that nobody is a thief for having missed it.

use std::time::Duration;

use crate::refresh::session;
use crate::support::set_cookie::SetCookie;
use crate::support::{Endpoint, Fault, Reply, Request, Rotation, World, patiently, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_requests_at_expiry_make_one_refresh_and_all_get_its_outcome() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail(Endpoint::Refresh, Fault::delay(300));
    let tabs = (0..50).map(|number| {
        let mut tab = browser.clone();
        tokio::spawn(async move {
            let answer = tab.get(&format!("/api/shopping-cart?{number}")).await;
            answer.assert_status(200);
            assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
            assert_eq!(answer.set_cookies().len(), 2);
            session(&tab)
        })
    });
    let sessions: Vec<_> =
        futures_util::future::join_all(tabs).await.into_iter().map(Result::unwrap).collect();
    assert!(sessions.iter().all(|other| *other == sessions[0]));
    assert_ne!(sessions[0], session(&browser));
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_refresh_is_shared_by_all_who_wait_for_it() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.end_all_sessions();
    world.provider.fail(Endpoint::Refresh, Fault::delay(300));
    let tabs = (0..10).map(|_| {
        let mut tab = browser.clone();
        tokio::spawn(
            async move { tab.get("/api/shopping-cart").await.assert_problem(401, "session_expired") },
        )
    });
    for outcome in futures_util::future::join_all(tabs).await {
        outcome.unwrap();
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_apps_do_not_share_a_refresh() {
    let world = World::start().await;
    let mut store = world.logged_in("ada").await;
    let mut forums = world.forums_browser();
    // The store's refresh token, tried at the forums: refused by the provider, and no answer of the store's is reused.
    world.expire_access_tokens();
    forums.jar = store.jar.clone();
    world.provider.set(|settings| settings.rotation = Rotation::Same);
    store.get("/api/shopping-cart").await.assert_status(200);
    let answer = forums.get("/api/threads").await;
    assert_eq!(answer.status(), 401, "{}", answer.text());
    assert_eq!(world.forums.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_cookies_shortly_after_a_refresh_get_the_same_new_tokens_without_a_call() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut other_tab = browser.clone();
    browser.get("/api/shopping-cart").await.assert_status(200);
    world.clock.advance(5);
    for _ in 0..3 {
        let mut late = other_tab.clone();
        let answer = late.get("/api/shopping-cart").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
        assert_eq!(session(&late), session(&browser));
    }
    assert_eq!(other_tab.get("/api/user").await.json()["sub"], "id-of-ada");
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_cookies_after_the_replay_window_end_the_session() {
    let world = World::with("[refresh]\nreplay_window = \"1s\"").await;
    let mut browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut thief = browser.clone();
    browser.get("/api/shopping-cart").await.assert_status(200);
    // That the new tokens are used tells that they have arrived.
    browser.get("/api/shopping-cart").await.assert_status(200);
    world.clock.advance(3);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let answer = thief.get("/api/shopping-cart").await;
    answer.assert_problem(401, "session_expired");
    assert!(answer.set_cookies().iter().all(SetCookie::clears));
    assert_eq!(world.provider.count(Endpoint::Refresh), 1, "the provider is not asked");
    // Nobody can tell the thief from the user, so both are out, and the provider is told of the newest token.
    browser.get("/api/shopping-cart").await.assert_problem(401, "session_expired");
    wait_for("the revocation", || world.provider.count(Endpoint::Revoke) > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_runs_to_its_end_when_the_client_has_gone() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail(Endpoint::Refresh, Fault::delay(700));
    let mut tab = browser.clone();
    let leaving = tokio::spawn(async move { tab.get("/api/shopping-cart").await });
    wait_for("the refresh to start", || world.provider.count(Endpoint::Refresh) > 0).await;
    leaving.abort();
    let _ = leaving.await;
    let mut back = browser.clone();
    let answer = back.get("/api/shopping-cart").await;
    answer.assert_status(200);
    assert_ne!(session(&back), session(&browser));
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_providers_late_answer_is_kept_and_served_next() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = \"1s\"").await;
    let mut browser = world.logged_in("ada").await;
    let old = session(&browser);
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(2500));
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert!(answer.header("retry-after").is_some());
    assert!(answer.set_cookies().is_empty());
    patiently("the late answer", async {
        while browser.get("/api/shopping-cart").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_ne!(session(&browser), old);
    assert_eq!(world.provider.count(Endpoint::Refresh), 1, "the rotated token would be lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tokens_that_nobody_waited_for_make_no_thief_of_the_user() {
    for (late, status) in [("[identity_providers.main]\nrequest_timeout = '1s'", 503), ("", 200)] {
        let world = World::with(&format!("{FORGETFUL}{late}")).await;
        let mut browser = world.logged_in("ada").await;
        // Due, or early: then the valid JWT is used after a second.
        world.clock.advance(if status == 503 { 400 } else { 280 });
        world.provider.fail_next(Endpoint::Refresh, Fault::delay(2000));
        assert_eq!(browser.get("/api/shopping-cart").await.status(), status);
        // The user comes back when nothing of that is remembered but which token followed.
        tokio::time::sleep(Duration::from_millis(4500)).await;
        world.expire_access_tokens();
        browser.get("/api/shopping-cart").await.assert_status(200);
        assert_eq!(world.provider.count(Endpoint::Refresh), 2);
        assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    }
}

/// Forgets outcomes after two seconds.
const FORGETFUL: &str = "[refresh]\nreplay_window = '1s'\n[apps.store.timeouts]\nresponse = '1s'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_left_during_a_refresh_is_no_thief_when_it_comes_back() {
    let world = World::with(FORGETFUL).await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(700));
    let mut tab = browser.clone();
    let leaving = tokio::spawn(async move { tab.get("/api/shopping-cart").await });
    wait_for("the refresh to start", || world.provider.count(Endpoint::Refresh) > 0).await;
    leaving.abort();
    let _ = leaving.await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let mut back = browser.clone();
    world.expire_access_tokens();
    back.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_cookies_ride_on_a_502_and_on_own_answers_and_not_on_a_103() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;

    world.expire_access_tokens();
    let answer = browser.get("/api/user").await;
    answer.assert_status(200);
    assert_eq!(answer.set_cookies().len(), 2, "the user object");

    world.expire_access_tokens();
    let answer = browser.get("/api/admin/users").await;
    answer.assert_problem(403, "forbidden");
    assert_eq!(answer.set_cookies().len(), 2, "a refusal");

    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let response = format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    world.store.on("/api/hinted", Reply::Raw(response.into_bytes()));
    world.expire_access_tokens();
    let answer = browser.get("/api/hinted").await;
    answer.assert_status(200);
    assert_eq!(answer.set_cookies().len(), 2);
    for interim in &answer.interim {
        assert!(interim.all("set-cookie").is_empty(), "{interim:?}");
    }

    world.store.on("/api/upload", Reply::RefuseUpload);
    world.expire_access_tokens();
    let answer = browser.send(Request::post("/api/upload").body("text/plain", "some")).await;
    answer.assert_status(413);
    assert_eq!(answer.set_cookies().len(), 2, "an error of the app");

    world.store.listening().down();
    world.expire_access_tokens();
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_problem(502, "upstream_unavailable");
    assert_eq!(answer.set_cookies().len(), 2, "the app is down");
    world.store.listening().up().await;
    let refreshes = world.provider.count(Endpoint::Refresh);
    browser.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Refresh), refreshes);
}
