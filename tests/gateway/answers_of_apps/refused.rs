//! Heads without one meaning: the client gets 502, and their connection is not used again.

use super::{CHUNKED, CLIENTS, Clients, FINAL, HINTS, IN_CHUNKS, OK};
use crate::support::Reply;

const SIZED: &str = "Content-Length: 2\r\n";

fn ok(fields: &str) -> String {
    format!("{OK}{fields}\r\nok")
}

/// Returns answers whose end is not clear.
fn framings() -> Vec<String> {
    vec![
        ok("Content-Length: 2\r\nContent-Length: 3\r\n"),
        ok("Content-Length: 2, 3\r\n"),
        ok("Content-Length: 2,\r\n"),
        ok("Content-Length: \r\n"),
        ok("Content-Length: 2 2\r\n"),
        ok("Content-Length: +2\r\n"),
        ok("Content-Length: 9223372036854775808\r\n"),
        ok("Content-Length: 2\r\n 2\r\n"),
        ok("Content-Length:\r\n 2\r\n"),
        format!("{OK}{SIZED}{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("{OK}{CHUNKED}{SIZED}\r\n{IN_CHUNKS}"),
        format!("{OK}{CHUNKED}{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: chunked, \r\n\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: identity\r\n\r\nok"),
        format!("{OK}Transfer-Encoding: \r\n{SIZED}\r\nok"),
        format!("HTTP/1.0 200 OK\r\n{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("HTTP/1.1 204 No Content\r\n{SIZED}{CHUNKED}\r\n"),
        "HTTP/1.1 204 No Content\r\nContent-Length: 2, 3\r\n\r\n".into(),
        format!("HTTP/1.1 304 Not Modified\r\n{SIZED}{CHUNKED}\r\n"),
        format!("{HINTS}{SIZED}{CHUNKED}\r\n{FINAL}ok"),
        format!("{HINTS}Content-Length: x\r\n\r\n{FINAL}ok"),
        format!("HTTP/1.0 103 Early Hints\r\nLink: <a>\r\n\r\n{FINAL}ok"),
        // A body where none may be.
        format!("{HINTS}{SIZED}\r\nno{FINAL}ok"),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{FINAL}ok"
        ),
        format!(
            "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{FINAL}ok"
        ),
    ]
}

/// Returns answers with a status line that HTTP does not have.
fn status_lines() -> Vec<String> {
    vec![
        format!("HTTP/1.1 600 Beyond\r\n{SIZED}\r\nok"),
        format!("HTTP/1.1 999 Beyond\r\n{SIZED}\r\nok"),
        format!("HTTP/1.1 099 Below\r\n{SIZED}\r\nok"),
        format!("HTTP/1.1 2000 OK\r\n{SIZED}\r\nok"),
        format!("HTTP/1.1 20 OK\r\n{SIZED}\r\nok"),
        format!("HTTP/1.1  200 OK\r\n{SIZED}\r\nok"),
        format!("HTTP/1.2 200 OK\r\n{SIZED}\r\nok"),
        format!("HTTP/2 200 OK\r\n{SIZED}\r\nok"),
        format!("HTTP/0.9 200 OK\r\n{SIZED}\r\nok"),
        format!("http/1.1 200 OK\r\n{SIZED}\r\nok"),
        format!("ICY 200 OK\r\n{SIZED}\r\nok"),
        format!("\r\n{OK}{SIZED}\r\nok"),
    ]
}

/// Returns answers with a line that is no field.
fn fields() -> Vec<String> {
    vec![
        ok(&format!(" X-A: 1\r\n{SIZED}")),
        ok(&format!("{SIZED}X-A: a\rb\r\n")),
        ok(&format!("{SIZED}X-A: a\0b\r\n")),
        ok(&format!("{SIZED}X-A: a\x0bb\r\n")),
        ok(&format!("{SIZED}X-A: a\x7fb\r\n")),
        ok(&format!("{SIZED}X A: 1\r\n")),
        ok(&format!("{SIZED}: 1\r\n")),
        ok(&format!("{SIZED}:status: 404\r\n")),
        ok(&format!("{SIZED}no field\r\n")),
        ok(&format!("{SIZED}X-(A): 1\r\n")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_one_meaning_is_502_for_every_client_and_its_connection_is_given_up() {
    let mut clients = Clients::start("").await;
    for answer in [framings(), status_lines(), fields()].concat() {
        clients.world.store.on("/open/odd", Reply::Raw(answer.clone().into_bytes()));
        for method in ["GET", "HEAD"] {
            for client in CLIENTS {
                let what = format!("{method} of {client}: {answer:?}");
                let seen = clients.ask(client, method, "/open/odd", &what).await;
                assert_eq!(seen.status, 502, "{what}: {seen:?}");
                assert!(method == "HEAD" || seen.body.contains("upstream_unavailable"), "{what}: {seen:?}");
                let odd = clients.world.store.last("/open/odd").connection;
                clients.assert_nobody_else_is_hit(&what).await;
                assert_ne!(clients.world.store.last("/open/next").connection, odd, "{what}");
            }
        }
    }
}
