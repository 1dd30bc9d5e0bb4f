//! A process that stops waits for the provider's answers, even if no client waits for them: they are sessions.

use tokio::sync::watch;

use crate::support::client::request_bytes;
use crate::support::gateway::{Builder, REFRESH};
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Browser, Endpoint, Fault, Request, World, patiently, wait_for};

const WAITS: &str = "waiting for answers of identity providers";

/// Clients are not served to their end.
const SHORT: &str = "[server]\nshutdown_grace = '10ms'";

/// A program with a call to the provider under way.
struct Calling {
    program: Program,
    builder: Builder,
    browser: Browser,
    /// The client's connection.
    wire: Wire,
    /// The provider answers when this is true.
    gate: watch::Sender<bool>,
}

impl Calling {
    /// Sends a request. The provider keeps its answer to this endpoint back.
    async fn start(more: &str, endpoint: Endpoint, request: Request) -> Self {
        // A JWT has 20 of its 300 seconds left.
        let builder = World::builder_before(280).await.lay_over(more);
        let (program, builder) = Program::start_quietly(builder).await;
        let mut browser = Browser::new(program.address, "store.localhost");
        browser.log_in("ada").await;
        let (gate, opened) = watch::channel(false);
        let before = builder.provider.count(endpoint);
        builder.provider.fail_next(endpoint, Fault::Held(opened));
        let mut wire = browser.clone().open().await;
        wire.send(request_bytes(&browser, &request)).await.unwrap();
        wait_for("the call", || builder.provider.count(endpoint) > before).await;
        Self { program, builder, browser, wire, gate }
    }

    async fn refreshing(more: &str) -> Self {
        Self::start(more, Endpoint::Refresh, Request::get("/api/cart")).await
    }

    /// The client leaves, and the program is told to stop.
    async fn left_alone(self) -> LeftAlone {
        let Self { program, builder, browser, wire, gate } = self;
        drop(wire);
        program.signal("TERM").await;
        LeftAlone { program, builder, browser, gate }
    }
}

/// A program that stops, with a call whose client has left.
struct LeftAlone {
    program: Program,
    builder: Builder,
    browser: Browser,
    gate: watch::Sender<bool>,
}

impl LeftAlone {
    /// Waits until the program waits for these calls. Then lets the provider answer, and the program ends.
    async fn is_awaited(&mut self, calls: &str) {
        self.program.logged(&[WAITS, calls]).await;
        Browser::new(self.program.admin, "localhost").get("/livez").await.assert_status(200);
        self.gate.send_replace(true);
        assert_eq!(self.program.exited().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_whose_client_has_left_is_awaited() {
    let mut left = Calling::refreshing("").await.left_alone().await;
    left.is_awaited("refreshes=1").await;
    assert!(left.program.has_logged(&["session_refreshed"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_is_awaited_longer_than_a_request() {
    let Calling { mut program, builder: _builder, wire: _wire, gate, .. } = Calling::refreshing(SHORT).await;
    program.signal("TERM").await;
    program.logged(&["the grace period is over"]).await;
    program.logged(&[WAITS, "refreshes=1"]).await;
    gate.send_replace(true);
    assert_eq!(program.exited().await, Some(0));
    assert!(program.has_logged(&["session_refreshed"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_whose_client_has_left_is_awaited_and_its_grant_is_revoked() {
    let body = serde_json::json!({"username": "bob", "password": "correct horse"});
    let login = Request::post("/api/login").json(&body);
    let mut left = Calling::start(SHORT, Endpoint::Login, login).await.left_alone().await;
    left.is_awaited("logins=1").await;
    assert_eq!(left.builder.provider.count(Endpoint::Revoke), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_client_has_left_is_awaited() {
    let logout = Request::post("/api/logout");
    let mut left = Calling::start(SHORT, Endpoint::Revoke, logout).await.left_alone().await;
    left.is_awaited("revocations=1").await;
    assert!(!left.builder.provider.is_alive(&left.browser.jar[REFRESH]));
}

/// The first attempt is made. Nobody waits for the pauses before further ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_has_failed_once_is_not_awaited() {
    let builder = World::builder().await;
    builder.provider.fail(Endpoint::Revoke, Fault::status(503, "{}"));
    let (mut program, builder) = Program::start_quietly(builder).await;
    let mut browser = Browser::new(program.address, "store.localhost");
    browser.log_in("ada").await;
    browser.send(Request::post("/api/logout")).await.assert_status(204);
    program.logged(&["revocation failed, trying again"]).await;
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
    assert!(!program.has_logged(&[WAITS]));
    drop(builder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_calls_it_ends_without_waiting() {
    let (mut program, _builder) = Program::start_quietly(World::builder().await).await;
    Browser::new(program.address, "store.localhost").log_in("ada").await;
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
    assert!(!program.has_logged(&[WAITS]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_this_wait_too() {
    let mut left = Calling::refreshing("").await.left_alone().await;
    left.program.logged(&[WAITS]).await;
    left.program.signal("TERM").await;
    assert_eq!(left.program.exited().await, Some(143));
    left.program.logged(&["second signal", "refreshes=1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_handed_over_waits_as_well() {
    let Calling { mut program, builder: _builder, mut browser, wire, gate } =
        Calling::refreshing("[server]\nupgrade_socket = 'upgrade.sock'").await;
    drop(wire);
    let mut old = program.begin_upgrade();
    program.logged(&[WAITS, "refreshes=1"]).await;
    assert!(old.try_wait().unwrap().is_none());
    browser.get("/open/page").await.assert_status(200);
    gate.send_replace(true);
    assert_eq!(patiently("its end", old.wait()).await.unwrap().code(), Some(0));
    assert!(program.has_logged(&["session_refreshed"]));
}
