//! Durations of a client: each does what it says, whatever the others are set to.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::support::wire::Wire;
use crate::support::{World, patiently};

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
