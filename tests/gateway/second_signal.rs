//! A first signal ends the program gently, a second one at once, whatever it waits for.

use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Browser, Reply, World, patiently, wait_for};

const GET: &str = "GET /open/endless HTTP/1.1\r\nHost: store.localhost\r\n\r\n";

/// A program with a request that never ends, and much patience.
async fn busy(more: &str) -> (Program, crate::support::gateway::Builder, Wire) {
    let builder = World::builder().await;
    builder.store.on("/open/endless", Reply::after(3_600_000, Reply::Echo));
    let patient = format!("[server]\nshutdown_grace = '1h'\n{more}");
    let (program, builder) = Program::start_quietly(builder.lay_over(&patient)).await;
    let mut wire = Browser::new(program.address, "store.localhost").open().await;
    wire.send(GET).await.unwrap();
    wait_for("the request at the app", || builder.store.heads() == 1).await;
    (program, builder, wire)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_with_what_is_under_way() {
    for (first, second, code) in
        [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130), ("INT", "TERM", 143)]
    {
        let (mut program, _builder, _wire) = busy("").await;
        program.signal(first).await;
        program.logged(&["stopping", "connections=1"]).await;
        Browser::new(program.admin, "localhost").get("/livez").await.assert_status(200);
        program.signal(second).await;
        assert_eq!(program.exited().await, Some(code), "{first}, {second}");
        program.logged(&["second signal", &format!("SIG{second}"), "connections=1"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_while_the_stop_is_only_announced() {
    let (mut program, _builder, _wire) = busy("shutdown_delay = '1h'\n").await;
    program.signal("TERM").await;
    program.logged(&["stopping soon"]).await;
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(143));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_handed_over_drains_on_at_the_first_one_and_ends_at_the_second() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("upgrade_socket = '{}'\n", directory.path().join("upgrade.sock").display());
    let (mut program, _builder, _wire) = busy(&socket).await;
    let mut old = program.begin_upgrade();
    program.logged(&["handed over to another process"]).await;
    program.logged(&["stopping", "connections=1"]).await;
    let id = old.id().expect("it drains").to_string();
    let kill = async || {
        let status = tokio::process::Command::new("kill").args(["-s", "TERM", &id]).status().await;
        assert!(status.expect("`kill`").success());
    };
    kill().await;
    program.logged(&["SIGTERM", "stopping already"]).await;
    assert!(old.try_wait().unwrap().is_none(), "what supervises it may just be tidying up");
    kill().await;
    assert_eq!(patiently("its end", old.wait()).await.unwrap().code(), Some(143));
    Browser::new(program.address, "store.localhost").get("/open/x").await.assert_status(200);
}
