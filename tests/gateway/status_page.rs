//! The status page: what it tells people, and what it must not.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::program::Program;
use crate::support::{App, Browser, Request, World, patiently};

/// Waits until `/status.json` is as it should be.
async fn status(admin: SocketAddr, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    patiently(what, async {
        loop {
            let status = Browser::new(admin, "localhost").get("/status.json").await.json();
            if is_so(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

fn store(status: &Value) -> &Value {
    let apps = status["apps"].as_array().expect("apps");
    apps.iter().find(|app| app["name"] == "store").expect("the store")
}

/// Returns the notices that somebody should look at.
fn findings(status: &Value) -> String {
    let of = |finding: &Value| format!("{}: {}", finding["about"], finding["text"]);
    status["findings"].as_array().expect("findings").iter().map(of).collect::<Vec<_>>().join("\n")
}

/// In a process of its own, whose counters no other test moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_of_the_traffic_and_of_nobody() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.get("/api/cart").await.assert_status(401);
    browser.try_log_in("ada", "wrong").await.assert_status(401);
    let subject = browser.log_in("ada").await.json()["sub"].as_str().expect("a subject").to_owned();
    browser.get("/api/cart").await.assert_status(200);
    builder.store.listening().down();
    browser.get("/api/cart").await.assert_status(502);

    // A request is counted when it is over, and that is after its client has the answer.
    let is_counted = |status: &Value| store(status)["requests"]["count"] == 5.0;
    let status = status(program.admin, "five requests", is_counted).await;
    let page = Browser::new(program.admin, "localhost").get("/").await.text();
    let store = store(&status);
    assert_eq!(store["hosts"], serde_json::json!(["store.localhost"]));
    for (field, value) in [("refused", 2.0), ("server_errors", 1.0), ("upstream_errors", 1.0)] {
        assert_eq!(store[field], value, "{field}: {status}");
    }
    assert_eq!(store["upstreams"][0]["health"], "not_checked", "{status}");
    assert!(
        findings(&status).contains("app store\": \"Requests that it failed in the last minute: 1."),
        "{status}"
    );
    for text in [
        "Ready",
        "store.localhost",
        &builder.store.listening().address().to_string(),
        &builder.provider.issuer(),
        "login: <code>success</code>",
        "<code>invalid_credentials</code>",
        "<code>no_session</code>",
        "<code>upstream_unavailable</code>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let mut secrets: Vec<_> = browser.jar.values().cloned().collect();
    secrets.extend([subject, "ada".into(), "store-secret".into(), "correct horse".into()]);
    for secret in secrets {
        assert!(!page.contains(&secret) && !status.to_string().contains(&secret), "{secret}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_do_nothing_but_be_read() {
    let world = World::start().await;
    let page = world.gateway.admin_get("/").await;
    page.assert_status(200);
    let policy = page.header("content-security-policy").expect("a policy");
    for rule in ["default-src 'none'", "style-src 'sha256-", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    assert!(page.text().contains("http-equiv=\"refresh\""));
    assert!(!world.gateway.admin_get("/?refresh=off").await.text().contains("http-equiv"));
    let mut admin = Browser::new(world.gateway.admin, "localhost");
    let head = admin.send(Request::new("HEAD", "/")).await;
    head.assert_status(200);
    assert!(head.text().is_empty() && head.header("content-length").is_some_and(|length| length != "0"));
    for path in ["/", "/status.json"] {
        admin.send(Request::post(path)).await.assert_status(405);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_down_is_shown() {
    let builder = World::builder().await;
    let second = App::start("second").await;
    let toml = format!(
        "[apps.store]\nupstreams = [\"{}\", \"{}\"]\n[apps.store.health_check]\ninterval = \"1s\"",
        builder.store.url(),
        second.url()
    );
    let world = builder.lay_over(&toml).start().await;
    let is_up = |status: &Value, health: &str| {
        let upstreams = store(status)["upstreams"].as_array().expect("upstreams");
        upstreams.len() == 2 && upstreams.iter().any(|one| one["health"] == health)
    };
    let well = status(world.gateway.admin, "two upstreams", |status| is_up(status, "up")).await;
    assert!(!findings(&well).contains("upstreams are down"), "{well}");
    second.listening().down();
    let ill = status(world.gateway.admin, "one of them down", |status| is_up(status, "down")).await;
    let text = format!("1 of 2 upstreams are down: {}.", second.listening().address());
    assert!(findings(&ill).contains(&text), "{ill}");
    let page = world.gateway.admin_get("/").await.text();
    assert!(page.contains(&text) && page.contains("down</span>") && page.contains("up</span>"), "{page}");
    world.store.listening().down();
    status(world.gateway.admin, "both down", |status| findings(status).contains("Every upstream is down"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_shown() {
    let builder = World::builder().await;
    builder.provider.listening().down();
    let world = builder.start_unready().await;
    let before =
        status(world.gateway.admin, "a reason", |status| findings(status).contains("discovery at")).await;
    assert_eq!(before["identity_providers"][0]["is_ready"], false);
    assert_eq!(before["not_ready"][0]["identity_provider"], "main");
    let page = world.gateway.admin_get("/").await.text();
    assert!(
        page.contains("<title>Not ready: Portcullis</title>") && page.contains("never fetched"),
        "{page}"
    );

    world.provider.listening().up().await;
    world.gateway.ready().await;
    let ready = world.gateway.admin_get("/status.json").await.json();
    let provider = &ready["identity_providers"][0];
    assert!(provider["keys"].as_u64() > Some(0) && provider["jwks_age_seconds"].is_u64(), "{ready}");
    assert_eq!(provider["last_error"], Value::Null);

    world.provider.listening().down();
    world.browser().try_log_in("ada", "correct horse").await.assert_status(503);
    let after = world.gateway.admin_get("/status.json").await.json();
    assert_eq!(after["identity_providers"][0]["is_ready"], true, "its keys are known");
    assert!(findings(&after).contains("calls failed in the last minute"), "{after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_was_refused_is_shown_as_text() {
    let world = World::start().await;
    let bad = portcullis::config::parse("[apps.\"<script>alert(1)</script>\"]\n[\"<img src=x>\"]\na = 1");
    world.gateway.reloader.refuse_file(&bad.expect_err("no configuration"));
    let page = world.gateway.admin_get("/").await.text();
    assert!(page.contains("The last reload was refused, so configuration 1 of"), "{page}");
    let has_name = |text: &str| text.contains("script") || text.contains("img");
    assert!(has_name(&page) && !page.contains("<script") && !page.contains("<img"), "{page}");
    world.reload("[refresh]\nahead = '20s'").await;
    let page = world.gateway.admin_get("/").await.text();
    assert!(!page.contains("was refused, so") && page.contains("Configuration 2"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_addresses_are_shown() {
    let authority = Authority::new();
    authority.certify("store", &["store.localhost", "*.store.localhost"]);
    let world = World::with(&authority.server(&["store"])).await;
    let status = world.gateway.admin_get("/status.json").await.json();
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["names"], serde_json::json!(["store.localhost", "*.store.localhost"]));
    assert!(certificate["seconds_left"].as_i64() > Some(0), "{status}");
    let page = world.gateway.admin_get("/").await.text();
    let tls = world.gateway.tls.expect("a TLS listener");
    for address in [world.gateway.address, world.gateway.admin, tls] {
        assert!(page.contains(&address.to_string()), "{address}: {page}");
    }
}
