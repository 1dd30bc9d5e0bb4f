//! The operator's view: request ids, log lines with their reasons, metrics.

use serde_json::{Value, json};

use crate::support::client::raw;
use crate::support::collector::{Collector, Exported};
use crate::support::gateway::ACCESS;
use crate::support::program::Program;
use crate::support::{Browser, Request, World, wait_for};

const ID: &str = "x-request-id";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_goes_to_the_app_and_back_and_no_stranger_chooses_it() {
    let world = World::start().await;
    let mut browser = world.browser();
    let request = Request::get("/").header("X-Request-Id", "mine").header("x_request_id", "mine");
    let answer = browser.send(request).await;
    let id = answer.header(ID).expect("an id").to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(answer.seen_by_app("x-request-id").as_deref(), Some(id.as_str()));
    assert_eq!(answer.seen_by_app("x_request_id"), None);
    for path in ["/api/cart", "/open/%00"] {
        let refused = browser.get(path).await;
        let told = refused.header(ID).expect("an id").to_owned();
        assert_ne!(told, id);
    }
    let malformed = raw(world.gateway.address, "GET / HTTP/1.1\r\n\r\n").await.0.unwrap();
    assert!(malformed.header(ID).is_some_and(|id| !id.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_s_id_is_kept() {
    let world = World::with("[server]\ntrusted_proxies = ['127.0.0.0/8']").await;
    let answer = world.browser().send(Request::get("/").header("X-Request-Id", "from-the-edge.1")).await;
    assert_eq!(answer.header(ID), Some("from-the-edge.1"));
    assert_eq!(answer.seen_by_app("x-request-id").as_deref(), Some("from-the-edge.1"));
    let answer = world.browser().send(Request::get("/").header("X-Request-Id", "a b")).await;
    assert_ne!(answer.header(ID), Some("a b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_as_max_connections_counts_them() {
    let (program, _builder) = Program::start_quietly(World::builder().await).await;
    let mut open: Vec<_> = (0..3).map(|_| Browser::new(program.address, "store.localhost")).collect();
    for browser in &mut open {
        browser.get("/").await.assert_status(200);
    }
    let mut admins = [0, 1].map(|_| Browser::new(program.admin, "localhost"));
    for admin in &mut admins {
        let metrics = admin.get("/metrics").await.text();
        assert!(metrics.contains("\nportcullis_open_connections 3\n"), "{metrics}");
    }
}

fn lines<'a>(log: &'a str, target: &str) -> Vec<Value> {
    let parsed = |line: &'a str| serde_json::from_str::<Value>(line).ok();
    log.lines().filter_map(parsed).filter(|line| line["target"] == target).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_and_every_session_event_has_its_line() {
    let collector = Collector::start().await;
    let builder = World::builder().await.lay_over("[server.log]\nformat = 'json'\nlevel = 'error'");
    let builder = builder.lay_over(&collector.toml());
    let (program, builder) = Program::start_quietly(builder).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.get("/").await.assert_status(200);
    let refused = browser.get("/api/cart?secret=x").await;
    browser.try_log_in("ada", "wrong").await.assert_problem(401, "invalid_credentials");
    browser.log_in("ada").await;
    let forbidden = browser.get("/api/admin/x").await;
    let mut other = browser.clone();
    other.jar.insert(ACCESS.into(), "junk".into());
    other.get("/api/cart").await.assert_status(200);
    browser.keep_cookies(&other.get("/").await);
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    let metrics = program.metrics().await;
    wait_for("the last span", || !collector.named("POST logout").is_empty()).await;
    let log = program.end().await;
    drop(builder);

    let access = lines(&log, "access");
    let of = |id: Option<&str>| access.iter().find(|line| line["request_id"].as_str() == id).unwrap().clone();
    let line = of(refused.header(ID));
    for (field, value) in [
        ("app", json!("store")),
        ("route", json!("-")),
        ("method", json!("GET")),
        ("path", json!("/api/cart")),
        ("status", json!(401)),
        ("reason", json!("no_session")),
        ("client", json!("127.0.0.1")),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(line["duration_ms"].as_f64().is_some_and(|time| time > 0.0), "{line}");
    let line = of(forbidden.header(ID));
    assert_eq!((&line["reason"], &line["route"]), (&json!("role_missing"), &json!("/api/admin/*")));
    assert_eq!(access.len(), 3, "what passes has no line: {access:?}");

    let audit = lines(&log, "audit");
    let events: Vec<_> = audit.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["login_refused", "login", "refresh", "logout"], "{audit:?}");
    assert_eq!(audit[0]["reason"], "invalid_credentials");
    for line in &audit {
        assert!(line["request_id"].is_string() && line["client"] == "127.0.0.1", "{line}");
        assert_eq!((&line["app"], &line["client_id"]), (&json!("store"), &json!("store")));
    }
    for line in access.iter().chain(&audit) {
        let trace = |span: Exported| span.attribute("portcullis.request_id") == line["request_id"].as_str();
        let span = collector.spans().into_iter().find(|span| trace(span.clone())).unwrap();
        assert_eq!(line["trace_id"], json!(span.trace), "{line}");
    }
    assert!(audit[1]["sub"].is_string() && audit[1]["sub"] == audit[2]["sub"]);

    for series in [
        r#"portcullis_requests_total{app="store",route="/",status="2xx"} "#,
        r#"portcullis_decisions_total{app="store",reason="no_session"} 1"#,
        r#"portcullis_logins_total{app="store",outcome="success"} 1"#,
        r#"portcullis_logins_total{app="store",outcome="invalid_credentials"} 1"#,
        r#"portcullis_refreshes_total{app="store",outcome="success"} 1"#,
        r#"portcullis_sessions_ended_total{app="store",reason="logout"} 1"#,
        r#"portcullis_identity_provider_ready{name="main"} 1"#,
        r#"portcullis_identity_provider_request_duration_seconds_count{endpoint="login",identity_provider="main"} 2"#,
        "portcullis_config_generation 1",
        "portcullis_open_connections ",
    ] {
        assert!(metrics.lines().any(|line| line.starts_with(series)), "{series}: {metrics}");
    }
}
