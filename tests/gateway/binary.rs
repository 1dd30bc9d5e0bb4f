//! The program's log at its most talkative level.

use crate::support::gateway::{ACCESS, REFRESH};
use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, Request, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_line_at_any_level_has_a_token_a_password_or_a_secret() {
    let (program, builder) = Program::start(World::builder().await).await;
    let mut browser = Browser::new(program.address, "store.localhost");
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

    // A part of a JWT that nobody could guess is as good as the whole.
    let signatures: Vec<_> =
        secrets.iter().filter_map(|secret| secret.split('.').nth(2)).map(str::to_owned).collect();
    secrets.extend(signatures);
    let text = program.end().await;
    assert!(text.contains("portcullis"), "nothing was logged: {text}");
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "`{secret}` in: {}", line.unwrap_or_default());
    }
}
