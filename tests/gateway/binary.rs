//! The program itself, at its most talkative.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::{Browser, Endpoint, Fault, Request, World, patiently};

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_at_any_level_has_a_token_a_password_or_a_secret() {
    let (port, admin) = (free_port(), free_port());
    let toml = format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nadmin_listen = \"127.0.0.1:{admin}\"\n[server.log]\nlevel = \"trace\""
    );
    let builder = World::builder().await.lay_over(&toml);
    let directory = tempfile::tempdir().unwrap();
    let (config, log) = (directory.path().join("gateway.toml"), directory.path().join("log"));
    std::fs::write(&config, builder.text()).unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("run")
        .arg("--config")
        .arg(&config)
        .env_remove("RUST_LOG")
        .stdout(std::fs::File::create(directory.path().join("stdout")).unwrap())
        .stderr(std::fs::File::create(&log).unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], admin));
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

    let mut browser = Browser::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)), "store.localhost");
    let mut secrets = vec!["correct horse".to_owned(), "correct+horse".into(), "correct%20horse".into()];
    secrets.extend(["hunter2-canary", "store-secret", "c3RvcmU6c3RvcmUtc2VjcmV0"].map(str::to_owned));
    browser.try_log_in("ada", "hunter2-canary").await.assert_status(401);
    browser
        .send(Request::post("/api/login").form("username=ada&password=hunter2-canary&password=x"))
        .await
        .assert_status(400);
    browser.log_in("ada").await;
    secrets.extend(browser.jar.values().cloned());
    browser.get("/api/cart").await.assert_status(200);
    browser.jar.insert(ACCESS.into(), "junk-canary".into());
    secrets.push("junk-canary".into());
    builder.provider.fail_next(Endpoint::Refresh, Fault::status(500, "{}"));
    browser.get("/api/cart").await.assert_status(503);
    browser.get("/api/cart").await.assert_status(200);
    secrets.extend(browser.jar.values().cloned());
    builder.provider.end_all_sessions();
    browser.jar.remove(ACCESS);
    browser.get("/api/cart").await.assert_status(401);
    browser.log_in("ada").await;
    secrets.extend(browser.jar.values().cloned());
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    browser.jar.insert(REFRESH.into(), "rt-canary".into());
    secrets.push("rt-canary".into());
    browser.get("/api/cart").await.assert_status(401);
    let _ = gateway.kill().await;

    // A part of a JWT that nobody could guess is as good as the whole.
    let signatures: Vec<_> =
        secrets.iter().filter_map(|secret| secret.split('.').nth(2)).map(str::to_owned).collect();
    secrets.extend(signatures);
    let text = std::fs::read_to_string(&log).unwrap()
        + &std::fs::read_to_string(directory.path().join("stdout")).unwrap();
    assert!(text.contains("portcullis"), "nothing was logged: {text}");
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "`{secret}` in: {}", line.unwrap_or_default());
    }
}
