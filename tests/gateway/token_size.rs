//! Tokens that do not fit into one cookie are split and put together again, or refused as a whole.

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, World};

fn parts(browser: &Browser, name: &str) -> Vec<String> {
    let further = format!("{name}.");
    browser.jar.keys().filter(|key| *key == name || key.starts_with(&further)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_9_and_15_kb_are_split_and_put_together_again() {
    let world = World::with("[server.limits]\nmax_header_size = \"64KiB\"").await;
    for size in [6_000, 11_000] {
        world.provider.set(|settings| settings.padding = size);
        let mut browser = world.browser();
        // Each Set-Cookie is held against 4,096 bytes by the jar.
        browser.log_in("ada").await;
        assert!(parts(&browser, ACCESS).len() > 1, "{:?}", browser.jar.keys());
        let answer = browser.get("/api/shopping-cart").await;
        answer.assert_status(200);
        assert_eq!(answer.seen_by_app("x-auth-user").as_deref(), Some("id-of-ada"));
        assert_eq!(answer.seen_by_app("cookie"), None, "no part reaches the app");
        assert_eq!(world.provider.count(Endpoint::Refresh), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_refresh_token_is_split_too_and_arrives_whole_at_the_provider() {
    let world = World::start().await;
    world.provider.set(|settings| settings.refresh_padding = 6_000);
    let mut browser = world.logged_in("ada").await;
    assert!(parts(&browser, REFRESH).len() > 1);
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_status(200);
    let call = world.provider.calls(Endpoint::Refresh).pop().expect("one refresh");
    assert!(call.field("refresh_token").is_some_and(|token| token.len() > 6_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_missing_or_mixed_are_refused_as_a_whole() {
    let world = World::start().await;
    world.provider.set(|settings| settings.padding = 6_000);
    let one = world.logged_in("ada").await;
    let other = world.logged_in("ada").await;
    let names = parts(&one, ACCESS);
    for name in &names {
        let mut torn = one.clone();
        torn.jar.remove(name);
        torn.jar.remove(REFRESH);
        torn.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in");

        let mut mixed = one.clone();
        mixed.jar.insert(name.clone(), other.jar[name].clone());
        mixed.jar.remove(REFRESH);
        mixed.get("/api/shopping-cart").await.assert_problem(401, "not_logged_in");
    }
    // With the refresh token, a torn JWT is like an absent one.
    let mut torn = one.clone();
    torn.jar.remove(names.last().unwrap());
    torn.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_refresh_token_never_reaches_the_provider() {
    let world = World::start().await;
    world.provider.set(|settings| settings.refresh_padding = 6_000);
    let mut browser = world.logged_in("ada").await;
    let names = parts(&browser, REFRESH);
    browser.jar.remove(names.last().unwrap());
    world.expire_access_tokens();
    let answer = browser.get("/api/shopping-cart").await;
    assert_eq!(answer.status(), 401, "{}", answer.text());
    assert_eq!(world.provider.count(Endpoint::Refresh), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_of_a_longer_token_are_cleared() {
    let world = World::start().await;
    world.provider.set(|settings| settings.padding = 9_000);
    let mut browser = world.logged_in("ada").await;
    assert!(parts(&browser, ACCESS).len() > 2);
    world.provider.set(|settings| settings.padding = 4_500);
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(parts(&browser, ACCESS).len(), 2, "{:?}", browser.jar.keys());
    world.provider.set(|settings| settings.padding = 0);
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_status(200);
    assert_eq!(parts(&browser, ACCESS), [ACCESS]);
    browser.get("/api/shopping-cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logout_and_a_dead_session_clear_every_part() {
    let world = World::start().await;
    world.provider.set(|settings| (settings.padding, settings.refresh_padding) = (6_000, 6_000));
    let mut browser = world.logged_in("ada").await;
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    assert!(browser.jar.is_empty(), "{:?}", browser.jar.keys());
    let mut browser = world.logged_in("ada").await;
    world.provider.end_all_sessions();
    world.expire_access_tokens();
    browser.get("/api/shopping-cart").await.assert_problem(401, "session_expired");
    assert!(browser.jar.is_empty(), "{:?}", browser.jar.keys());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_tokens_with_odd_characters_survive_the_cookie() {
    let world = World::start().await;
    for odd in [";", ",", " ", "\"", "%", "%41", "!", "!1!", "=", "\\", "a b;c,d\"e%f!g"] {
        world.provider.set(|settings| settings.odd_characters = format!("{odd}x{odd}"));
        let mut browser = world.logged_in("ada").await;
        world.expire_access_tokens();
        let answer = browser.get("/api/shopping-cart").await;
        assert_eq!(answer.status(), 200, "{odd:?}: {}", answer.text());
        let call = world.provider.calls(Endpoint::Refresh).pop().expect("one refresh");
        assert!(call.field("refresh_token").unwrap().ends_with(&format!("{odd}x{odd}")), "{odd:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_beyond_every_bound_is_no_login_and_no_refresh_but_no_end_of_the_session_either() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    world.provider.set(|settings| settings.padding = 60_000);
    let answer = world.browser().try_log_in("bob", "correct horse").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert!(answer.set_cookies().is_empty());
    world.expire_access_tokens();
    let answer = browser.get("/api/shopping-cart").await;
    answer.assert_problem(503, "identity_provider_unavailable");
    assert!(browser.jar.contains_key(ACCESS) && browser.jar.contains_key(REFRESH));
}
