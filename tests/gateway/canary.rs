//! Secrets that are planted everywhere and searched for everywhere: the program's log at `trace`, metrics, and every answer.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::json;
use tokio::process::Command;

use crate::binary::free_port;
use crate::support::client::raw;
use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::keys::base64url;
use crate::support::{Answer, Browser, Endpoint, Fault, Request, World, patiently};

const HMAC_SECRET: &str = "canary-hmac-secret-of-more-than-32-bytes";
const CLIENT_SECRET: &str = "store-secret";
const PASSWORD: &str = "canary-wrong-password";

/// A JWT under the HMAC secret.
fn jwt(claims: &serde_json::Value) -> String {
    let message =
        format!("{}.{}", base64url(r#"{"alg":"HS256","typ":"JWT"}"#), base64url(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, HMAC_SECRET.as_bytes());
    format!("{message}.{}", base64url(hmac::sign(&key, message.as_bytes())))
}

/// Everything that a client has been shown, but for `Set-Cookie`, which is where tokens belong.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn add(&mut self, answer: &Answer) -> u16 {
        for (name, value) in &answer.head.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                let _ = writeln!(self.0, "{name}: {value}");
            }
        }
        let _ = writeln!(self.0, "{}\n{}", answer.head.first_line, answer.text());
        answer.status()
    }
}

