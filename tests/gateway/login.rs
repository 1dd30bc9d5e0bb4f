//! The request of a login: of a known media type, small, unambiguous, from the app's own pages.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{raw, receive};
use crate::support::{Endpoint, Request, World, patiently};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_exactly_one_user_name_and_one_password_are_400() {
    let world = World::start().await;
    let deep =
        format!(r#"{{"username":"ada","password":"x","extra":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let bad: Vec<(&str, Vec<u8>)> = vec![
        (JSON, b"".to_vec()),
        (JSON, b"{".to_vec()),
        (JSON, b"null".to_vec()),
        (JSON, br#"["ada","x"]"#.to_vec()),
        (JSON, br#"{"username":"ada"}"#.to_vec()),
        (JSON, br#"{"password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"","password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"ada","password":""}"#.to_vec()),
        (JSON, br#"{"username":null,"password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"ada","password":1234}"#.to_vec()),
        (JSON, br#"{"username":["ada"],"password":"x"}"#.to_vec()),
        (JSON, br#"{"username":{"$ne":""},"password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"ada","password":"x","password":"y"}"#.to_vec()),
        (JSON, br#"{"username":"ada","user\u006eame":"eve","password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"a\u0000da","password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"ada","password":"x\u0000"}"#.to_vec()),
        (JSON, br#"{"username":"ada\ud800","password":"x"}"#.to_vec()),
        (JSON, br#"{"username":"ada","password":"\udc00x"}"#.to_vec()),
        (JSON, b"{\"username\":\"ad\xff\",\"password\":\"x\"}".to_vec()),
        (JSON, b"{\"username\":\"ada\",\"password\":\"x\"} trailing".to_vec()),
        (JSON, deep.into_bytes()),
        (FORM, b"".to_vec()),
        (FORM, b"username=ada".to_vec()),
        (FORM, b"username=&password=x".to_vec()),
        (FORM, b"username=ada&username=eve&password=x".to_vec()),
        (FORM, b"username=ada&user%6eame=eve&password=x".to_vec()),
        (FORM, b"username=ada&password=x%00".to_vec()),
        (FORM, b"username=ada%ff&password=x".to_vec()),
        (FORM, b"username=ada&password=%zz".to_vec()),
    ];
    let mut browser = world.browser();
    for (content_type, body) in bad {
        let answer = browser.send(Request::post("/api/login").body(content_type, &body)).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(answer.status(), 400, "{text}: {}", answer.text());
        answer.assert_problem(400, "bad_request");
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(browser.connections, 1, "the connection stays usable");
    assert_eq!(world.provider.count(Endpoint::Login), 0);
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_but_right_bodies_are_accepted() {
    let world = World::start().await;
    let bodies = [
        ("application/json; charset=utf-8", r#"{"username":"ada","password":"correct horse"}"#),
        (
            "application/json;charset=UTF-8",
            r#" {"password":"correct\u0020horse", "username":"ada", "x":{"username":1}} "#,
        ),
        ("Application/JSON", "\r\n{\"username\":\"ada\",\"password\":\"correct horse\"}\n"),
        ("application/x-www-form-urlencoded;charset=UTF-8", "username=ada&password=correct%20horse&csrf=&b"),
        ("APPLICATION/X-WWW-FORM-URLENCODED", "password=correct+horse&username=%61da"),
    ];
    for (content_type, body) in bodies {
        let answer = world.browser().send(Request::post("/api/login").body(content_type, body)).await;
        assert_eq!(answer.status(), 200, "{content_type}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_name_and_password_reach_the_provider_as_typed() {
    let world = World::start().await;
    let (name, password) = ("Zo\u{eb}+&=%41 \u{1f600}", "p&q=r+s %zz\u{e9}\"\\");
    world
        .browser()
        .send(Request::post("/api/login").json(&json!({"username": name, "password": password})))
        .await;
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("username", name)
        .append_pair("password", password)
        .finish();
    world.browser().send(Request::post("/api/login").form(&form)).await;
    let calls = world.provider.calls(Endpoint::Login);
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.field("username"), Some(name));
        assert_eq!(call.field("password"), Some(password));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_names_are_configurable() {
    let world = World::with("[apps.store.login]\nusername_field = \"mail\"\npassword_field = \"pass\"").await;
    let mut browser = world.browser();
    let wrong = Request::post("/api/login").json(&json!({"username": "ada", "password": "correct horse"}));
    browser.send(wrong).await.assert_problem(400, "bad_request");
    browser.send(Request::post("/api/login").form("mail=ada&pass=correct+horse")).await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_media_types_and_compressed_bodies_are_415() {
    let world = World::start().await;
    let body = r#"{"username":"ada","password":"correct horse"}"#;
    let mut browser = world.browser();
    for content_type in [
        "text/plain",
        "multipart/mixed; boundary=x",
        "application/jsonx",
        "application/problem+json",
        "json",
        "",
    ] {
        let answer = browser.send(Request::post("/api/login").body(content_type, body)).await;
        assert_eq!(answer.status(), 415, "{content_type}: {}", answer.text());
        answer.assert_problem(415, "unsupported_media_type");
    }
    for coding in ["gzip", "br", "identity, gzip"] {
        let request = Request::post("/api/login").body(JSON, body).header("Content-Encoding", coding);
        browser.send(request).await.assert_problem(415, "unsupported_media_type");
    }
    assert_eq!(world.provider.count(Endpoint::Login), 0);
    browser.log_in("ada").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_16_kib_are_413_however_they_are_sent() {
    let world = World::start().await;
    let body = |size: usize| {
        let text = r#"{"username":"ada","password":"correct horse","pad":""}"#;
        text.replace(r#""pad":""#, &format!(r#""pad":"{}"#, "p".repeat(size - text.len())))
    };
    let mut browser = world.browser();
    assert_eq!(body(16 * 1024).len(), 16 * 1024);
    browser.send(Request::post("/api/login").body(JSON, body(16 * 1024))).await.assert_status(200);
    let answer = browser.send(Request::post("/api/login").body(JSON, body(16 * 1024 + 1))).await;
    answer.assert_problem(413, "body_too_large");
    let chunked = format!(
        "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n5000\r\n{}\r\n0\r\n\r\n",
        body(0x5000)
    );
    let (answer, _) = raw(world.gateway.address, chunked).await;
    answer.expect("an answer").assert_problem(413, "body_too_large");
    assert_eq!(world.provider.count(Endpoint::Login), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_login_works_and_the_connection_goes_on() {
    let world = World::start().await;
    let mut wire = world.browser().open().await;
    let body = r#"{"username":"ada","password":"correct horse"}"#;
    let (first, second) = body.split_at(20);
    let head = "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for _ in 0..2 {
        wire.send(format!("{head}14\r\n{first}\r\n")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        wire.send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len())).await.unwrap();
        let answer = patiently("the login", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
        answer.assert_status(200);
        assert!(answer.keeps_alive);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_100_continue_is_answered_before_the_body() {
    let world = World::start().await;
    let mut wire = world.browser().open().await;
    let body = r#"{"username":"ada","password":"correct horse"}"#;
    let head = format!(
        "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    wire.send(head).await.unwrap();
    let interim = patiently("100 Continue", wire.head()).await.unwrap().expect("a head");
    assert_eq!(interim.status(), 100);
    wire.send(body).await.unwrap();
    patiently("the login", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer").assert_status(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_comes_is_given_up() {
    let world = World::with("[server.limits]\nlogin_body_timeout = \"1s\"").await;
    let mut wire = world.browser().open().await;
    let head = "POST /api/login HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    wire.send(head).await.unwrap();
    let answer = patiently("an end", receive(&mut wire, "POST", 1 << 16)).await;
    if let Some(answer) = answer {
        answer.assert_problem(408, "request_timeout");
    }
    assert!(!patiently("the end", wire.fill()).await.unwrap_or(false));
    assert_eq!(world.provider.count(Endpoint::Login), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_and_logout_are_post_only() {
    let world = World::start().await;
    let mut browser = world.browser();
    for path in ["/api/login", "/api/logout"] {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let answer = browser.send(Request::new(method, path)).await;
            answer.assert_problem(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
        browser.send(Request::new("HEAD", path)).await.assert_status(405);
    }
    browser
        .send(Request::post("/api/login?next=/").form("username=ada&password=correct+horse"))
        .await
        .assert_status(200);
    assert_eq!(browser.connections, 1);
    assert_eq!(world.store.heads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_of_the_login_path_never_carry_a_password_to_the_app() {
    let world = World::with("[[apps.store.routes]]\npath = \"/*\"\naccess = \"public\"").await;
    for path in [
        "/api/login/",
        "/API/login",
        "/api/Login",
        "/api/%6cogin",
        "/api//login",
        "//api/login",
        "/api/./login",
        "/api/x/../login",
        "/api/login;x=1",
        "/api/login%2f",
        "/api/login/.",
        "/%61pi/login",
        "/api%2flogin",
        "/api/login%3b",
        "/api/login%20",
        "/api/login.",
        "/api/login/%20",
        "/api/LOGIN.json",
        "/api/login.php",
        "/api/login%23",
        "/api/login%3f",
        "/api/login:",
        "/api/login%c2%a0",
    ] {
        for method in ["POST", "PUT", "GET", "OPTIONS"] {
            let request = Request::new(method, path).form("username=ada&password=correct+horse");
            let answer = world.browser().send(request).await;
            assert_eq!(answer.status(), 400, "{method} {path}: {}", answer.text());
            assert_eq!(world.store.heads(), 0, "{method} {path} reached the app");
        }
    }
    for (method, path) in [("GET", "/api/login/"), ("POST", "/api/login/history"), ("POST", "/api/logins")] {
        world.browser().send(Request::new(method, path)).await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_or_a_coding_that_is_said_twice_is_415() {
    let world = World::start().await;
    let body = r#"{"username":"ada","password":"correct horse"}"#;
    for (name, value) in [("Content-Type", FORM), ("Content-Type", JSON)] {
        let request = Request::post("/api/login").body(JSON, body).header(name, value);
        world.browser().send(request).await.assert_problem(415, "unsupported_media_type");
    }
    let coded = Request::post("/api/login").body(JSON, body).header("Content-Encoding", "identity");
    world.browser().send(coded.clone()).await.assert_status(200);
    let coded = coded.header("Content-Encoding", "gzip");
    world.browser().send(coded).await.assert_problem(415, "unsupported_media_type");
}
