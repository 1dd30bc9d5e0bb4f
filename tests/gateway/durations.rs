//! Every configured duration does what `docs/behaviour.md` says, whatever the others are set to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::health_checks::health;
use crate::support::gateway::ACCESS;
use crate::support::http2::{Call, Http2App, read, response};
use crate::support::listening::Listening;
use crate::support::wire::Wire;
use crate::support::{Endpoint, Fault, Request, World, patiently};

const PAGE: &str = include_str!("../../docs/configuration.md");
const BEHAVIOUR: &str = include_str!("../../docs/behaviour.md");

/// Which test says when a duration fires, as `file::test`. One that has neighbours is tested with values above and below theirs.
const TESTED: &[(&str, &[&str])] = &[
    (
        "server.shutdown_delay",
        &["lifecycle::a_stop_is_announced_first_and_the_admin_listener_lives_to_the_end"],
    ),
    (
        "server.shutdown_grace",
        &[
            "lifecycle::a_stop_without_connections_is_immediate_and_one_with_an_endless_request_ends_after_its_grace",
            "lifecycle::sigterm_under_load_fails_no_request_and_ends_the_program_before_its_grace",
        ],
    ),
    ("server.tls.hsts", &["tls::answers_over_tls_say_so_for_the_future"]),
    (
        "server.limits.header_timeout",
        &[
            "durations::a_head_has_its_own_time_and_so_has_the_pause_before_it",
            "tls::a_slow_handshake_is_ended_and_keeps_nobody_waiting",
        ],
    ),
    (
        "server.limits.keep_alive_timeout",
        &[
            "durations::a_head_has_its_own_time_and_so_has_the_pause_before_it",
            "http2::idle_connections_are_closed",
        ],
    ),
    (
        "server.limits.login_body_timeout",
        &[
            "durations::a_login_may_take_as_long_as_is_configured",
            "login::a_body_that_never_comes_is_given_up",
        ],
    ),
    ("session.absolute_lifetime", &["session_protection::sessions_end_after_their_lifetimes"]),
    ("session.idle_lifetime", &["session_protection::sessions_end_after_their_lifetimes"]),
    ("session.revocation_lifetime", &["revocation_lifetime::a_revoked_jwt_is_refused_until_it_expires"]),
    (
        "refresh.ahead",
        &["refresh::a_jwt_about_to_expire_is_refreshed_early_but_a_short_one_not_before_three_quarters"],
    ),
    (
        "refresh.replay_window",
        &[
            "refresh::old_cookies_shortly_after_a_refresh_get_the_same_new_tokens_without_a_call",
            "refresh::old_cookies_after_the_replay_window_end_the_session",
        ],
    ),
    ("identity_providers.*.leeway", &["durations::an_expired_jwt_is_good_for_the_leeway"]),
    (
        "identity_providers.*.connect_timeout",
        &["durations::a_provider_that_cannot_be_connected_to_is_given_up_by_the_shorter_of_two_times"],
    ),
    (
        "identity_providers.*.request_timeout",
        &[
            "durations::a_provider_may_take_as_long_as_is_configured_for_a_refresh",
            "refresh::a_slow_providers_late_answer_is_kept_and_served_next",
        ],
    ),
    (
        "identity_providers.*.jwks_refresh",
        &["jwks::keys_are_fetched_again_in_the_background_and_a_removed_one_counts_no_longer"],
    ),
    (
        "identity_providers.*.jwks_cooldown",
        &[
            "jwks::a_flood_of_unknown_key_ids_makes_one_fetch_per_cooldown",
            "jwks::an_unknown_key_id_from_a_request_triggers_a_fetch_that_makes_the_key_known",
        ],
    ),
    (
        "apps.*.resolve_interval",
        &[
            "moved_upstreams::a_kept_connection_to_an_address_that_the_name_has_lost_is_left_alone",
            "moved_upstreams::the_end_of_a_connection_makes_a_look_up",
        ],
    ),
    ("apps.*.cookies.refresh_token_lifetime", &["cookies::names_lifetime_and_same_site_are_configurable"]),
    (
        "apps.*.timeouts.connect",
        &["durations::an_app_that_cannot_be_connected_to_is_given_up_in_its_own_time"],
    ),
    ("apps.*.timeouts.response", &["durations::a_head_is_waited_for_as_long_as_is_configured"]),
    (
        "apps.*.timeouts.idle",
        &[
            "durations::a_body_is_waited_for_as_long_as_is_configured",
            "durations::a_pause_of_the_client_is_none_of_the_app",
            "slow_readers::a_client_that_reads_nothing_is_not_waited_for",
            "slow_readers::an_app_that_takes_nothing_of_an_upload_is_not_waited_for",
            "streaming::a_web_socket_that_idles_too_long_is_closed",
        ],
    ),
    (
        "apps.*.health_check.interval",
        &[
            "upstreams::with_one_upstream_down_no_request_fails_not_even_a_post",
            "upstreams::health_checks_take_an_upstream_out_and_back_in",
        ],
    ),
    (
        "apps.*.health_check.timeout",
        &[
            "durations::a_health_check_may_take_as_long_as_is_configured",
            "health_checks::an_address_that_does_not_come_to_an_end_is_down_and_holds_up_no_other",
        ],
    ),
];

