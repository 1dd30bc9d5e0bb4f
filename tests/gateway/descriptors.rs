//! The gateway takes as many file descriptors as the system gives, and no more connections than these are enough for.
//! It always keeps some for the admin listener.

use std::sync::Arc;

use h2::client::SendRequest;
use rustls::version::TLS13;
use tokio::net::TcpStream;

use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::certificates::{Authority, connect};
use crate::support::client::request_bytes;
use crate::support::gateway::Builder;
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Browser, Reply, World, patiently, wait_for};

async fn start(limits: &str, more: &str) -> (Program, Builder) {
    let builder = World::builder().await.lay_over(more);
    builder.store.on("/open/socket", Reply::after(50, Reply::WebSocket));
    builder.store.on("/open/slow", Reply::after(3_600_000, Reply::Echo));
    Program::start_after(limits, builder).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let (program, _builder) = start("ulimit -S -n 64; ulimit -H -n 4096", "").await;
    assert_eq!(program.metric("process_max_fds").await, 4096);
    // One that has enough says nothing.
    let most = "[server.limits]\nmax_connections = 1000\n";
    let (program, _builder) = start("ulimit -S -n 64; ulimit -H -n 4096", most).await;
    assert_eq!(program.metric("portcullis_max_connections").await, 1000);
    let log = program.end().await;
    assert!(!log.contains("max_connections"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_sockets_take_only_what_there_is_and_probes_are_answered() {
    let (program, builder) = start("ulimit -n 128", "").await;
    let most = program.metric("portcullis_max_connections").await;
    assert!((30..60).contains(&most), "{most}");
    program
        .logged(&[
            "WARN",
            "server.limits.max_connections",
            "20000",
            "128",
            &most.to_string(),
            "ulimit -n",
            "LimitNOFILE",
        ])
        .await;
    let browser = Browser::new(program.address, "store.localhost");
    let mut sockets = Vec::new();
    for _ in 0..most {
        let (_, mut socket) = web_socket(&browser, &upgrade("/open/socket")).await.expect("101");
        hear(&mut socket).await;
        sockets.push(socket);
    }
    // More are closed without an answer; they may come as often as they like.
    for _ in 0..300 {
        let mut wire = Wire::new(TcpStream::connect(program.address).await.unwrap());
        let _gone_already = wire.send(request_bytes(&browser, &upgrade("/open/socket"))).await;
        assert!(!matches!(patiently("the end", wire.head()).await, Ok(Some(_))));
        Browser::new(program.admin, "localhost").get("/livez").await.assert_status(200);
    }
    Browser::new(program.admin, "localhost").get("/readyz").await.assert_status(200);
    for socket in &mut sockets {
        assert_eq!(say(socket, "still there?").await, "still there?");
    }
    assert!(program.metric("process_open_fds").await < 128);
    assert!(program.metric("portcullis_connections_refused_total").await >= 300);
    // One that leaves makes room.
    drop(sockets.pop());
    patiently("a place", async {
        loop {
            let mut wire = Wire::new(TcpStream::connect(program.address).await.unwrap());
            let _gone_already = wire.send(request_bytes(&browser, &upgrade("/open/socket"))).await;
            if matches!(patiently("an answer", wire.head()).await, Ok(Some(head)) if head.status() == 101) {
                return;
            }
        }
    })
    .await;
    drop(builder);
}

type Requests = SendRequest<bytes::Bytes>;

async fn http_2(authority: &Authority, port: &Port) -> Option<Requests> {
    let config = authority.client(&[&TLS13], &[b"h2"]);
    let stream = connect(config, port.address(), "store.localhost").await.ok()?;
    let (requests, connection) = h2::client::handshake(stream).await.ok()?;
    tokio::spawn(connection);
    patiently("a first stream", requests.ready()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_http_2_that_need_an_app_connection_each_leave_some_for_probes() {
    let authority = Authority::for_store();
    let port = Port::reserve();
    let server = authority.server_at(&port, &["store"]);
    let (program, builder) = start("ulimit -n 128", &server).await;
    let mut kept = Vec::new();
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut requests = http_2(&authority, &port).await.expect("a connection");
        for _ in 0..90 {
            let request = http::Request::get("https://store.localhost/open/slow").body(()).unwrap();
            let (response, _) = requests.send_request(request, true).unwrap();
            answers.spawn(async move { response.await.map(|response| response.status().as_u16()) });
        }
        kept.push(requests);
    }
    let without = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    // Those that find no descriptor are told so; the others wait for the app.
    let count = Arc::clone(&without);
    let counting = tokio::spawn(async move {
        while let Some(answer) = answers.join_next().await {
            if matches!(answer, Ok(Ok(502))) {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    wait_for("all of them", || {
        builder.store.heads() + without.load(std::sync::atomic::Ordering::SeqCst) >= 270
    })
    .await;
    assert!(builder.store.heads() >= 40, "{}", builder.store.heads());
    for _ in 0..50 {
        Browser::new(program.admin, "localhost").get("/livez").await.assert_status(200);
    }
    assert!(program.metric("process_open_fds").await < 128);
    counting.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_an_upgrade_count_too() {
    let directory = tempfile::tempdir().unwrap();
    let socket =
        format!("[server]\nupgrade_socket = '{}'\n", directory.path().join("upgrade.sock").display());
    let (mut program, _builder) = start("ulimit -n 128", &socket).await;
    let first = program.metric("portcullis_max_connections").await;
    let path = program.file("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("verified_tokens = 1024", "verified_tokens = 1024\nmax_connections = 5"),
    )
    .unwrap();
    program.signal("HUP").await;
    program.logged(&["configuration reloaded"]).await;
    assert_eq!(program.metric("portcullis_max_connections").await, 5);
    std::fs::write(
        &path,
        text.replace("verified_tokens = 1024", "verified_tokens = 1024\nmax_connections = 7777"),
    )
    .unwrap();
    program.signal("HUP").await;
    program.logged(&["WARN", "server.limits.max_connections", "7777", "128"]).await;
    let reloaded = program.metric("portcullis_max_connections").await;
    assert!(reloaded.abs_diff(first) < 5, "{first} and {reloaded}");
    // The next process has the limit of its own start.
    std::fs::write(
        &path,
        text.replace("verified_tokens = 1024", "verified_tokens = 1024\nmax_connections = 8888"),
    )
    .unwrap();
    assert_eq!(program.upgrade_after("ulimit -n 100").await, Some(0));
    program.logged(&["WARN", "server.limits.max_connections", "8888", "100"]).await;
    let next = program.metric("portcullis_max_connections").await;
    assert!(next < first, "{first} and {next}");
}
