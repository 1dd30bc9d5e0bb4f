//! What an app says of its answer has one meaning, or the client gets 502; what is superfluous is mended. Every head to every
//! client: of HTTP/1.0, HTTP/1.1 and HTTP/2, whose library takes nothing that is malformed.

use bytes::Bytes;
use http::Response;

use crate::binary::Program;
use crate::support::certificates::Authority;
use crate::support::client::receive;
use crate::support::http2::{Call, Http2App, Http2Client, answer};
use crate::support::wire::Head;
use crate::support::{Browser, Reply, World, patiently};

const CLIENTS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];

/// What the gateway says itself, or what depends on the client.
const NOT_COMPARED: [&str; 4] = ["date", "connection", "transfer-encoding", "x-request-id"];

/// What is for one hop, in any message to a client.
const FOR_ONE_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "http2-settings"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    status: u16,
    /// In order of their names.
    fields: Vec<(String, String)>,
    body: String,
    interim: Vec<Vec<(String, String)>>,
}

fn in_order<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
        .collect();
    fields.sort();
    fields
}

fn fields_of(head: &Head) -> impl Iterator<Item = (&str, &str)> {
    head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// RFC 9110 and RFC 9112, as far as they say what a head must not have.
fn assert_valid(head: &Head, method: &str, client: &str, what: &str) {
    let (status, framings) =
        (head.status(), (head.all("content-length").len(), head.all("transfer-encoding")));
    assert!(head.first_line.starts_with("HTTP/1.1 "), "{what}: {}", head.first_line);
    for name in FOR_ONE_HOP {
        assert_eq!(head.get(name), None, "{what}");
    }
    if status != 426 && status != 101 {
        assert_eq!(head.get("upgrade"), None, "{what}");
    }
    let is_bodiless = status < 200 || matches!(status, 204 | 304) || method == "HEAD";
    let codings: &[&str] = if is_bodiless || client == "HTTP/1.0" { &[] } else { &["chunked"] };
    let said: Vec<_> = framings.1.iter().map(|coding| coding.to_ascii_lowercase()).collect();
    assert!(said.is_empty() || said == codings, "{what}: {said:?}");
    assert!(framings.0 + framings.1.len() <= 1, "{what}: two framings");
    assert!(framings.0 == 0 || (status >= 200 && status != 204), "{what}: a length");
    let connection = head.get("connection");
    if (100..200).contains(&status) && status != 101 {
        assert_eq!(connection, None, "{what}");
    } else if status != 101 {
        assert!(matches!(connection, Some("keep-alive" | "close")), "{what}: {connection:?}");
    }
}

async fn ask_http1(world: &World, client: &str, method: &str, what: &str) -> Seen {
    let mut wire = world.browser().open().await;
    let head = format!("{method} /open/odd {client}\r\nHost: store.localhost\r\n\r\n");
    wire.send(head).await.unwrap();
    let answer = patiently(what, receive(&mut wire, method, 1 << 16)).await.expect(what);
    for interim in &answer.interim {
        assert_valid(interim, method, client, what);
    }
    assert_valid(&answer.head, method, client, what);
    Seen {
        status: answer.status(),
        fields: in_order(fields_of(&answer.head)),
        body: answer.text(),
        interim: answer.interim.iter().map(|head| in_order(fields_of(head))).collect(),
    }
}

async fn ask_http2(client: &mut Http2Client, method: &str, what: &str) -> Seen {
    let request = client.request(method, "/open/odd").body(()).unwrap();
    let (response, _) = client.requests.send_request(request, true).unwrap();
    let answer = answer(response).await.expect(what);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    for (name, value) in &answer.head.headers {
        let value = text(value);
        assert_eq!(value.trim(), value, "{what}");
        assert!(!FOR_ONE_HOP.contains(&name.as_str()) && *name != "upgrade", "{what}: {name}");
    }
    let fields: Vec<_> =
        answer.head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Seen {
        status: answer.status(),
        fields: in_order(fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        body: String::from_utf8_lossy(&answer.body.expect(what)).into_owned(),
        interim: Vec::new(),
    }
}

/// What a client is to get of a head: status, fields without those that differ, and of interim heads before it.
type Expected<'a> = (u16, &'a [(&'a str, &'a str)], &'a [&'a [(&'a str, &'a str)]]);