/// The keys whose type is a duration; the page has all keys that there are.
fn durations() -> BTreeSet<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (key, kind) = (cells.next()?, cells.next()?);
        kind.starts_with("duration").then(|| key.trim_matches('`').to_owned())
    });
    rows.collect()
}

#[test]
fn every_duration_has_a_test() {
    let tested: BTreeSet<String> = TESTED.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(tested, durations());
    for test in TESTED.iter().flat_map(|(_, tests)| *tests) {
        let (file, name) = test.split_once("::").expect("a file and a test");
        let path = format!("{}/tests/gateway/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(&path).expect("a file of tests");
        assert!(source.contains(&format!("async fn {name}()")), "{test}");
    }
}

#[test]
fn the_page_says_what_every_duration_does() {
    let section =
        BEHAVIOUR.split("\n## Time-outs\n").nth(1).expect("the section").split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut told: BTreeSet<String> = cells.map(str::to_owned).collect();
    // It is no duration, but has one.
    assert!(told.remove("limits.body_min_rate"));
    assert_eq!(
        told,
        durations().into_iter().map(|key| key.replacen("server.limits.", "limits.", 1)).collect()
    );
}

/// What an app does with a request whose target is `/open/x?late=MS&pause=MS`: a pause before its head, and one in its body.
#[derive(Clone, Copy, Default)]
struct Paces {
    late: u64,
    pause: u64,
}

impl Paces {
    fn target(self) -> String {
        format!("/open/x?late={}&pause={}", self.late, self.pause)
    }

    fn of(target: &str) -> Self {
        let number = |name: &str| {
            let (_, rest) = target.split_once(name).expect("a pace");
            rest.split('&').next().unwrap().parse().expect("a number")
        };
        Self { late: number("late="), pause: number("pause=") }
    }
}

async fn paced(mut wire: Wire, _: usize) {
    while let Ok(Some(head)) = wire.head().await {
        let paces = Paces::of(head.word(1));
        if wire.body(head.request_framing(), 0).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(paces.late)).await;
        if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await.is_err() {
            return;
        }
        sleep(Duration::from_millis(paces.pause)).await;
        if wire.send("half").await.is_err() {
            return;
        }
    }
}

async fn paced_streams(mut call: Call) {
    let paces = Paces::of(call.head.uri.path_and_query().unwrap().as_str());
    if read(&mut call.body).await.is_err() {
        return;
    }
    sleep(Duration::from_millis(paces.late)).await;
    let Ok(mut stream) = call.respond.send_response(response(200), false) else { return };
    let _ = stream.send_data(Bytes::from_static(b"half"), false);
    sleep(Duration::from_millis(paces.pause)).await;
    let _ = stream.send_data(Bytes::from_static(b"half"), true);
}

/// An app of each protocol, and its URL.
async fn apps() -> ((Listening, Http2App), [String; 2]) {
    let apps = (Listening::start(paced).await, Http2App::start(paced_streams).await);
    let urls = [format!("http://{}", apps.0.address()), apps.1.url()];
    (apps, urls)
}

async fn world(url: &str, timeouts: &str) -> World {
    World::with(&format!("[apps.store]\nupstreams = ['{url}']\n[apps.store.timeouts]\n{timeouts}\n")).await
}

