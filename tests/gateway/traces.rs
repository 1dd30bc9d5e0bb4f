//! OpenTelemetry traces: the spans, their parents, the systems that are told, and the facts that no span has.

use crate::streaming::{hear, upgrade, web_socket};
use crate::support::certificates::{Authority, terminator};
use crate::support::collector::{Collector, Exported};
use crate::support::{Reply, Request, World, patiently, wait_for};

pub(crate) const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const SPAN: &str = "b7ad6b7169203331";
pub(crate) const PROXIES: &str = "[server]\ntrusted_proxies = ['127.0.0.0/8']\n";

pub(crate) fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

fn assert_attributes(span: &Exported, expected: &[(&str, &str)]) {
    let found: Vec<_> = span.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, expected, "{}", span.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_a_span_and_its_exchange_another_which_the_app_is_told_of() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    let request = Request::get("/open/a?q=canary-query")
        .header("traceparent", &traceparent("01"))
        .header("tracestate", "stranger=1");
    let answer = world.browser().send(request).await;
    let server = collector.span("GET /open/*").await;
    assert_eq!((server.kind, server.parent.as_str(), server.is_error), ("server", "", false));
    assert_eq!(server.service, "portcullis");
    assert_ne!(server.trace, TRACE, "a stranger's trace is not continued");
    let id = answer.header("x-request-id").unwrap();
    assert_attributes(
        &server,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/open/*"),
            ("network.protocol.version", "1.1"),
            ("portcullis.app", "store"),
            ("portcullis.reason", "public"),
            ("portcullis.request_id", id),
            ("server.address", "store.localhost"),
            ("url.path", "/open/a"),
            ("url.scheme", "http"),
        ],
    );
    let client = collector.child(&server, "client");
    let port = world.store.listening().address().port().to_string();
    assert_attributes(
        &client,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("portcullis.app", "store"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
        ],
    );
    assert_eq!((client.name.as_str(), client.is_error), ("GET", false));
    assert_eq!(answer.seen_by_app("traceparent"), Some(client.traceparent()));
    assert_eq!(answer.seen_by_app("tracestate"), None, "it belongs to the other trace");
    let head = &collector.heads()[0];
    assert_eq!(head.first_line, "POST /v1/traces HTTP/1.1");
    assert_eq!(head.get("content-type"), Some("application/x-protobuf"));
    assert!(!collector.text().contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_up_the_app_s_name_is_part_of_the_exchange() {
    let collector = Collector::start().await;
    let builder = World::builder().await;
    let address = builder.store.listening().address();
    let toml = format!(
        "{}[apps.store]\nupstreams = ['http://shop.test:{}']\nresolve_interval = '1h'",
        collector.toml(),
        address.port()
    );
    builder.names.point("shop.test", &[address.ip()]);
    let world = builder.lay_over(&toml).start().await;
    world.names.grow_old("shop.test").await;
    world.browser().get("/open/a").await.assert_status(200);
    let server = collector.span("GET /open/*").await;
    let client = collector.child(&server, "client");
    assert_eq!((client.name.as_str(), client.is_error), ("GET", false));
    assert_eq!(world.names.asked("shop.test").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_s_trace_goes_on_as_it_decided() {
    let collector = Collector::start().await;
    let world = World::with(&format!("{PROXIES}{}sample_ratio = 0.0", collector.toml())).await;
    let send = async |path: &str, parents: &[&str], state: &str| {
        let mut request = Request::get(path).header("tracestate", state);
        for parent in parents {
            request = request.header("traceparent", parent);
        }
        let answer = world.browser().send(request).await;
        (answer.seen_by_app("traceparent").unwrap(), answer.seen_by_app("tracestate"))
    };
    let (unsampled, state) = send("/open/not", &[&traceparent("00")], "a=1").await;
    assert!(unsampled.starts_with(&format!("00-{TRACE}-")) && unsampled.ends_with("-00"), "{unsampled}");
    assert!(!unsampled.contains(SPAN), "the app's parent is the gateway: {unsampled}");
    assert_eq!(state.as_deref(), Some("a=1"));
    for parents in [&[][..], &["00-nonsense"], &[&traceparent("01"), &traceparent("01")]] {
        let (another, state) = send("/open/another", parents, "a=1").await;
        assert!(!another.contains(TRACE) && another.ends_with("-00"), "sample_ratio is 0: {another}");
        assert_eq!(state, None);
    }
    let (sampled, state) = send("/open/yes", &[&traceparent("01")], "a=1,b=2").await;
    let server = collector.span("GET /open/*").await;
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, SPAN));
    assert_eq!(server.attribute("url.path"), Some("/open/yes"));
    assert_eq!(sampled, collector.child(&server, "client").traceparent());
    assert_eq!(state.as_deref(), Some("a=1,b=2"));
    assert_eq!(collector.spans().len(), 2, "what is not sampled is not exported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_what_clients_say_goes_on_to_the_app() {
    let world = World::start().await;
    let request = Request::get("/").header("traceparent", &traceparent("01")).header("tracestate", "a=1");
    let answer = world.browser().send(request).await;
    assert_eq!(answer.seen_by_app("traceparent"), Some(traceparent("01")));
    assert_eq!(answer.seen_by_app("tracestate").as_deref(), Some("a=1"));
    assert_eq!(world.browser().get("/").await.seen_by_app("traceparent"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_errors_and_refusals_are_not() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    world.browser().get("/api/cart").await.assert_status(401);
    let refused = collector.span("GET").await;
    assert_eq!(refused.attribute("portcullis.reason"), Some("no_session"));
    assert!(!refused.is_error, "a client's error is none of the server's: {refused:?}");
    world.store.listening().down();
    world.browser().get("/open/x").await.assert_status(502);
    let failed = collector.span("GET /open/*").await;
    assert!(failed.is_error);
    assert_eq!(failed.attribute("error.type"), Some("upstream_unavailable"));
    assert_eq!(failed.attribute("http.response.status_code"), Some("502"));
    let exchange = collector.child(&failed, "client");
    assert!(exchange.is_error && exchange.attribute("error.type").is_some(), "{exchange:?}");
    let request = Request::new("BREW", "/api/cart").header("Host", "nobody.localhost");
    world.browser().send(request).await.assert_status(404);
    let unknown = collector.span("HTTP").await;
    assert_eq!(unknown.attribute("http.request.method"), Some("_OTHER"));
    assert_eq!(unknown.attribute("server.address"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_sends_what_is_left() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    for _ in 0..20 {
        world.browser().get("/open/x").await.assert_status(200);
    }
    world.gateway.stop().await;
    assert_eq!(collector.named("GET /open/*").len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_or_refuses_costs_spans_only() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    let lost = async |at_least: u64| {
        let metrics = world.gateway.metrics().await;
        let line =
            metrics.lines().find(|line| line.starts_with("portcullis_spans_total{outcome=\"failed\"}"));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
        count >= at_least
    };
    collector.refuse(503);
    world.browser().get("/open/x").await.assert_status(200);
    wait_for("a batch", || !collector.heads().is_empty()).await;
    patiently("lost spans", async { while !lost(2).await {} }).await;
    collector.listening().down();
    world.browser().get("/open/x").await.assert_status(200);
    patiently("lost spans", async { while !lost(4).await {} }).await;
    world.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_s_span_is_its_whole_life() {
    let collector = Collector::start().await;
    let world = World::with(&collector.toml()).await;
    world.store.on("/open/live", Reply::WebSocket);
    let (_, mut socket) = web_socket(&world.browser(), &upgrade("/open/live")).await.expect("101");
    hear(&mut socket).await;
    assert!(collector.named("GET /open/*").is_empty());
    socket.close(None).await.unwrap();
    let server = collector.span("GET /open/*").await;
    assert_eq!(server.attribute("http.response.status_code"), Some("101"));
    let exchange = collector.child(&server, "client");
    assert!(!server.is_error && !exchange.is_error, "{server:?} {exchange:?}");
    let told = world.store.last("/open/live").head.get("traceparent").map(str::to_owned);
    assert_eq!(told, Some(exchange.traceparent()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_turns_traces_on_elsewhere_and_off() {
    let (first, second) = (Collector::start().await, Collector::start().await);
    let world = World::start().await;
    world.reload(&first.toml()).await;
    world.browser().get("/open/x").await.assert_status(200);
    world.reload(&second.toml()).await;
    first.span("GET /open/*").await;
    world.browser().get("/open/x").await.assert_status(200);
    second.span("GET /open/*").await;
    world.reload("").await;
    let answer = world.browser().send(Request::get("/open/x").header("traceparent", "as it was")).await;
    assert_eq!(answer.seen_by_app("traceparent").as_deref(), Some("as it was"));
    world.gateway.stop().await;
    assert_eq!((first.spans().len(), second.spans().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_behind_tls_is_one_that_its_authority_certifies() {
    let authority = Authority::new();
    authority.certify("collector", &["127.0.0.1"]);
    for (ca, is_trusted) in [(authority.ca(), true), (Authority::new().ca(), false)] {
        let collector = Collector::start().await;
        let address = terminator(&authority, "collector", collector.listening().address()).await;
        let toml = format!("[server.tracing]\notlp_endpoint = 'https://{address}'\nca = '{ca}'\n");
        let world = World::with(&toml).await;
        world.browser().get("/open/x").await.assert_status(200);
        world.gateway.stop().await;
        assert_eq!(!collector.spans().is_empty(), is_trusted);
    }
}
