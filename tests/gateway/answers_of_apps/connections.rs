//! Connections that are used again, or not: the fields of apps and of clients say so.

use super::{CHUNKED, FINAL, HINTS, OK};
use crate::support::client::receive;
use crate::support::http2::{Http2App, echo};
use crate::support::{Reply, World, patiently, store_at};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_said_to_end_is_not_used_again() {
    let world = World::start().await;
    let sized = "Content-Length: 2\r\n";
    for (answer, is_used) in [
        (format!("{OK}{sized}\r\nok"), true),
        (format!("{OK}{sized}Connection: keep-alive\r\nKeep-Alive: timeout=50, max=9\r\n\r\nok"), true),
        (format!("{OK}{sized}Keep-Alive: max=1\r\nKeep-Alive: timeout=99999999999999999999\r\n\r\nok"), true),
        (format!("{OK}Content-Length: 2, 2\r\n\r\nok"), true),
        (format!("{OK}{sized}Connection: x\r\nConnection: y, Close\r\n\r\nok"), false),
        (format!("{OK}{sized}Connection: close\r\nKeep-Alive: timeout=50\r\n\r\nok"), false),
        (format!("{OK}{sized}Keep-Alive: timeout=0\r\n\r\nok"), false),
        // It could end while the next request is on its way.
        (format!("{OK}{sized}Keep-Alive: timeout=1\r\n\r\nok"), false),
        (format!("{OK}{sized}Keep-Alive: timeout=50\r\nKeep-Alive: timeout=1\r\n\r\nok"), false),
        (format!("{OK}{sized}Keep-Alive: timeout=50\r\nKeep-Alive: max=0\r\n\r\nok"), false),
        (format!("{OK}{sized}Keep-Alive: timeout=\"1\", max=100\r\n\r\nok"), false),
        (format!("{OK}{sized}Keep-Alive: timeout=soon\r\n\r\nok"), false),
        (format!("HTTP/1.0 200 OK\r\n{sized}Connection: keep-alive\r\n\r\nok"), false),
        (
            format!("HTTP/1.0 200 OK\r\n{sized}Connection: keep-alive\r\nKeep-Alive: timeout=50\r\n\r\nok"),
            false,
        ),
        (format!("HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n{FINAL}ok"), false),
        (format!("{HINTS}{CHUNKED}\r\n{FINAL}ok"), false),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".into(), true),
        (format!("HTTP/1.1 204 No Content\r\n{sized}\r\n"), false),
        (format!("HTTP/1.1 204 No Content\r\n{CHUNKED}\r\n"), false),
        (format!("HTTP/1.1 304 Not Modified\r\n{sized}\r\n"), false),
    ] {
        world.store.on("/open/said", Reply::Raw(answer.clone().into_bytes()));
        // Nobody else's connection is there to be taken instead.
        world.store.on(
            "/open/last",
            Reply::Raw(format!("{OK}Content-Length: 0\r\nConnection: close\r\n\r\n").into()),
        );
        let mut browser = world.browser();
        browser.get("/open/said").await;
        browser.get("/open/last").await.assert_status(200);
        let (said, last) = (world.store.last("/open/said"), world.store.last("/open/last"));
        assert_eq!(said.connection == last.connection, is_used, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_s_connection_fields_are_one_list() {
    let world = World::start().await;
    let app = Http2App::start(echo).await;
    let newer = World::with(&store_at(&app.url())).await;
    for (world, version, fields, stays) in [
        (&world, "1.1", "Connection: x\r\nConnection: close\r\n", false),
        (&world, "1.1", "Connection: keep-alive\r\nConnection: y, Close\r\n", false),
        (&world, "1.1", "Connection: X-Once\r\nConnection: keep-alive\r\nX-Once: 1\r\n", true),
        (&world, "1.1", "Connection: keep-alive\r\nConnection: X-Once\r\nX-Once: 1\r\n", true),
        (&world, "1.0", "Connection: x\r\nConnection: Keep-Alive\r\n", true),
        (&world, "1.0", "Connection: keep-alive, X-Once\r\nX-Once: 1\r\n", true),
        (&world, "1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
        (&world, "1.0", "Connection: x\r\n", false),
        (&newer, "1.1", "Connection: x\r\nConnection: close\r\n", false),
        (&newer, "1.1", "Connection: keep-alive\r\nConnection: X-Once\r\nX-Once: 1\r\n", true),
    ] {
        // Also of answers that are the gateway's own.
        for (target, status) in [("/open/page", 200), ("/api/page", 401)] {
            let what = format!("{target} {version} {fields:?}");
            let mut wire = world.browser().open().await;
            let request = format!("GET {target} HTTP/{version}\r\nHost: store.localhost\r\n{fields}\r\n");
            wire.send(&request).await.unwrap();
            let answer = patiently(&what, receive(&mut wire, "GET", 1 << 16)).await.expect(&what);
            assert_eq!(answer.status(), status, "{what}");
            assert_eq!(
                answer.header("connection"),
                Some(if stays { "keep-alive" } else { "close" }),
                "{what}"
            );
            if status == 200 {
                assert_eq!(answer.seen_by_app("x-once"), None, "{what}");
            }
            if stays {
                wire.send(&request).await.unwrap();
                let again = patiently(&what, receive(&mut wire, "GET", 1 << 16)).await.expect(&what);
                assert_eq!(again.status(), status, "{what}");
            } else {
                assert!(!patiently("the end", wire.fill()).await.unwrap_or(false), "{what}");
            }
        }
    }
}
