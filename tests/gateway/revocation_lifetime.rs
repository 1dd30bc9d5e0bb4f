//! A revoked session stays revoked as long as its JWT could be used, however short `session.revocation_lifetime` is.

use serde_json::{Value, json};

use crate::support::gateway::REFRESH;
use crate::support::{Browser, Key, Request, World};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

async fn world() -> World {
    let world = World::with(
        "[session]\nrevocation_lifetime = '1m'\n[server]\nadmin_token = 'a token of the tests'\n\
         [apps.store.backchannel_logout]\npath = '/backchannel'",
    )
    .await;
    world.provider.set(|settings| settings.lifetime = 3600);
    world
}

async fn by_admin(world: &World, body: Value) {
    let request = Request::post("/sessions/revoke").header("Authorization", "Bearer a token of the tests");
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    admin.send(request.json(&body)).await.assert_status(204);
}

async fn by_provider(world: &World, whose: Value) {
    let now = world.provider_now();
    let mut claims = json!({
        "iss": world.provider.issuer(), "aud": "store", "iat": now, "exp": now + 120, "jti": "l-1", "events": { EVENT: {} },
    });
    claims.as_object_mut().unwrap().extend(whose.as_object().unwrap().clone());
    let request = Request::post("/backchannel").form(&format!("logout_token={}", Key::Rsa.sign(&claims)));
    world.browser().send(request).await.assert_status(200);
}

#[derive(Debug, Clone, Copy)]
enum How {
    Logout,
    AdminBySubject,
    AdminBySession,
    AdminByToken,
    ProviderBySubject,
    ProviderBySession,
}

const ALL: [How; 6] = [
    How::Logout,
    How::AdminBySubject,
    How::AdminBySession,
    How::AdminByToken,
    How::ProviderBySubject,
    How::ProviderBySession,
];

/// A JWT that is revoked this way, alone; `used`: it was seen here before.
async fn revoked(world: &World, how: How, used: bool) -> Browser {
    let now = world.provider_now();
    world
        .provider
        .set(|settings| settings.claims = json!({"sid": format!("s-{now}"), "jti": format!("t-{now}")}));
    let mut browser = world.logged_in("ada").await;
    let mut stolen = browser.clone();
    stolen.jar.remove(REFRESH);
    if used {
        stolen.get("/api/cart").await.assert_status(200);
    }
    match how {
        How::Logout => browser.send(Request::post("/api/logout")).await.assert_status(204),
        How::AdminBySubject => by_admin(world, json!({"sub": "id-of-ada"})).await,
        How::AdminBySession => by_admin(world, json!({"sid": format!("s-{now}")})).await,
        How::AdminByToken => by_admin(world, json!({"jti": format!("t-{now}")})).await,
        How::ProviderBySubject => by_provider(world, json!({"sub": "id-of-ada"})).await,
        How::ProviderBySession => by_provider(world, json!({"sid": format!("s-{now}")})).await,
    }
    stolen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_jwt_is_refused_until_it_expires() {
    for used in [true, false] {
        for how in ALL {
            let world = world().await;
            let mut stolen = revoked(&world, how, used).await;
            for seconds in [61, 600, 2900] {
                world.clock.advance(seconds);
                let answer = stolen.clone().get("/api/cart").await;
                assert_eq!(answer.status(), 401, "{how:?} {used} {seconds}: {}", answer.text());
            }
            world.clock.advance(60);
            stolen.get("/api/cart").await.assert_problem(401, "not_logged_in");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_that_another_process_saw_is_refused_until_it_expires() {
    let world = world().await;
    // Lives longer than all that were seen here, and comes for the first time after its revocation.
    let now = world.provider_now();
    let longest = world.provider.mint("ada", "store", &json!({"exp": now + 9000}));
    by_admin(&world, json!({"sub": "id-of-ada"})).await;
    let mut browser = world.browser();
    browser.jar.insert(crate::support::gateway::ACCESS.to_owned(), longest);
    for seconds in [30, 61, 3000, 5900] {
        browser.get("/api/cart").await.assert_problem(401, "not_logged_in");
        world.clock.advance(seconds);
    }
    browser.get("/api/cart").await.assert_problem(401, "not_logged_in");
}