/// A secret in the ways in which it could be written.
fn spellings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let escaped = secret.escape_debug().to_string();
    let base64 = base64url(secret);
    let mut spellings = vec![secret.to_owned(), form, escaped, base64];
    // A part of a JWT that nobody could guess is as good as the whole.
    spellings.extend(secret.split('.').nth(2).map(str::to_owned));
    spellings.retain(|spelling| spelling.len() >= 8);
    spellings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_metric_or_answer_has_a_secret_whatever_goes_wrong() {
    let (port, admin) = (free_port(), free_port());
    let builder = World::builder().await.lay_over(&format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nadmin_listen = \"127.0.0.1:{admin}\"\n[server.log]\nlevel = \"trace\"\n\
         [identity_providers.main]\nalgorithms = [\"HS256\"]\nhmac_secret = \"{HMAC_SECRET}\"\nrequest_timeout = \"1s\""
    ));
    let now = portcullis::clock::Clock::now(&*builder.clock);
    let claims = json!({"iss": builder.provider.issuer(), "sub": "id-of-ada", "aud": "store", "azp": "store",
        "iat": now, "exp": now + 300, "roles": ["user"]});
    let token = jwt(&claims);
    builder.provider.set(|settings| settings.access_token = Some(token.clone()));
    let directory = tempfile::tempdir().unwrap();
    let (config, log) = (directory.path().join("gateway.toml"), directory.path().join("log"));
    std::fs::write(&config, builder.text()).unwrap();
    let output = std::fs::File::create(&log).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("run")
        .arg("--config")
        .arg(&config)
        .env("RUST_LOG", "trace")
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let admin = SocketAddr::from(([127, 0, 0, 1], admin));
    patiently("readiness", async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if tokio::net::TcpStream::connect(admin).await.is_ok()
                && Browser::new(admin, "localhost").get("/readyz").await.status() == 200
            {
                return;
            }
        }
    })
    .await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut browser = Browser::new(address, "store.localhost");
    let mut shown = Shown::default();
    let mut secrets = vec![
        HMAC_SECRET.to_owned(),
        CLIENT_SECRET.into(),
        base64url(format!("store:{CLIENT_SECRET}")),
        PASSWORD.into(),
        "correct horse".into(),
        token.clone(),
    ];

    // Logins: right, wrong, malformed, and providers that quote what they were sent.
    assert_eq!(shown.add(&browser.log_in("ada").await), 200);
    secrets.extend(browser.jar.values().cloned());
    assert_eq!(shown.add(&browser.clone().try_log_in("ada", PASSWORD).await), 401);
    let quoted =
        json!({"error": "invalid_request", "error_description": format!("{PASSWORD} {CLIENT_SECRET}")});
    for fault in [
        Fault::status(400, &quoted.to_string()),
        Fault::status(500, PASSWORD),
        Fault::Garbage,
        Fault::Truncated,
        Fault::Reset,
        Fault::delay(3000),
    ] {
        builder.provider.fail_next(Endpoint::Login, fault);
        shown.add(&browser.clone().try_log_in("ada", PASSWORD).await);
    }
    for body in [
        format!(r#"{{"username":"ada","password":"{PASSWORD}""#),
        format!(r#"{{"username":"ada","password":["{PASSWORD}"]}}"#),
        format!(r#"{{"username":"ada","password":"{PASSWORD}","password":"{PASSWORD}"}}"#),
    ] {
        let request = Request::post("/api/login").body("application/json", body);
        assert_eq!(shown.add(&browser.clone().send(request).await), 400);
    }
    let variant = Request::post("/api/login/").form(&format!("username=ada&password={PASSWORD}"));
    assert_eq!(shown.add(&browser.clone().send(variant).await), 400);

    // Sessions: refused tokens, refused refreshes, an app that is down.
    shown.add(&browser.get("/api/admin/x").await);
    let junk = ["canary-junk-token", "canary.junk.signature-canary", "%63anary-encoded", "!2!0!canary-split"];
    for (number, junk) in junk.into_iter().enumerate() {
        let mut tab = browser.clone();
        tab.jar.insert(ACCESS.into(), junk.into());
        tab.jar.insert(REFRESH.into(), format!("canary-refresh-{number}"));
        secrets.extend(tab.jar.values().cloned());
        shown.add(&tab.get("/api/cart?secret=canary-in-the-query").await);
        let again = format!("canary-refresh-{number}-again");
        let quoted = json!({"error": again, "error_description": format!("no {again} of {CLIENT_SECRET}")});
        builder.provider.fail_next(Endpoint::Refresh, Fault::status(400, &quoted.to_string()));
        tab.jar.insert(REFRESH.into(), again);
        secrets.extend(tab.jar.values().cloned());
        shown.add(&tab.get("/api/cart").await);
    }
    let forged = jwt(&json!({"iss": "http://canary-issuer", "sub": "x", "exp": now + 300}));
    secrets.push(forged.clone());
    builder.provider.set(|settings| settings.access_token = Some(forged));
    let mut tab = browser.clone();
    tab.jar.remove(ACCESS);
    assert_eq!(shown.add(&tab.get("/api/cart").await), 503);
    builder.provider.set(|settings| settings.access_token = Some(token));
    builder.store.listening().down();
    shown.add(&browser.get("/api/cart").await);
    builder.provider.fail_next(Endpoint::Revoke, Fault::status(500, "canary"));
    shown.add(&browser.clone().send(Request::post("/api/logout")).await);

    // Heads that never reach a decision.
    for head in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: {ACCESS}=canary-in-a-bad-head\r\n\r\n"),
        format!("GET /canary-in-a-bad-target\u{1} HTTP/1.1\r\nCookie: {ACCESS}=canary-in-a-bad-head\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: store.localhost\r\nCookie: {ACCESS}={}\r\n\r\n",
            "canary-big".repeat(9000)
        ),
    ] {
        if let (Some(answer), _) = raw(address, head).await {
            shown.add(&answer);
        }
    }
    secrets.extend(["canary-in-a-bad-head", "canary-in-the-query", "canary-big"].map(str::to_owned));
    let metrics = Browser::new(admin, "localhost").get("/metrics").await;
    assert_eq!(shown.add(&metrics), 200);
    let _ = gateway.kill().await;

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("DEBUG") && log.contains("request refused"), "little was logged: {log}");
    for spelling in secrets.iter().flat_map(|secret| spellings(secret)) {
        for (what, text) in [("log", &log), ("answers", &shown.0)] {
            let line = text.lines().find(|line| line.contains(&spelling));
            assert!(line.is_none(), "`{spelling}` in the {what}: {}", line.unwrap_or_default());
        }
    }
}
