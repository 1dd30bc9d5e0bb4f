//! OpenTelemetry traces: calls to the identity provider.

use crate::support::collector::{Collector, Exported};
use crate::support::{Endpoint, Fault, Key, Request, World, wait_for};
use crate::traces::{PROXIES, SPAN, TRACE, traceparent};

/// The provider was told of a call's span, and of nothing else.
fn assert_told(world: &World, endpoint: Endpoint, span: &Exported) {
    let calls = world.provider.calls(endpoint);
    let told: Vec<_> = calls.iter().filter_map(|call| call.head.get("traceparent")).collect();
    assert_eq!(told, [span.traceparent()], "{endpoint:?}");
    let issuer = world.provider.issuer();
    assert_eq!(span.attribute("server.port"), issuer.rsplit(':').next());
    for (name, value) in [("portcullis.identity_provider", "main"), ("server.address", "127.0.0.1")] {
        assert_eq!(span.attribute(name), Some(value));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_the_provider_are_spans_of_their_request_and_the_provider_is_told() {
    let collector = Collector::start().await;
    let world = World::with(&format!("{PROXIES}{}", collector.toml())).await;
    let mut browser = world.browser();
    browser.log_in("ada").await;
    let login = collector.span("POST login").await;
    assert_eq!(
        (login.attribute("http.route"), login.attribute("url.path")),
        (Some("login"), Some("/api/login"))
    );
    let grant = collector.child(&login, "client");
    assert_eq!((grant.name.as_str(), grant.attribute("http.response.status_code")), ("login", Some("200")));
    assert_told(&world, Endpoint::Login, &grant);

    world.expire_access_tokens();
    let request =
        Request::get("/either/x").header("traceparent", &traceparent("01")).header("tracestate", "a=1");
    let answer = browser.send(request).await;
    answer.assert_status(200);
    let server = collector.span("GET /either/*").await;
    let refresh = collector.span("refresh").await;
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, SPAN));
    assert_eq!(refresh.parent, server.id);
    assert_told(&world, Endpoint::Refresh, &refresh);
    assert_eq!(world.provider.calls(Endpoint::Refresh)[0].head.get("tracestate"), Some("a=1"));
    let told = answer.seen_by_app("traceparent").unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && !told.contains(&refresh.id), "{told}");

    browser.send(Request::post("/api/logout")).await.assert_status(204);
    let logout = collector.span("POST logout").await;
    let revocation = collector.child(&logout, "client");
    assert_eq!(revocation.name, "revocation");
    assert_told(&world, Endpoint::Revoke, &revocation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_and_a_provider_that_says_nothing_are_errors_of_the_call() {
    let collector = Collector::start().await;
    let timeout = "[identity_providers.main]\nrequest_timeout = '1s'\n";
    let world = World::with(&format!("{}{timeout}", collector.toml())).await;
    world.browser().try_log_in("ada", "canary-wrong").await.assert_status(401);
    let server = collector.span("POST login").await;
    assert!(!server.is_error, "{server:?}");
    assert_eq!(server.attribute("portcullis.reason"), Some("invalid_credentials"));
    let call = collector.child(&server, "client");
    assert!(call.is_error && call.attribute("error.type") == Some("400"), "{call:?}");
    world.provider.fail_next(Endpoint::Login, Fault::delay(20_000));
    world.browser().try_log_in("ada", "canary-wrong").await.assert_status(503);
    wait_for("both logins", || collector.named("POST login").len() == 2).await;
    let servers = collector.named("POST login");
    assert!(servers[1].is_error && servers[1].attribute("http.response.status_code") == Some("503"));
    let call = collector.child(&servers[1], "client");
    assert!(call.is_error && call.attribute("error.type") == Some("no_answer"), "{call:?}");
    assert!(!collector.text().contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_refresh_say_so_and_one_has_the_call() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(500));
    let get = async || browser.clone().get("/api/cart").await.assert_status(200);
    tokio::join!(get(), get(), get());
    wait_for("the requests", || {
        collector.named("GET").iter().filter(|span| span.kind == "server").count() == 3
    })
    .await;
    let refresh = collector.span("refresh").await;
    wait_for("those who waited", || collector.named("wait for refresh").len() == 2).await;
    let traces = |name: &str| collector.named(name).into_iter().map(|span| span.trace).collect::<Vec<_>>();
    assert!(!traces("wait for refresh").contains(&refresh.trace));
    let servers: Vec<_> = collector.spans().into_iter().filter(|span| span.kind == "server").collect();
    for span in collector.named("wait for refresh").iter().chain([&refresh]) {
        assert!(servers.iter().any(|server| server.id == span.parent), "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_makes_a_span_of_the_fetch() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    let mut browser = world.browser();
    world.provider.set(|settings| settings.published = vec![Key::Rsa, Key::Ec, Key::Ed, Key::NextRsa]);
    world.provider.set(|settings| settings.key = Key::NextRsa);
    browser.log_in("ada").await;
    let fetch = collector.span("jwks").await;
    let login = collector.span("POST login").await;
    assert_eq!((fetch.parent, fetch.trace), (login.id, login.trace));
}
