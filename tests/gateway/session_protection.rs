//! The two attacks of the workflow: a stolen refresh token, and a stolen JWT.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::support::client::request_bytes;
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::set_cookie::SetCookie;
use crate::support::{
    Answer, Browser, Endpoint, Gateway, NEXT_SEAL_KEY, Reply, Request, Rotation, SEAL_KEY, SEALED, World,
    patiently,
};

pub(crate) async fn sealed(more: &str) -> World {
    World::with(&format!("{SEALED}{more}")).await
}

pub(crate) fn logout() -> Request {
    Request::post("/api/logout")
}

pub(crate) const ADMIN_TOKEN: &str = "an admin token of the tests";

pub(crate) async fn revoke(world: &World, body: &Value) -> Answer {
    let request = Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
    Browser::new(world.gateway.admin, "localhost").send(request.json(body)).await
}

pub(crate) fn assert_ended(answer: &Answer) {
    answer.assert_problem(401, "session_expired");
    let cookies = answer.set_cookies();
    assert!(cookies.len() == 2 && cookies.iter().all(SetCookie::clears), "{cookies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_session_works_as_any_other() {
    for rotation in [Rotation::Rotate, Rotation::Same, Rotation::Omit] {
        let world = sealed("").await;
        world.provider.set(|settings| settings.rotation = rotation);
        let mut browser = world.logged_in("ada").await;
        let first = browser.jar[REFRESH].clone();
        for _ in 0..3 {
            browser.get("/api/cart").await.assert_status(200);
            world.expire_access_tokens();
            let mut other_tab = browser.clone();
            let (one, other) = tokio::join!(browser.get("/api/cart"), other_tab.get("/api/cart"));
            for answer in [one, other] {
                answer.assert_status(200);
                assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
                assert!(answer.set_cookie(ACCESS).is_some() && answer.set_cookie(REFRESH).is_some());
            }
        }
        assert_eq!(world.provider.count(Endpoint::Refresh), 3);
        let sent = world.provider.calls(Endpoint::Refresh);
        assert!(
            sent.iter().all(|call| call.field("refresh_token").is_some_and(|token| !token.contains('.')))
        );
        assert_ne!(browser.jar[REFRESH], first);
        browser.send(logout()).await.assert_status(204);
        assert_eq!(world.provider.count(Endpoint::Revoke), 1);
        assert!(browser.jar.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_refresh_token_gives_nothing_and_the_user_goes_on() {
    let world = sealed("").await;
    let mut ada = world.logged_in("ada").await;
    let mut mallory = world.logged_in("mallory").await;
    let genuine = ada.jar[ACCESS].clone();
    world.expire_access_tokens();
    for access in [None, Some("junk"), Some("a.b.c"), Some(&*mallory.jar[ACCESS].clone())] {
        let mut thief = world.browser();
        thief.jar.insert(REFRESH.to_owned(), ada.jar[REFRESH].clone());
        if let Some(access) = access {
            thief.jar.insert(ACCESS.to_owned(), access.to_owned());
        }
        assert_ended(&thief.get("/api/cart").await);
        assert_eq!(thief.get("/api/user").await.status(), 404, "nothing is left");
    }
    // Nor the other way round: a refresh token of the provider, as it might be found in a log.
    let mut thief = world.browser();
    thief.jar.insert(ACCESS.to_owned(), genuine);
    thief.jar.insert(REFRESH.to_owned(), "a-plain-refresh-token".to_owned());
    assert_ended(&thief.get("/api/cart").await);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
    assert_eq!(world.provider.count(Endpoint::Revoke), 0);
    ada.get("/api/cart").await.assert_status(200);
    mallory.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsealed_and_bound_a_junk_jwt_refreshes_nothing() {
    let world = World::with("[session]\nbind_refresh = true").await;
    let mut ada = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut thief = ada.clone();
    thief.jar.insert(ACCESS.to_owned(), "eyJhbGciOiJub25lIn0.e30.".to_owned());
    assert_ended(&thief.get("/api/cart").await);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
    ada.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_with_a_jwt_of_his_own_gets_nothing_and_the_user_goes_on() {
    let forgetful = "[refresh]\nreplay_window = '1s'\n[apps.store.timeouts]\nresponse = '1s'\n";
    let world = World::with(&format!("[session]\nbind_refresh = true\n{forgetful}")).await;
    let mut ada = world.logged_in("ada").await;
    let mut thief = world.logged_in("mallory").await;
    world.expire_access_tokens();
    thief.jar.insert(REFRESH.to_owned(), ada.jar[REFRESH].clone());
    // Genuine, but of somebody else, as the new JWT tells.
    let answer = thief.get("/api/cart").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert_eq!(answer.set_cookies().len(), 0);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.expire_access_tokens();
    ada.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_jwt_keeps_no_stream_open_with_a_session_of_the_thief() {
    let world = World::start().await;
    let (events, _keep) = broadcast::channel(16);
    world.store.on("/api/events", Reply::Events(events));
    let ada = world.logged_in("ada").await;
    let mut thief = world.logged_in("mallory").await;
    let mut mixed = thief.clone();
    mixed.jar.insert(ACCESS.to_owned(), ada.jar[ACCESS].clone());
    let mut wire = mixed.open().await;
    wire.send(request_bytes(&mixed, &Request::get("/api/events"))).await.unwrap();
    patiently("a head", wire.head()).await.unwrap().expect("a head");
    world.clock.advance(280);
    thief.get("/api/cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
    world.clock.advance(40);
    patiently("the end", async { while wire.fill().await.is_ok_and(|more| more) {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_cookie_of_one_app_is_none_at_another() {
    let world = sealed("bind_refresh = false").await;
    let store = world.logged_in("ada").await;
    let mut forums = world.forums_browser();
    forums.jar.clone_from(&store.jar);
    assert_ended(&forums.get("/api/threads").await);
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_key_is_replaced_while_sessions_live() {
    let builder = World::builder().await.lay_over(SEALED);
    let config = builder.text();
    let world = builder.start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let keys = |keys: &str| {
        config.replace(&format!("[\"{SEAL_KEY}\"]"), keys).replace(&format!("['{SEAL_KEY}']"), keys)
    };
    let overlap = keys(&format!("['{NEXT_SEAL_KEY}', '{SEAL_KEY}']"));
    assert_ne!(overlap, config);
    let next = Gateway::start(&overlap, world.clock.clone()).await;
    next.ready().await;
    let mut browser = at(next.address, &browser);
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    let last = Gateway::start(&keys(&format!("['{NEXT_SEAL_KEY}']")), world.clock.clone()).await;
    last.ready().await;
    let mut browser = at(last.address, &browser);
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    // The first gateway knows the old key only.
    assert_ended(&at(world.gateway.address, &browser).get("/api/cart").await);
}

/// The same browser at another gateway.
pub(crate) fn at(address: SocketAddr, browser: &Browser) -> Browser {
    let mut other = Browser::new(address, &browser.host);
    other.jar.clone_from(&browser.jar);
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsealed_and_bound_a_jwt_of_another_session_of_the_user_refreshes_nothing() {
    let world = World::with("[session]\nbind_refresh = true").await;
    world.provider.set(|settings| settings.claims = json!({"sid": "one"}));
    let thief = world.logged_in("ada").await;
    world.provider.set(|settings| settings.claims = json!({"sid": "two"}));
    let mut victim = world.logged_in("ada").await;
    world.expire_access_tokens();
    let mut mixed = victim.clone();
    mixed.jar.insert(ACCESS.to_owned(), thief.jar[ACCESS].clone());
    let answer = mixed.get("/api/cart").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert!(answer.set_cookie(ACCESS).is_none() && answer.set_cookie(REFRESH).is_none());
    victim.get("/api/cart").await.assert_status(200);
}