const OK: &str = "HTTP/1.1 200 OK\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const IN_CHUNKS: &str = "2\r\nok\r\n0\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";

/// Heads, what follows them unless it is to HEAD, and what a client gets.
fn mended() -> Vec<(String, &'static str, Expected<'static>)> {
    const LENGTH: Expected<'_> = (200, &[("content-length", "2")], &[]);
    const BARE: Expected<'_> = (200, &[], &[]);
    const NONE: Expected<'_> = (204, &[("x-a", "1")], &[]);
    const HINTED: Expected<'_> = (200, &[("content-length", "2")], &[&[("link", "<a>")]]);
    let ok = |fields: &str| format!("{OK}{fields}\r\n");
    let none = |fields: &str| format!("HTTP/1.1 204 No Content\r\nX-A: 1\r\n{fields}\r\n");
    let hints = |fields: &str| format!("{HINTS}{fields}\r\n{FINAL}");
    let sized = "Content-Length: 2\r\n";
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
        (format!("HTTP/1.0 200 OK\r\n{sized}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 200\r\n{sized}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 200 \r\n{sized}\r\n"), "ok", LENGTH),
        (format!("HTTP/1.1 599 Strange\r\n{sized}\r\n"), "ok", (599, &[("content-length", "2")], &[])),
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
        (hints("Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"), "ok", HINTED),
        (hints("Proxy-Connection: close\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: X\r\n"), "ok", HINTED),
        (hints("Content-Length: 0\r\n"), "ok", HINTED),
        (hints(CHUNKED), "ok", HINTED),
        (
            format!("{HINTS}\r\nHTTP/1.1 100 Continue\r\n{CHUNKED}\r\n{FINAL}"),
            "ok",
            (200, &[("content-length", "2")], &[&[("link", "<a>")], &[]]),
        ),
        (ok(&format!("{sized}Upgrade: h2,h2c\r\nConnection: Upgrade\r\n")), "ok", LENGTH),
        (ok(&format!("{sized}Upgrade: websocket\r\n")), "ok", LENGTH),
        (ok(&format!("{sized}Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X-T\r\n")), "ok", LENGTH),
        (ok(&format!("{sized}Keep-Alive: timeout=5\r\nKeep-Alive: max=5\r\n")), "ok", LENGTH),
        (ok(&format!("{sized}Connection: x\r\nConnection: X-A, X-B\r\nX-A: 1\r\nX-B: 2\r\n")), "ok", LENGTH),
        (
            ok(&format!(
                "{sized}Connection: Content-Length\r\nConnection: Set-Cookie, Cache-Control, Content-Type\r\n\
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
            ok(&format!("{sized}X-Folded: a\r\n b\r\n\tc\r\n")),
            "ok",
            (200, &[("content-length", "2"), ("x-folded", "a b c")], &[]),
        ),
        (ok(&format!("{sized}X-A: \t 1 \t\r\n")), "ok", (200, &[("content-length", "2"), ("x-a", "1")], &[])),
        (
            ok(&format!("{sized}Content-Type: a/b\r\nContent-Type: c/d\r\n")),
            "ok",
            (200, &[("content-length", "2"), ("content-type", "a/b"), ("content-type", "c/d")], &[]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_superfluous_is_taken_out_for_every_client() {
    let authority = Authority::new();
    authority.certify("store", &["store.localhost"]);
    let world = World::with(&authority.server(&["store"])).await;
    let mut http2 = Http2Client::start(&authority, &world).await;
    for (head, body, (status, fields, interim)) in mended() {
        for method in ["GET", "HEAD"] {
            let body = if method == "HEAD" { "" } else { body };
            world.store.on("/open/odd", Reply::Raw(format!("{head}{body}").into_bytes()));
            for client in CLIENTS {
                let what = format!("{method} of {client}: {head:?}");
                let seen = match client {
                    "HTTP/2" => ask_http2(&mut http2, method, &what).await,
                    _ => ask_http1(&world, client, method, &what).await,
                };
                let interim = interim.iter().filter(|_| client == "HTTP/1.1");
                let expected = Seen {
                    status,
                    fields: in_order(fields.iter().copied()),
                    body: if body.contains("ok") { "ok".into() } else { String::new() },
                    interim: interim.map(|fields| in_order(fields.iter().copied())).collect(),
                };
                assert_eq!(seen, expected, "{what}");
                assert_nobody_else_is_hit(&world, &what).await;
            }
        }
    }
}

async fn assert_nobody_else_is_hit(world: &World, what: &str) {
    let answer = world.browser().get("/open/next").await;
    assert_eq!(answer.json()["target"], "/open/next", "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_one_meaning_is_502_for_every_client_and_its_connection_is_given_up() {
    let authority = Authority::new();
    authority.certify("store", &["store.localhost"]);
    let world = World::with(&authority.server(&["store"])).await;
    let mut http2 = Http2Client::start(&authority, &world).await;
    let ok = |fields: &str| format!("{OK}{fields}\r\nok");
    let sized = "Content-Length: 2\r\n";
    for answer in [
        ok("Content-Length: 2\r\nContent-Length: 3\r\n"),
        ok("Content-Length: 2, 3\r\n"),
        ok("Content-Length: 2,\r\n"),
        ok("Content-Length: \r\n"),
        ok("Content-Length: 2 2\r\n"),
        ok("Content-Length: +2\r\n"),
        ok("Content-Length: 9223372036854775808\r\n"),
        ok("Content-Length: 2\r\n 2\r\n"),
        ok("Content-Length:\r\n 2\r\n"),
        format!("{OK}{sized}{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("{OK}{CHUNKED}{sized}\r\n{IN_CHUNKS}"),
        format!("{OK}{CHUNKED}{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: chunked, \r\n\r\n{IN_CHUNKS}"),
        format!("{OK}Transfer-Encoding: identity\r\n\r\nok"),
        format!("{OK}Transfer-Encoding: \r\n{sized}\r\nok"),
        format!("HTTP/1.0 200 OK\r\n{CHUNKED}\r\n{IN_CHUNKS}"),
        format!("HTTP/1.1 204 No Content\r\n{sized}{CHUNKED}\r\n"),
        "HTTP/1.1 204 No Content\r\nContent-Length: 2, 3\r\n\r\n".into(),
        format!("HTTP/1.1 304 Not Modified\r\n{sized}{CHUNKED}\r\n"),
        format!("{HINTS}{sized}{CHUNKED}\r\n{FINAL}ok"),
        format!("{HINTS}Content-Length: x\r\n\r\n{FINAL}ok"),
        format!("HTTP/1.0 103 Early Hints\r\nLink: <a>\r\n\r\n{FINAL}ok"),
        // A body where none may be.
        format!("{HINTS}{sized}\r\nno{FINAL}ok"),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{FINAL}ok"
        ),
        format!(
            "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{FINAL}ok"
        ),
        format!("HTTP/1.1 600 Beyond\r\n{sized}\r\nok"),
        format!("HTTP/1.1 999 Beyond\r\n{sized}\r\nok"),
        format!("HTTP/1.1 099 Below\r\n{sized}\r\nok"),
        format!("HTTP/1.1 2000 OK\r\n{sized}\r\nok"),
        format!("HTTP/1.1 20 OK\r\n{sized}\r\nok"),
        format!("HTTP/1.1  200 OK\r\n{sized}\r\nok"),
        format!("HTTP/1.2 200 OK\r\n{sized}\r\nok"),
        format!("HTTP/2 200 OK\r\n{sized}\r\nok"),
        format!("HTTP/0.9 200 OK\r\n{sized}\r\nok"),
        format!("http/1.1 200 OK\r\n{sized}\r\nok"),
        format!("ICY 200 OK\r\n{sized}\r\nok"),
        format!("\r\n{OK}{sized}\r\nok"),
        ok(&format!(" X-A: 1\r\n{sized}")),
        ok(&format!("{sized}X-A: a\rb\r\n")),
        ok(&format!("{sized}X-A: a\0b\r\n")),
        ok(&format!("{sized}X-A: a\x0bb\r\n")),
        ok(&format!("{sized}X-A: a\x7fb\r\n")),
        ok(&format!("{sized}X A: 1\r\n")),
        ok(&format!("{sized}: 1\r\n")),
        ok(&format!("{sized}:status: 404\r\n")),
        ok(&format!("{sized}no field\r\n")),
        ok(&format!("{sized}X-(A): 1\r\n")),
    ] {
        world.store.on("/open/odd", Reply::Raw(answer.clone().into_bytes()));
        for method in ["GET", "HEAD"] {
            for client in CLIENTS {
                let what = format!("{method} of {client}: {answer:?}");
                let seen = match client {
                    "HTTP/2" => ask_http2(&mut http2, method, &what).await,
                    _ => ask_http1(&world, client, method, &what).await,
                };
                assert_eq!(seen.status, 502, "{what}: {seen:?}");
                assert!(method == "HEAD" || seen.body.contains("upstream_unavailable"), "{what}: {seen:?}");
                let odd = world.store.last("/open/odd").connection;
                assert_nobody_else_is_hit(&world, &what).await;
                assert_ne!(world.store.last("/open/next").connection, odd, "{what}");
            }
        }
    }
}

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

const HANDSHAKE: &str = "GET /open/socket HTTP/1.1\r\nHost: store.localhost\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\
     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_101_of_a_web_socket_has_one_meaning_too() {
    let world = World::start().await;
    let ask = async |answer: String| {
        world.store.on("/open/socket", Reply::Raw(answer.into_bytes()));
        let mut wire = world.browser().open().await;
        wire.send(HANDSHAKE).await.unwrap();
        let head = patiently("an answer", wire.head()).await.unwrap().expect("a head");
        (head, wire)
    };
    let switch = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n";
    for fields in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: WebSocket\r\nConnection: close, Sec-WebSocket-Accept\r\nConnection: upgrade\r\n",
        "Upgrade: websocket\r\nConnection: upgrade, X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n",
        "Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nProxy-Connection: x\r\nTrailer: x\r\nTE: x\r\n",
    ] {
        let (head, mut wire) = ask(format!("{switch}{fields}\r\nRAW")).await;
        assert_eq!(head.status(), 101, "{fields:?}");
        let names: Vec<_> = head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        let ours = ["connection", "sec-websocket-accept", "upgrade", "x-request-id"];
        assert!(names.iter().all(|name| ours.contains(&name.as_str())), "{fields:?}: {names:?}");
        assert_eq!(head.get("Connection"), Some("Upgrade"), "{fields:?}");
        assert_eq!(head.get("Upgrade"), Some("websocket"), "{fields:?}");
        assert_eq!(head.get("Sec-WebSocket-Accept"), Some("x"), "{fields:?}");
        while wire.buffer.len() < 3 {
            assert!(patiently("what follows", wire.fill()).await.unwrap(), "{fields:?}");
        }
        assert_eq!(wire.buffer, b"RAW", "{fields:?}");
    }
    let other =
        "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2, 2\r\n\r\nok";
    let (head, _) = ask(other.into()).await;
    assert_eq!((head.status(), head.get("upgrade"), head.get("content-length")), (200, None, Some("2")));
    for answer in [
        format!("{switch}\r\n"),
        format!("{switch}Upgrade: h2c\r\n\r\n"),
        format!("{switch}Upgrade: websocket\r\nUpgrade: websocket\r\n\r\n"),
        format!("{switch}Upgrade: websocket\r\nContent-Length: 2, 3\r\n\r\n"),
        "HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            .into(),
        "HTTP/1.1 700 OK\r\nContent-Length: 2\r\n\r\nok".into(),
    ] {
        let (head, _) = ask(answer.clone()).await;
        assert_eq!(head.status(), 502, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_holds_for_apps_over_http_2() {
    // Status, fields of the app, and what a client gets: 0 is 502.
    type Fields = &'static [(&'static str, &'static str)];
    const CASES: &[(u16, Fields, u16, Fields)] = &[
        (200, &[("content-length", "2"), ("content-length", "2")], 200, &[("content-length", "2")]),
        (200, &[("content-length", "2"), ("content-length", "3")], 0, &[]),
        (200, &[("content-length", "x")], 0, &[]),
        (204, &[("content-length", "0"), ("x-a", "1")], 204, &[("x-a", "1")]),
        (304, &[("content-length", "5"), ("etag", "a")], 304, &[("content-length", "5"), ("etag", "a")]),
        (200, &[("x-a", " 1\t")], 200, &[("x-a", "1")]),
        (200, &[("trailer", "x"), ("te", "trailers")], 200, &[]),
        (200, &[("connection", "close")], 0, &[]),
        (200, &[("transfer-encoding", "chunked")], 0, &[]),
        (200, &[("upgrade", "h2c")], 0, &[]),
        (200, &[("keep-alive", "timeout=5")], 0, &[]),
        (200, &[("proxy-connection", "x")], 0, &[]),
        (600, &[], 0, &[]),
        (999, &[], 0, &[]),
    ];
    let app = Http2App::start(async |mut call: Call| {
        let target = call.head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let case = target.split_once('?').and_then(|(_, number)| number.parse::<usize>().ok());
        let (status, fields, _, _) = CASES[case.expect("a case")];
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let has_body = status != 204 && status != 304 && call.head.method != http::Method::HEAD;
        let sent = call.respond.send_response(response.body(()).unwrap(), !has_body);
        if let Some(mut stream) = sent.ok().filter(|_| has_body) {
            let _reset = stream.send_data(Bytes::from_static(b"ok"), true);
        }
    })
    .await;
    let authority = Authority::new();
    authority.certify("store", &["store.localhost"]);
    let server = authority.server(&["store"]);
    let world = World::with(&format!("{server}[apps.store]\nupstreams = ['{}']\n", app.url())).await;
    let mut http2 = Http2Client::start(&authority, &world).await;
    for (number, (status, says, expected, fields)) in CASES.iter().enumerate() {
        for method in ["GET", "HEAD"] {
            for client in CLIENTS {
                let what = format!("{method} of {client}: {status} {says:?}");
                let target = format!("/open/odd?{number}");
                let seen = if client == "HTTP/2" {
                    let request = http2.request(method, &target).body(()).unwrap();
                    let (response, _) = http2.requests.send_request(request, true).unwrap();
                    let answer = answer(response).await.expect(&what);
                    let fields: Vec<_> = answer
                        .head
                        .headers
                        .iter()
                        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                        .collect();
                    (answer.status(), in_order(fields.into_iter()))
                } else {
                    let mut wire = world.browser().open().await;
                    let head = format!("{method} {target} {client}\r\nHost: store.localhost\r\n\r\n");
                    wire.send(head).await.unwrap();
                    let answer = patiently(&what, receive(&mut wire, method, 1 << 16)).await.expect(&what);
                    assert_valid(&answer.head, method, client, &what);
                    (answer.status(), in_order(fields_of(&answer.head)))
                };
                if *expected == 0 {
                    assert_eq!(seen.0, 502, "{what}: {seen:?}");
                } else {
                    assert_eq!(seen, (*expected, in_order(fields.iter().copied())), "{what}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_s_connection_fields_are_one_list() {
    let world = World::start().await;
    let app = Http2App::start(crate::support::http2::echo).await;
    let newer = World::with(&format!("[apps.store]\nupstreams = ['{}']\n", app.url())).await;
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
