//! Heads with something superfluous: it is taken out, and every client gets the same answer.

use super::{CHUNKED, CLIENTS, Clients, FINAL, HINTS, IN_CHUNKS, OK, Seen, in_order};
use crate::support::Reply;

/// The answer that a client must get: its status, its fields except those that differ, and the fields of each interim
/// head.
type Expected<'a> = (u16, &'a [(&'a str, &'a str)], &'a [&'a [(&'a str, &'a str)]]);

/// A head, the body that follows it unless the request is HEAD, and the answer that a client must get.
type Case = (String, &'static str, Expected<'static>);

const LENGTH: Expected<'_> = (200, &[("content-length", "2")], &[]);
const BARE: Expected<'_> = (200, &[], &[]);
const NONE: Expected<'_> = (204, &[("x-a", "1")], &[]);
const HINTED: Expected<'_> = (200, &[("content-length", "2")], &[&[("link", "<a>")]]);

const SIZED: &str = "Content-Length: 2\r\n";

fn ok(fields: &str) -> String {
    format!("{OK}{fields}\r\n")
}

/// Returns lengths and transfer codings, with every kind of status line.
fn framings() -> Vec<Case> {
    let none = |fields: &str| format!("HTTP/1.1 204 No Content\r\nX-A: 1\r\n{fields}\r\n");
    vec![
        (ok("Content-Length: 2, 2\r\n"), "ok", LENGTH),
        (ok("Content-Length: 2\r\nContent-Length: 2\r\n"), "ok", LENGTH),
        (
            ok("Content-Length: 2\r\nX-A: 1\r\ncontent-length: 002 ,2\r\n"),
            "ok",
            (200, &[("content-length", "2"), ("x-a", "1")], &[]),
        ),
        (ok("Content-Length :  2 \t\r\n"), "ok", LENGTH),
        (ok(CHUNKED), IN_CHUNKS, BARE),
        (ok("Transfer-Encoding:  Chunked \r\n"), IN_CHUNKS, BARE),
        (format!("HTTP/1.0 200 OK\r\n{SIZED}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 200\r\n{SIZED}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 200 \r\n{SIZED}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 599 Strange\r\n{SIZED}\r\n"), "ok", (599, &[("content-length", "2")], &[])),
        (none("Content-Length: 0\r\n"), "", NONE),
        (none("Content-Length: 5\r\n"), "", NONE),
        (none(CHUNKED), "", NONE),
        (none(CHUNKED), "0\r\n\r\n", NONE),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 5\r\n\r\n".into(),
            "",
            (304, &[("content-length", "5")], &[]),
        ),
        (format!("HTTP/1.1 304 Not Modified\r\n{CHUNKED}\r\n"), "", (304, &[], &[])),
    ]
}

/// Returns interim heads and the final ones behind them.
fn interim_heads() -> Vec<Case> {
    let hints = |fields: &str| format!("{HINTS}{fields}\r\n{FINAL}");
    vec![
        (hints("Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"), "ok", HINTED),
        (hints("Proxy-Connection: close\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: X\r\n"), "ok", HINTED),
        (hints("Content-Length: 0\r\n"), "ok", HINTED),
        (hints(CHUNKED), "ok", HINTED),
        (
            format!("{HINTS}\r\nHTTP/1.1 100 Continue\r\n{CHUNKED}\r\n{FINAL}"),
            "ok",
            (200, &[("content-length", "2")], &[&[("link", "<a>")], &[]]),
        ),
    ]
}

/// Returns fields for one hop, and fields that are written in an unusual way.
fn fields() -> Vec<Case> {
    vec![
        (ok(&format!("{SIZED}Upgrade: h2,h2c\r\nConnection: Upgrade\r\n")), "ok", LENGTH),
        (ok(&format!("{SIZED}Upgrade: websocket\r\n")), "ok", LENGTH),
        (ok(&format!("{SIZED}Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\n")), "ok", LENGTH),
        (ok(&format!("{SIZED}Keep-Alive: timeout=5\r\nKeep-Alive: max=5\r\n")), "ok", LENGTH),
        (ok(&format!("{SIZED}Connection: x\r\nConnection: X-A, X-B\r\nX-A: 1\r\nX-B: 2\r\n")), "ok", LENGTH),
        (
            ok(&format!(
                "{SIZED}Connection: Content-Length\r\nConnection: Set-Cookie, Cache-Control, Content-Type\r\n\
                 Set-Cookie: a=1\r\nCache-Control: max-age=5\r\nContent-Type: text/plain\r\n"
            )),
            "ok",
            (
                200,
                &[
                    ("cache-control", "max-age=5"),
                    ("content-length", "2"),
                    ("content-type", "text/plain"),
                    ("set-cookie", "a=1"),
                ],
                &[],
            ),
        ),
        (ok(&format!("{CHUNKED}Connection: keep-alive, Transfer-Encoding\r\n")), IN_CHUNKS, BARE),
        (
            ok(&format!("{SIZED}X-Folded: a\r\n b\r\n\tc\r\n")),
            "ok",
            (200, &[("content-length", "2"), ("x-folded", "a b c")], &[]),
        ),
        (ok(&format!("{SIZED}X-A: \t 1 \t\r\n")), "ok", (200, &[("content-length", "2"), ("x-a", "1")], &[])),
        (
            ok(&format!("{SIZED}Content-Type: a/b\r\nContent-Type: c/d\r\n")),
            "ok",
            (200, &[("content-length", "2"), ("content-type", "a/b"), ("content-type", "c/d")], &[]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_superfluous_is_taken_out_for_every_client() {
    let mut clients = Clients::start("").await;
    let cases = [framings(), interim_heads(), fields()].concat();
    for (head, body, (status, fields, interim)) in cases {
        for method in ["GET", "HEAD"] {
            let body = if method == "HEAD" { "" } else { body };
            clients.world.store.on("/open/odd", Reply::Raw(format!("{head}{body}").into_bytes()));
            for client in CLIENTS {
                let what = format!("{method} of {client}: {head:?}");
                let seen = clients.ask(client, method, "/open/odd", &what).await;
                let interim = interim.iter().filter(|_| client == "HTTP/1.1");
                let expected = Seen {
                    status,
                    fields: in_order(fields.iter().copied()),
                    body: if body.contains("ok") { "ok".into() } else { String::new() },
                    interim: interim.map(|fields| in_order(fields.iter().copied())).collect(),
                };
                assert_eq!(seen, expected, "{what}");
                clients.assert_nobody_else_is_hit(&what).await;
            }
        }
    }
}
