//! The gateway fetches keys at start and in the background, keeps them through outages, and asks again at an unknown
//! key id, within limits.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Endpoint, Fault, Gateway, Key, World, patiently};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rs256_es256_and_eddsa_are_all_verified() {
    let world = World::start().await;
    for key in [Key::Rsa, Key::Ec, Key::Ed] {
        world.provider.set(|settings| settings.key = key);
        let mut browser = world.logged_in("ada").await;
        browser.get("/api/shopping-cart").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_is_fetched_when_its_first_token_arrives_from_the_provider() {
    let world = World::start().await;
    let mut before = world.logged_in("ada").await;
    let fetches = world.provider.count(Endpoint::Jwks);
    world.provider.set(|settings| {
        settings.key = Key::NextRsa;
        settings.published = vec![Key::NextRsa, Key::Rsa];
    });
    let mut browser = world.logged_in("ada").await;
    browser.get("/api/shopping-cart").await.assert_status(200);
    before.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Jwks), fetches + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_unknown_key_ids_makes_one_fetch_per_cooldown() {
    let world = World::with("[identity_providers.main]\njwks_cooldown = \"10m\"").await;
    let fetches = world.provider.count(Endpoint::Jwks);
    let claims = json!({"iss": world.provider.issuer(), "sub": "x", "aud": "store", "azp": "store", "exp": 99_999_999_999_u64});
    let requests = (0..40).map(|number| {
        let mut browser = world.browser();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": format!("unknown-{number}")});
        let token = Key::Stranger.sign_raw(&header.to_string(), &claims.to_string());
        browser.jar.insert(ACCESS.into(), token);
        tokio::spawn(
            async move { browser.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in") },
        )
    });
    for outcome in futures_util::future::join_all(requests).await {
        outcome.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let made = world.provider.count(Endpoint::Jwks) - fetches;
    assert!(made <= 1, "{made} fetches");
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_id_from_a_request_triggers_a_fetch_that_makes_the_key_known() {
    let world = World::with("[identity_providers.main]\njwks_cooldown = \"1s\"").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.provider.set(|settings| {
        settings.key = Key::NextRsa;
        settings.published = vec![Key::NextRsa];
    });
    // A token that the gateway did not fetch itself, as after a restart or from another replica.
    let mut browser = world.browser();
    browser.jar.insert(ACCESS.into(), world.provider.mint("ada", "store", &json!({})));
    patiently("the new key", async {
        while browser.get("/api/shopping-cart").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_again_in_the_background_and_a_removed_one_counts_no_longer() {
    let world = World::with("[identity_providers.main]\njwks_refresh = \"1s\"").await;
    let mut browser = world.logged_in("ada").await;
    browser.jar.remove(REFRESH);
    browser.get("/api/shopping-cart").await.assert_status(200);
    world.provider.set(|settings| settings.published = vec![Key::NextRsa]);
    patiently("the key to be dropped", async {
        while browser.get("/api/shopping-cart").await.status() != 401 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_kept_through_outages_and_rubbish() {
    let world = World::with("[identity_providers.main]\njwks_refresh = \"1s\"").await;
    let mut browser = world.logged_in("ada").await;
    for fault in [
        Fault::status(500, "{}"),
        Fault::status(200, "{}"),
        Fault::status(200, r#"{"keys":[]}"#),
        Fault::Garbage,
    ] {
        world.provider.fail(Endpoint::Jwks, fault.clone());
        let before = world.provider.count(Endpoint::Jwks);
        patiently("a background fetch", async {
            while world.provider.count(Endpoint::Jwks) == before {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = browser.get("/api/shopping-cart").await;
        assert_eq!(answer.status(), 200, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_while_the_provider_is_down_says_so_and_becomes_ready_without_a_restart() {
    let builder = World::builder().await;
    builder.provider.listening().down();
    let world = builder.start_unready().await;
    assert_eq!(world.gateway.admin_get("/livez").await.status(), 200);
    assert_eq!(world.gateway.admin_get("/readyz").await.status(), 503);
    world.browser().get("/").await.assert_status(200);
    world
        .browser()
        .try_log_in("ada", "correct horse")
        .await
        .assert_problem(503, "identity_provider_unavailable");
    world.provider.listening().up().await;
    world.gateway.ready().await;
    world.logged_in("ada").await.get("/api/shopping-cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_document_of_another_issuer_is_not_believed() {
    let builder = World::builder().await;
    builder.provider.set(|settings| settings.discovery = json!({"issuer": "http://127.0.0.1:1"}));
    let world = builder.start_unready().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.gateway.admin_get("/readyz").await.status(), 503);
    assert_eq!(world.provider.count(Endpoint::Jwks), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_endpoints_are_not_reachable_through_the_public_listener() {
    let world = World::start().await;
    for path in ["/livez", "/readyz", "/metrics", "/status.json"] {
        let answer = world.browser().get(path).await;
        answer.assert_problem(401, "not_logged_in");
        assert_eq!(world.gateway.admin_get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_gateway_takes_over_living_sessions() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let text = format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        admin_listen = "127.0.0.1:0"
        [identity_providers.main]
        issuer = "{}"
        kind = "oauth2"
        [apps.store]
        hosts = ["store.localhost"]
        upstreams = ["{}"]
        client_id = "store"
        client_secret = "store-secret"
        "#,
        world.provider.issuer(),
        world.store.url()
    );
    let (jar, clock) = (std::mem::take(&mut browser.jar), world.clock.clone());
    world.gateway.stop().await;
    let gateway = Gateway::start(&text, clock.clone()).await;
    gateway.ready().await;
    let mut browser = crate::support::Browser::new(gateway.address, "store.localhost");
    browser.jar = jar;
    browser.get("/api/shopping-cart").await.assert_status(200);
    clock.advance(310);
    browser.get("/api/shopping-cart").await.assert_status(200);
}
