//! A running gateway takes another configuration. Only those whom it concerns notice.

use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::client::{raw, receive};
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::load::Load;
use crate::support::program::Program;
use crate::support::{
    Browser, Endpoint, Fault, NEXT_SEAL_KEY, Reply, Request, SEAL_KEY, SEALED, World, patiently, wait_for,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reloads_under_load_fail_no_request() {
    let world = World::start().await;
    let mut browsers = Vec::new();
    for user in ["ada", "ben"] {
        for _ in 0..3 {
            browsers.push(world.logged_in(user).await);
        }
    }
    let load = Load::start(browsers.clone());
    for turn in 0..50 {
        let changes = world
            .reload(&format!(
                "[apps.store.timeouts]\nresponse = '{}s'\n[identity_providers.main]\nleeway = '{}s'\n[refresh]\nahead = '{}s'",
                20 + turn % 2,
                4 + turn % 3 / 2,
                20 + turn % 5
            ))
            .await;
        assert!(turn == 0 || !changes.is_empty(), "{changes:?}");
        if turn % 10 == 5 {
            world.expire_access_tokens();
        }
    }
    let (requests, connections) = load.stop().await;
    assert!(requests >= 50, "{requests}");
    assert_eq!(connections, browsers.len(), "no connection was closed");
    assert_eq!(world.gateway.reloader.status().generation, 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_under_way_is_the_same_after_a_reload() {
    let world = World::start().await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(1500));
    let mut first = browser.clone();
    let waiting = tokio::spawn(async move {
        let answer = first.get("/api/cart").await;
        answer.assert_status(200);
        first.jar
    });
    wait_for("the refresh", || world.provider.count(Endpoint::Refresh) == 1).await;
    // Other rules for the identity, and for the provider's answers.
    let changes = "[apps.store.identity_headers]\nX-Name = 'name'\n[identity_providers.main]\nleeway = '4s'";
    world.reload(changes).await;
    let mut second = browser.clone();
    let answer = second.get("/api/cart").await;
    answer.assert_status(200);
    assert!(answer.seen_by_app("x-name").is_some(), "by the rules of now");
    let jar = waiting.await.unwrap();
    assert_eq!(jar, second.jar);
    world.reload("").await;
    // The old cookies again, in the replay window.
    let mut third = browser.clone();
    let answer = third.get("/api/cart").await;
    answer.assert_status(200);
    assert_eq!(answer.seen_by_app("x-name"), None);
    assert_eq!(jar, third.jar);
    assert_eq!(world.provider.count(Endpoint::Refresh), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_come_and_go_without_taking_each_others_place() {
    let world = World::start().await;
    let mut store = world.logged_in("ada").await;
    let mut forums = world.forums_browser();
    forums.log_in("ben").await;
    let mut logged_out = world.logged_in("ben").await;
    logged_out.get("/api/cart").await.assert_status(200);
    let stolen = logged_out.clone();
    logged_out.send(Request::post("/api/logout")).await.assert_status(204);

    // One more before the others: every position in the file is another.
    let more = format!(
        "[apps.a]\nhosts = ['a.localhost']\nupstreams = ['{}']\nclient_id = 'forums'\nclient_secret = 'forums-secret'\nidentity_provider = 'main'
         [identity_providers.a]\nissuer = 'https://other.example.com'\ntoken_endpoint = 'http://127.0.0.1:9/t'\njwks_uri = 'http://127.0.0.1:9/j'
         [apps.store]\nidentity_provider = 'main'\n[apps.forums]\nidentity_provider = 'main'",
        world.forums.url()
    );
    world.reload(&more).await;
    for browser in [&mut store, &mut forums] {
        browser.get("/api/cart").await.assert_status(200);
    }
    stolen.clone().get("/api/cart").await.assert_problem(401, "session_expired");
    let mut store_at_forums = store.clone();
    store_at_forums.host = "forums.localhost".into();
    assert_eq!(store_at_forums.get("/api/cart").await.status() / 100, 4, "a cookie of the store");
    let mut forums_at_a = forums.clone();
    forums_at_a.host = "a.localhost".into();
    forums_at_a.get("/api/cart").await.assert_status(200);

    world
        .reload_without("", |config| {
            config["apps"].as_table_mut().unwrap().remove("forums");
        })
        .await;
    forums.get("/api/cart").await.assert_problem(404, "unknown_host");
    store.get("/api/cart").await.assert_status(200);
    world.reload("").await;
    forums.get("/api/cart").await.assert_status(200);
    stolen.clone().get("/api/cart").await.assert_problem(401, "session_expired");
    assert_eq!(world.provider.count(Endpoint::Refresh), 1, "for the forums' cookie of the store at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_verified_by_other_rules_is_verified_again() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    browser.jar.remove(REFRESH);
    browser.get("/api/cart").await.assert_status(200);
    world.reload("[apps.store]\naudience = 'other'\nauthorized_parties = ['other']").await;
    browser.clone().get("/api/cart").await.assert_problem(401, "not_logged_in");
    world.reload("[identity_providers.main]\nalgorithms = ['RS512']").await;
    browser.clone().get("/api/cart").await.assert_problem(401, "not_logged_in");
    world.reload("").await;
    browser.get("/api/cart").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seal_keys_are_replaced_with_an_overlap() {
    let world = World::with(SEALED).await;
    let mut browser = world.logged_in("ada").await;
    let changes = world.reload(&format!("[session]\nseal_keys = ['{NEXT_SEAL_KEY}', '{SEAL_KEY}']")).await;
    assert!(!changes.is_empty() && changes.iter().all(|change| !change.contains("c2VhbCB")), "{changes:?}");
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    world.reload(&format!("[session]\nseal_keys = ['{NEXT_SEAL_KEY}']")).await;
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    assert!(browser.jar.contains_key(ACCESS));
    assert_eq!(world.provider.count(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_web_sockets_and_requests_in_flight_go_on_and_end_with_their_sessions() {
    let world = World::start().await;
    world.store.on("/api/ws", Reply::after(50, Reply::WebSocket));
    world.store.on("/open/slow", Reply::after(1000, Reply::Echo));
    let mut browser = world.logged_in("ada").await;
    let (_, mut socket) = web_socket(&browser, &upgrade("/api/ws")).await.expect("101");
    hear(&mut socket).await;
    let mut slow = browser.clone();
    let slow = tokio::spawn(async move { slow.get("/open/slow").await.assert_status(200) });
    wait_for("the request at the app", || world.store.heads() >= 2).await;
    world
        .reload_without("", |config| {
            config["apps"].as_table_mut().unwrap().remove("store");
        })
        .await;
    slow.await.unwrap();
    assert!(say(&mut socket, "still here").await.contains("still here"));
    world.reload("").await;
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    patiently("its end", async {
        use futures_util::StreamExt;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_what_needs_a_restart() {
    let world = World::start().await;
    let mut old = world.browser().open().await;
    old.send("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    receive(&mut old, "GET", 1 << 16).await.unwrap().assert_status(200);
    let toml = "[server]\nworker_threads = 3\nadmin_token = 'a token of the tests'\n[server.limits]\nmax_header_size = '1KiB'\nmax_connections = 3";
    world.reload(toml).await;
    let status = world.gateway.reloader.status();
    assert_eq!(status.needs_restart, ["server.worker_threads"]);
    let long =
        format!("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(2000));
    let (answer, _) = raw(world.gateway.address, &long).await;
    answer.unwrap().assert_status(431);
    old.send(&long).await.unwrap();
    let answer = receive(&mut old, "GET", 1 << 16).await.unwrap();
    answer.assert_status(200);
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    let request = Request::post("/sessions/revoke").header("Authorization", "Bearer a token of the tests");
    admin.send(request.json(&serde_json::json!({"sub": "nobody"}))).await.assert_status(204);
}

/// A process either shares its state for its whole life, or never. Nobody listens at this address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_state_that_comes_with_a_reload_needs_a_restart() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let table = format!("[shared_state]\nurl = 'redis://127.0.0.1:1'\nkeys = ['{NEXT_SEAL_KEY}']");
    world.reload(&table).await;
    assert_eq!(world.gateway.reloader.status().needs_restart, ["shared_state"]);
    browser.get("/api/cart").await.assert_status(200);
    world.expire_access_tokens();
    browser.get("/api/cart").await.assert_status(200);
    world.reload("").await;
    assert!(world.gateway.reloader.status().needs_restart.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_reloads_on_sighup_and_keeps_the_old_configuration_where_the_new_one_is_bad() {
    let (program, builder) = Program::start(World::builder().await).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    let load = Load::start(vec![browser.clone(), browser.clone()]);
    let text = std::fs::read_to_string(program.file("gateway.toml")).unwrap();
    std::fs::write(program.file("gateway.toml"), text.replace("store.localhost", "shop localhost")).unwrap();
    program.signal("HUP").await;
    program.logged(&["reload refused", "apps.store.hosts"]).await;
    let reloads = async |taken: u8| {
        let metrics = program.metrics().await;
        for (name, value) in [("last_reload_successful", taken), ("reloads_refused_total", 1)] {
            assert!(metrics.contains(&format!("\nportcullis_config_{name} {value}\n")), "{metrics}");
        }
    };
    reloads(0).await;
    std::fs::write(program.file("gateway.toml"), text.replace("store-secret", "other-secret")).unwrap();
    program.signal("HUP").await;
    program.logged(&["configuration changed", "apps.store.client_secret: (secret) -> (secret)"]).await;
    program.logged(&["configuration reloaded"]).await;
    reloads(1).await;
    browser.try_log_in("ada", "correct horse").await.assert_status(503);
    let (requests, connections) = load.stop().await;
    assert!(requests > 0 && connections == 2, "{requests} {connections}");
    let log = program.end().await;
    assert!(!log.contains("store-secret") && !log.contains("other-secret"));
    drop(builder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_notices_changed_files_itself() {
    let builder = World::builder().await.lay_over("[server]\nwatch_config = true");
    let (program, _builder) = Program::start(builder).await;
    let text = std::fs::read_to_string(program.file("gateway.toml")).unwrap();
    std::fs::write(program.file("secret"), "store-secret\n").unwrap();
    let with_file = text.replace("\"store-secret\"", "{ file = \"secret\" }");
    assert_ne!(text, with_file);
    std::fs::write(program.file("gateway.toml"), with_file.replace("/open/*", "/opened/*")).unwrap();
    program.logged(&["configuration reloaded", "generation=2"]).await;
    Browser::new(program.address, "store.localhost").log_in("ada").await;
    std::fs::write(program.file("secret"), "another\n").unwrap();
    program.logged(&["configuration reloaded", "generation=3"]).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.try_log_in("ada", "correct horse").await.assert_status(503);
    std::fs::write(program.file("gateway.toml"), "[").unwrap();
    program.logged(&["reload refused"]).await;
    browser.get("/").await.assert_status(200);
    std::fs::write(program.file("gateway.toml"), with_file.replace("/open/*", "/opened/*")).unwrap();
    program.logged(&["configuration reloaded", "generation=4"]).await;
}
