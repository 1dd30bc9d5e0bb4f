//! The log says why a head was refused, and nothing of its contents.

use crate::support::program::Program;
use crate::support::{Browser, Reply, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_why_a_head_was_refused() {
    let (program, builder) = Program::start(World::builder().await).await;
    for (answer, why) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "and a Transfer-Encoding",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", "its Content-Length is no length, or several"),
        ("HTTP/1.1 101 Switching\r\nUpgrade: hush-hush\r\n\r\n", "a protocol that was not asked for"),
    ] {
        builder.store.on("/open/odd", Reply::Raw(answer.into()));
        let answer = Browser::new(program.address, "store.localhost").get("/open/odd").await;
        answer.assert_problem(502, "upstream_unavailable");
        program.logged(&["request failed", why]).await;
    }
    assert!(!program.end().await.contains("hush-hush"));
}
