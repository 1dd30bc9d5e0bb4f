//! Handshakes of WebSockets that are none by RFC 6455 are answered here, before the app is asked.

use tokio::process::Command;

use crate::streaming::{upgrade, web_socket};
use crate::support::client::raw;
use crate::support::{Answer, Reply, Request, World};

const GOOD: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const PATHS: [&str; 3] = ["/open/socket", "/api/socket", "/either/socket"];
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Returns the fields of handshakes that RFC 6455 forbids, each with the status of its answer.
fn malformed_handshakes() -> Vec<(u16, String)> {
    let with_version = |version: &str| GOOD.replace("Version: 13", &format!("Version: {version}"));
    let with_key = |key: &str| GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", key);
    vec![
        (426, with_version("8")),
        (426, with_version("7")),
        (426, with_version("14")),
        (426, with_version("0")),
        (426, with_version("13, 8")),
        (426, with_version("013")),
        (426, with_version("+13")),
        (426, with_version("thirteen")),
        (426, with_version("")),
        (426, GOOD.replace(VERSION, "")),
        (426, GOOD.replace(VERSION, "").replace(KEY, "")),
        (400, GOOD.replace(VERSION, &format!("{VERSION}{VERSION}"))),
        (400, GOOD.replace(VERSION, &format!("{VERSION}Sec-WebSocket-Version: 8\r\n"))),
        (400, GOOD.replace(KEY, "")),
        (400, with_key("")),
        (400, with_key("x")),
        (400, with_key("dGhlIHNhbXBsZSBub25jZQ")),
        (400, with_key("dGhlIHNhbXBsZSBub25jZQ=")),
        (400, with_key("dGhlIHNhbXBsZSBub25jZTE=")),
        (400, with_key("dGhlIHNhbXBsZSBub25j")),
        (400, with_key("dGhlIHNhbXBsZSBub25jZ===")),
        (400, with_key("dGhl_HNhbXBsZSBub25jZQ==")),
        (400, with_key("dGhl HNhbXBsZSBub25jZQ==")),
        (400, with_key("dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==")),
        (400, GOOD.replace(KEY, &format!("{KEY}{KEY}"))),
    ]
}

/// Asserts that the answer is 426 with what RFC 6455 wants beside it.
fn assert_upgrade_required(answer: &Answer, fields: &str) {
    answer.assert_problem(426, "upgrade_required");
    assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{fields}");
    assert_eq!(answer.header("upgrade"), Some("websocket"), "{fields}");
    let connection = answer.header("connection").unwrap_or_default().to_lowercase();
    assert!(connection.split(", ").any(|option| option == "upgrade"), "{connection}");
    assert!(answer.keeps_alive, "{connection}");
}

async fn world() -> World {
    let world = World::start().await;
    for path in PATHS {
        world.store.on(path, Reply::WebSocket);
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_is_426_and_a_handshake_without_a_key_is_400() {
    let world = world().await;
    let browser = world.logged_in("ada").await;
    let cookies = browser.cookie_header().unwrap();
    for path in PATHS {
        for (status, fields) in malformed_handshakes() {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: store.localhost\r\nCookie: {cookies}\r\n{fields}\r\n");
            let answer = raw(world.gateway.address, request).await.0.expect("an answer");
            assert_eq!(answer.status(), status, "{path} {fields}: {}", answer.text());
            if status == 426 {
                assert_upgrade_required(&answer, &fields);
            } else {
                answer.assert_problem(400, "bad_request");
            }
        }
    }
    for method in ["POST", "HEAD", "OPTIONS", "PUT"] {
        let request = format!("{method} /open/socket HTTP/1.1\r\nHost: store.localhost\r\n{GOOD}\r\n");
        assert_eq!(raw(world.gateway.address, request).await.0.expect("an answer").status(), 400, "{method}");
    }
    assert_eq!(world.store.heads(), 0, "the app is not asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_sixteen_bytes_is_taken() {
    let world = world().await;
    let browser = world.logged_in("ada").await;
    for key in ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "+/+/+/+/+/+/+/+/+/+/+w=="] {
        let request = upgrade("/open/socket");
        let request = if key == "dGhlIHNhbXBsZSBub25jZQ==" {
            request
        } else {
            Request::get("/open/socket")
                .header("Connection", "Upgrade")
                .header("Upgrade", "WebSocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", key)
        };
        assert!(web_socket(&browser, &request).await.is_ok(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_answers_426_itself_is_passed_on_with_its_upgrade() {
    let world = World::start().await;
    let answer = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket/14\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno";
    world.store.on("/open/socket", Reply::Raw(answer.to_vec()));
    let request = format!("GET /open/socket HTTP/1.1\r\nHost: store.localhost\r\n{GOOD}\r\n");
    let answer = raw(world.gateway.address, request).await.0.expect("an answer");
    assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
    assert_eq!(answer.header("upgrade"), Some("websocket/14"));
    let connection = answer.header("connection").unwrap_or_default().to_lowercase();
    assert!(connection.split(", ").any(|option| option == "upgrade"), "{connection}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_needs_no_key() {
    let world = World::start().await;
    for fields in
        ["Upgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Sec-WebSocket-Version: 8\r\n"]
    {
        let request = format!("GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n{fields}\r\n");
        raw(world.gateway.address, request).await.0.expect("an answer").assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_of_the_headers_of_a_handshake_what_the_gateway_does() {
    let builder = World::builder().await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    std::fs::write(&config, builder.text()).unwrap();
    let world = builder.start().await;
    let session = format!("Cookie: {}\r\n", world.logged_in("ada").await.cookie_header().unwrap());
    let evil = "Origin: https://evil.example\r\n";
    for (path, fields, code) in [
        ("/open/page", GOOD.to_owned(), ""),
        ("/open/page", GOOD.replace("Version: 13", "Version: 8"), "426 upgrade_required"),
        ("/open/page", GOOD.replace("ZQ==", "ZQ"), "400 bad_request"),
        ("/open/page", GOOD.replace("Connection: Upgrade", "connection: keep-alive, UPGRADE") + evil, ""),
        ("/open/page", GOOD.replace("Connection: Upgrade\r\n", "").replace("13", "8"), ""),
        ("/api/socket", GOOD.to_owned(), "401 not_logged_in"),
        ("/api/socket", format!("{GOOD}{evil}{session}"), "403 cross_site_request"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: store.localhost\r\n{fields}\r\n");
        let answer = raw(world.gateway.address, request).await.0.expect("an answer");
        let done = match answer.json()["code"].as_str() {
            Some(said) => format!("{} {said}", answer.status()),
            None => String::new(),
        };
        assert_eq!(done, code, "{path} {fields}");
        let cookies = directory.path().join("cookies");
        std::fs::write(&cookies, fields.lines().find_map(|line| line.strip_prefix("Cookie: ")).unwrap_or(""))
            .unwrap();
        let mut explain = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        explain.args(["explain", "GET", &format!("http://store.localhost{path}"), "--config"]).arg(&config);
        for line in fields.lines().filter(|line| !line.starts_with("Cookie")) {
            explain.args(["--header", line]);
        }
        if fields.contains("Cookie") {
            explain.arg("--cookies").arg(&cookies);
        }
        let output = explain.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = if code.is_empty() { "the app's, which is told nothing of a user" } else { code };
        let said = text.lines().find_map(|line| line.trim().strip_prefix("answer")).unwrap_or_default();
        assert_eq!(said.trim(), expected, "{path} {fields}\n{text}");
    }
}