/// All that comes for a request until the end of the connection, and after how long. With a body, the client pauses in the middle
/// of it for `pause`.
async fn ask(address: SocketAddr, paces: Paces, body: Option<Duration>) -> (String, Duration) {
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let target = paces.target();
    let (method, length) = if body.is_some() { ("POST", "Content-Length: 8\r\n") } else { ("GET", "") };
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n{length}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    if let Some(pause) = body {
        stream.write_all(b"half").await.unwrap();
        sleep(pause).await;
        stream.write_all(b"half").await.unwrap();
    }
    let mut answer = Vec::new();
    let _cut_or_whole = patiently("the end", stream.read_to_end(&mut answer)).await;
    (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
}

fn is_whole(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.contains("half") && answer.matches("half").count() == 2
}

const BODIES: [Option<Duration>; 2] = [None, Some(Duration::ZERO)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_waited_for_as_long_as_is_configured() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        // Longer than what may pass in a body, and shorter.
        let (patient, limited, hasty) = tokio::join!(
            world(url, "response = '10m'\nidle = '300ms'"),
            world(url, "response = '3s'\nidle = '300ms'"),
            world(url, "response = '300ms'\nidle = '10m'"),
        );
        for body in BODIES {
            let late = |late| Paces { late, pause: 0 };
            let (waited, ended, at_once) = tokio::join!(
                ask(patient.gateway.address, late(1500), body),
                ask(limited.gateway.address, late(60_000), body),
                ask(hasty.gateway.address, late(60_000), body),
            );
            assert!(is_whole(&waited.0), "{url} {body:?}: {waited:?}");
            assert!(ended.0.starts_with("HTTP/1.1 504 "), "{url} {body:?}: {ended:?}");
            assert!(ended.1 >= Duration::from_secs(3), "{url} {body:?}: {ended:?}");
            assert!(at_once.0.starts_with("HTTP/1.1 504 "), "{url} {body:?}: {at_once:?}");
            assert!(at_once.1 >= Duration::from_millis(300), "{url} {body:?}: {at_once:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_waited_for_as_long_as_is_configured() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        // Shorter than what the head may take, and longer.
        let (patient, limited) = tokio::join!(
            world(url, "response = '300ms'\nidle = '10m'"),
            world(url, "response = '10m'\nidle = '1s'"),
        );
        for body in BODIES {
            let pausing = |pause| Paces { late: 0, pause };
            let (waited, ended) = tokio::join!(
                ask(patient.gateway.address, pausing(1500), body),
                ask(limited.gateway.address, pausing(60_000), body),
            );
            assert!(is_whole(&waited.0), "{url} {body:?}: {waited:?}");
            assert!(ended.0.starts_with("HTTP/1.1 200 ") && !is_whole(&ended.0), "{url} {body:?}: {ended:?}");
            assert!(ended.1 >= Duration::from_secs(1), "{url} {body:?}: {ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_client_is_none_of_the_app() {
    let (_apps, urls) = apps().await;
    for url in &urls {
        let world = world(url, "response = '10m'\nidle = '300ms'").await;
        let pause = Some(Duration::from_millis(1500));
        let answer = ask(world.gateway.address, Paces::default(), pause).await;
        assert!(is_whole(&answer.0), "{url}: {answer:?}");
    }
}

/// A port where a connection never comes about, since those that nobody accepts are already too many.
struct Deaf {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
    address: SocketAddr,
}

impl Deaf {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
            waiting.push(connected.expect("somebody listens"));
            assert!(waiting.len() < 100, "there is always room");
        }
        Self { _listener: listener, _waiting: waiting, address }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_cannot_be_connected_to_is_given_up_in_its_own_time() {
    let deaf = Deaf::start().await;
    // Whoever accepts and says nothing shakes no hands.
    let mute = Listening::start(|wire, _| async move {
        let _held = wire;
        std::future::pending::<()>().await;
    })
    .await;
    for url in [format!("http://{}", deaf.address), format!("https://{}", mute.address())] {
        for (connect, others) in [("300ms", "10m"), ("3s", "100ms")] {
            let timeouts = format!("connect = '{connect}'\nresponse = '{others}'\nidle = '{others}'");
            let world = world(&url, &timeouts).await;
            let started = Instant::now();
            world.browser().get("/open/x").await.assert_problem(504, "upstream_timeout");
            let least = if connect == "3s" { 3000 } else { 300 };
            assert!(started.elapsed() >= Duration::from_millis(least), "{url}: {:?}", started.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_may_take_as_long_as_is_configured() {
    let app = Listening::start(|mut wire, _| async move {
        while let Ok(Some(head)) = wire.head().await {
            let is_check = head.word(1) == "/healthy";
            if is_check {
                sleep(Duration::from_millis(1200)).await;
            }
            if wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    })
    .await;
    let other = Listening::start(paced).await;
    for (limit, is_healthy) in [("20s", true), ("300ms", false)] {
        let toml = format!(
            "[apps.store]\nupstreams = ['http://{}', 'http://{}']\n[apps.store.health_check]\npath = '/healthy'\ninterval = '50ms'\n\
             timeout = '{limit}'\n[apps.store.timeouts]\nconnect = '300ms'\nresponse = '300ms'\nidle = '300ms'",
            app.address(),
            other.address()
        );
        let accepted = app.accepted();
        let world = World::with(&toml).await;
        patiently("several checks", async {
            while app.accepted() < accepted + 4 {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let health = health(&world, app.address()).await;
        assert_eq!(health, Some(is_healthy), "{limit}");
    }
}

const REQUEST: &[u8] = b"GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n";
const PAUSE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_has_its_own_time_and_so_has_the_pause_before_it() {
    let with = async |limits| World::with(&format!("[server.limits]\n{limits}")).await;
    let (strict, keeping) = tokio::join!(
        with("header_timeout = '1s'\nkeep_alive_timeout = '10m'"),
        with("header_timeout = '10m'\nkeep_alive_timeout = '1s'"),
    );
    let second = Duration::from_secs(1);
    let end = async |mut wire: Wire| {
        patiently("the end", async { while wire.fill().await.unwrap_or(false) {} }).await;
    };

    // A fresh connection, and half a head.
    for first in ["", "GET /open/x HTTP/1.1\r\nHost: sto"] {
        let started = Instant::now();
        let mut wire = strict.browser().open().await;
        wire.send(first).await.unwrap();
        end(wire).await;
        assert!(started.elapsed() >= second, "{first:?}: {:?}", started.elapsed());

        let mut wire = keeping.browser().open().await;
        wire.send(first).await.unwrap();
        sleep(PAUSE).await;
        wire.send(&REQUEST[first.len()..]).await.unwrap();
        assert_eq!(patiently("an answer", wire.head()).await.unwrap().expect("an answer").status(), 200);
    }
    // Between two requests.
    let mut wire = strict.browser().open().await;
    for _ in 0..2 {
        wire.send(REQUEST).await.unwrap();
        let head = patiently("an answer", wire.head()).await.unwrap().expect("an answer");
        assert_eq!(head.status(), 200);
        wire.body(head.response_framing("GET"), 0).await.unwrap();
        sleep(PAUSE).await;
    }
    let mut wire = keeping.browser().open().await;
    wire.send(REQUEST).await.unwrap();
    let head = patiently("an answer", wire.head()).await.unwrap().expect("an answer");
    let started = Instant::now();
    wire.body(head.response_framing("GET"), 0).await.unwrap();
    end(wire).await;
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
}

/// The rate of a body is looked at every 10 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_may_take_as_long_as_is_configured() {
    let world = World::with("[server.limits]\nlogin_body_timeout = '10m'\nbody_min_rate = '64KiB'").await;
    let body = json!({"username": "ada", "password": crate::support::provider::PASSWORD}).to_string();
    let mut wire = world.browser().open().await;
    let head = format!(
        "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nOrigin: http://store.localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire.send(head).await.unwrap();
    let (first, last) = body.split_at(10);
    wire.send(first).await.unwrap();
    sleep(Duration::from_millis(11_500)).await;
    wire.send(last).await.unwrap();
    let head = patiently("an answer", wire.head()).await.unwrap().expect("an answer");
    assert_eq!(head.status(), 200);
}

/// A call goes on for 20 s at least.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_may_take_as_long_as_is_configured_for_a_refresh() {
    let world = World::with("[identity_providers.main]\nrequest_timeout = '1m'").await;
    let browser = world.logged_in("ada").await;
    world.expire_access_tokens();
    world.provider.fail_next(Endpoint::Refresh, Fault::delay(21_500));
    let mut wire = browser.clone().open().await;
    wire.send(crate::support::client::request_bytes(&browser, &Request::get("/api/x"))).await.unwrap();
    let head =
        timeout(Duration::from_secs(60), wire.head()).await.expect("an answer").unwrap().expect("a head");
    assert_eq!(head.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_connected_to_is_given_up_by_the_shorter_of_two_times() {
    let deaf = Deaf::start().await;
    for (connect, request, least) in [("300ms", "1m", 300), ("1m", "1s", 1000)] {
        let toml = format!(
            "[identity_providers.main]\ntoken_endpoint = 'http://{}/token'\nconnect_timeout = '{connect}'\nrequest_timeout = '{request}'",
            deaf.address
        );
        let world = World::with(&toml).await;
        let started = Instant::now();
        let answer = world.browser().try_log_in("ada", crate::support::provider::PASSWORD).await;
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(started.elapsed() >= Duration::from_millis(least), "{connect}: {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_jwt_is_good_for_the_leeway() {
    for (leeway, is_good) in [("5m", true), ("0s", false)] {
        let world = World::with(&format!("[identity_providers.main]\nleeway = '{leeway}'")).await;
        let now = world.provider_now();
        let token = world.provider.mint("ada", "store", &json!({"exp": now - 100}));
        let mut browser = world.browser();
        browser.jar.insert(ACCESS.to_owned(), token);
        let status = browser.get("/api/x").await.status();
        assert_eq!(status, if is_good { 200 } else { 401 }, "{leeway}");
    }
}
