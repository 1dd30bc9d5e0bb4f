//! The two attacks of the workflow: a stolen refresh token, and a stolen JWT.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::client::{SetCookie, request_bytes};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{
    Answer, Browser, Endpoint, Gateway, Reply, Request, Rotation, World, patiently, wait_for,
};

const KEY: &str = "c2VhbCBrZXkgb2YgdGhlIHRlc3RzLCBubyBzZWNyZXQ=";
const NEXT_KEY: &str = "bmV4dCBzZWFsIGtleSBvZiB0aGUgdGVzdHMsIG5vbmU=";

async fn sealed(more: &str) -> World {
    World::with(&format!("[session]\nseal_keys = ['{KEY}']\n{more}")).await
}

fn logout() -> Request {
    Request::post("/api/logout")
}

const ADMIN_TOKEN: &str = "an admin token of the tests";

async fn revoke(world: &World, body: &Value) -> Answer {
    let request = Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
    Browser::new(world.gateway.admin, "localhost").send(request.json(body)).await
}

fn assert_ended(answer: &Answer) {
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
    let builder = World::builder().await.lay_over(&format!("[session]\nseal_keys = ['{KEY}']"));
    let config = builder.text();
    let world = builder.start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    let keys =
        |keys: &str| config.replace(&format!("[\"{KEY}\"]"), keys).replace(&format!("['{KEY}']"), keys);
    let overlap = keys(&format!("['{NEXT_KEY}', '{KEY}']"));
    assert_ne!(overlap, config);
    let next = Gateway::start(&overlap, world.clock.clone()).await;
    next.ready().await;
    let mut browser = at(next.address, &browser);
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    let last = Gateway::start(&keys(&format!("['{NEXT_KEY}']")), world.clock.clone()).await;
    last.ready().await;
    let mut browser = at(last.address, &browser);
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    // The first gateway knows the old key only.
    assert_ended(&at(world.gateway.address, &browser).get("/api/cart").await);
}

/// The same browser at another gateway.
fn at(address: SocketAddr, browser: &Browser) -> Browser {
    let mut other = Browser::new(address, &browser.host);
    other.jar.clone_from(&browser.jar);
    other
}

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

/// What a stream that outlives its session sees.
pub(crate) async fn closing(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> Option<(u16, String)> {
    match patiently("the end", socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => Some((frame.code.into(), frame.reason.to_string())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_is_closed_with_4401_when_its_session_ends() {
    let world = World::with(&format!("[server]\nadmin_token = '{ADMIN_TOKEN}'")).await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let ended = Some((4401, "session ended".to_owned()));
    for how in ["logout", "revoked", "expired"] {
        let mut browser = world.logged_in("ada").await;
        let bystander = world.logged_in("bob").await;
        let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
        let (_, mut other) = web_socket(&bystander, &upgrade("/api/socket")).await.expect("101");
        for socket in [&mut socket, &mut other] {
            hear(socket).await;
            assert_eq!(say(socket, "hello").await, "hello");
        }
        match how {
            "logout" => browser.send(logout()).await.assert_status(204),
            "revoked" => revoke(&world, &json!({"sub": "id-of-ada"})).await.assert_status(204),
            _ => world.clock.advance(320),
        }
        assert_eq!(closing(&mut socket).await, ended, "{how}");
        if how != "expired" {
            assert_eq!(say(&mut other, "still there?").await, "still there?");
        }
        world.clock.advance(1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_lives_on_while_other_requests_refresh_its_session() {
    let world = World::start().await;
    world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    let mut browser = world.logged_in("ada").await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
    hear(&mut socket).await;
    for _ in 0..2 {
        world.clock.advance(280);
        browser.get("/api/cart").await.assert_status(200);
        world.clock.advance(30);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(say(&mut socket, "still there?").await, "still there?");
    }
    assert_eq!(world.provider.count(Endpoint::Refresh), 2);
    world.clock.advance(310);
    assert_eq!(closing(&mut socket).await.map(|(code, _)| code), Some(4401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_is_cut_when_its_session_ends() {
    for how in ["logout", "expired"] {
        let world = World::start().await;
        let (events, _keep) = broadcast::channel(16);
        world.store.on("/api/events", Reply::Events(events));
        let mut browser = world.logged_in("ada").await;
        let mut wire = browser.clone().open().await;
        wire.send(request_bytes(&browser, &Request::get("/api/events"))).await.unwrap();
        patiently("a head", wire.head()).await.unwrap().expect("a head");
        match how {
            "logout" => browser.send(logout()).await.assert_status(204),
            _ => world.clock.advance(320),
        }
        patiently("the end", async { while wire.fill().await.is_ok_and(|more| more) {} }).await;
        assert!(!wire.buffer.ends_with(b"0\r\n\r\n"), "{how}: it must not look complete");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_a_login_is_good_at_once() {
    for settings in ["", &format!("[session]\nseal_keys = ['{KEY}']")] {
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
