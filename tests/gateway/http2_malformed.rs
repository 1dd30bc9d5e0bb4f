//! Malformed requests over HTTP/2: their stream or connection ends, the app sees nothing, and the others go on.

use bytes::Bytes;
use http::HeaderMap;

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Fields, Frames, HEADERS, PROTOCOL_ERROR, block, frame,
    get, with,
};
use crate::support::gateway::ACCESS;
use crate::support::{HOST, Http2Client, World, patiently};

const RESET: Fate = Fate::Reset(PROTOCOL_ERROR);
const BAD: Fate = Fate::Status(400);
/// A field that no header block can have makes the whole block malformed, and with it the connection.
const GOODBYE: Fate = Fate::GoAway(PROTOCOL_ERROR);

type Case = (&'static str, Fields<'static>, Fate);

/// Asserts the fate of each case, that the app sees none of them, and that only a GOAWAY ends the connection.
async fn assert_fates(cases: &[Case]) {
    let (authority, world) = World::over_tls("").await;
    let mut wrong = Vec::new();
    for (name, fields, expected) in cases {
        let mut frames = Frames::start(&authority, &world, &[]).await;
        frames.request(END_STREAM, 1, fields).await;
        let fate = frames.fate(1).await;
        frames.request(END_STREAM, 3, &with(get("/open/next"), &[("te", "trailers")])).await;
        let next = frames.fate(3).await;
        let goes_on = if *expected == GOODBYE { Fate::Closed } else { Fate::Status(200) };
        if (fate, next) != (*expected, goes_on) {
            wrong.push((name, fate, next));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(world.store.seen().iter().all(|seen| seen.target() == "/open/next"), "the app saw one of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_fields_that_are_there_twice_or_unknown_are_refused() {
    assert_fates(&[
        ("two paths", with(get("/open/x"), &[(":path", "/open/y")]), RESET),
        ("two authorities", with(get("/open/x"), &[(":authority", "forums.localhost")]), RESET),
        ("two methods", with(get("/open/x"), &[(":method", "POST")]), RESET),
        ("two schemes", with(get("/open/x"), &[(":scheme", "http")]), RESET),
        (
            "a pseudo field after others",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", HOST),
                ("a", "b"),
                (":path", "/open/x"),
            ],
            RESET,
        ),
        ("an unknown pseudo field", with(get("/open/x"), &[(":user", "root")]), GOODBYE),
        ("a status in a request", with(get("/open/x"), &[(":status", "200")]), RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pseudo_fields_that_are_missing_are_refused() {
    assert_fates(&[
        ("no path", vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST)], RESET),
        ("an empty path", get(""), RESET),
        ("no method", vec![(":scheme", "https"), (":authority", HOST), (":path", "/open/x")], RESET),
        ("no scheme", vec![(":method", "GET"), (":authority", HOST), (":path", "/open/x")], RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_and_schemes_that_say_two_things_are_refused() {
    assert_fates(&[
        ("no authority", vec![(":method", "GET"), (":scheme", "https"), (":path", "/open/x")], BAD),
        (
            "an empty authority",
            vec![(":method", "GET"), (":scheme", "https"), (":authority", ""), (":path", "/open/x")],
            RESET,
        ),
        ("another host", with(get("/open/x"), &[("host", "forums.localhost")]), BAD),
        ("two hosts", with(get("/open/x"), &[("host", HOST), ("host", HOST)]), BAD),
        (
            "user information",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "a@store.localhost"),
                (":path", "/open/x"),
            ],
            BAD,
        ),
        (
            "a path in the authority",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "store.localhost/x"),
                (":path", "/open/x"),
            ],
            RESET,
        ),
        (
            "the scheme of plain HTTP",
            vec![(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/open/x")],
            BAD,
        ),
        (
            "a scheme of no use",
            vec![(":method", "GET"), (":scheme", "ftp"), (":authority", HOST), (":path", "/open/x")],
            BAD,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_are_none_are_refused() {
    assert_fates(&[
        ("a path without a slash", get("open/x"), RESET),
        ("an absolute path", get("https://store.localhost/open/x"), RESET),
        ("two slashes", get("//store.localhost/open/x"), BAD),
        ("a star", get("*"), BAD),
        ("a space in the path", get("/open/x y"), RESET),
        ("CR LF in the path", get("/open/x\r\nx-auth-user: root"), RESET),
        ("NUL in the path", get("/open/x\0"), RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_the_gateway_does_not_have_are_refused() {
    assert_fates(&[
        (
            "TRACE",
            vec![(":method", "TRACE"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")],
            Fate::Status(405),
        ),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", HOST)], Fate::Status(405)),
        (
            "CONNECT with a path",
            vec![(":method", "CONNECT"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")],
            RESET,
        ),
        (
            "extended CONNECT",
            vec![
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/open/socket"),
            ],
            RESET,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_http_2_does_not_have_are_refused() {
    assert_fates(&[
        ("connection", with(get("/open/x"), &[("connection", "x-auth-user")]), RESET),
        ("keep-alive", with(get("/open/x"), &[("keep-alive", "1")]), RESET),
        ("proxy-connection", with(get("/open/x"), &[("proxy-connection", "close")]), RESET),
        ("upgrade", with(get("/open/x"), &[("upgrade", "websocket")]), RESET),
        ("transfer-encoding", with(get("/open/x"), &[("transfer-encoding", "chunked")]), RESET),
        ("te", with(get("/open/x"), &[("te", "gzip")]), RESET),
        ("a name in upper case", with(get("/open/x"), &[("X-Auth-User", "root")]), GOODBYE),
        ("a space in a name", with(get("/open/x"), &[("x auth", "root")]), GOODBYE),
        ("a colon in a name", with(get("/open/x"), &[("x:auth", "root")]), GOODBYE),
        ("an empty name", with(get("/open/x"), &[("", "root")]), GOODBYE),
        ("CR LF in a value", with(get("/open/x"), &[("x", "a\r\nx-auth-user: root")]), GOODBYE),
        ("NUL in a value", with(get("/open/x"), &[("x", "a\0b")]), GOODBYE),
        ("two lengths", with(get("/open/x"), &[("content-length", "0"), ("content-length", "1")]), RESET),
        ("a signed length", with(get("/open/x"), &[("content-length", "+0")]), RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_another_length_than_they_say_are_reset() {
    let (authority, world) = World::over_tls("").await;
    let post = |length| {
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")];
        with(fields.to_vec(), &[("content-length", length)])
    };
    let hello = frame(DATA, END_STREAM, 1, b"hello");
    let trailers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[("a", "b")]));
    for (name, length, flags, body) in [
        ("shorter", "6", 0, vec![hello.clone()]),
        ("longer", "4", 0, vec![hello.clone()]),
        ("longer at last", "6", 0, vec![frame(DATA, 0, 1, b"hello"), hello.clone()]),
        ("something for nothing", "0", 0, vec![hello]),
        ("nothing for something", "5", END_STREAM, vec![]),
        ("shorter with trailers", "6", 0, vec![frame(DATA, 0, 1, b"hello"), trailers]),
    ] {
        let mut frames = Frames::start(&authority, &world, &[]).await;
        frames.request(flags, 1, &post(length)).await;
        frames.send_all(&body).await;
        let fate = frames.fate(1).await;
        // One that says it has no body is whole with its head, and may be answered before more comes.
        let is_early = length == "0" && fate == Fate::Status(200);
        assert!(is_early || fate == Fate::Reset(PROTOCOL_ERROR), "{name}: {fate:?}");
        frames.request(END_STREAM, 3, &get("/open/next")).await;
        assert_eq!(frames.fate(3).await, Fate::Status(200), "{name}");
    }
    let whole = world
        .store
        .seen()
        .into_iter()
        .filter(|seen| seen.head.get("content-length").is_some_and(|length| length != "0"));
    assert_eq!(whole.count(), 0, "never as a whole");
    assert!(world.store.seen().iter().all(|seen| seen.body.bytes.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_dropped() {
    let (authority, world) = World::over_tls("").await;
    let mut client = Http2Client::start(&authority, &world).await;
    let request = client.request("POST", "/open/x").header("trailer", "x-auth-user").body(()).unwrap();
    let (response, mut sending) = client.requests.send_request(request, false).unwrap();
    sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-auth-user", "root".parse().unwrap());
    trailers.insert("authorization", "Bearer x".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    assert_eq!(patiently("an answer", response).await.unwrap().status(), 200);
    let seen = world.store.last("/open/x");
    assert_eq!((seen.body.bytes.as_slice(), seen.body.trailers.len()), (b"hello".as_slice(), 0));
    for name in ["x-auth-user", "authorization", "trailer"] {
        assert_eq!(seen.head.all(name), Vec::<&str>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_mean_the_same_however_they_are_split() {
    let (authority, world) = World::over_tls("[server.limits]\nmax_header_size = '8KiB'\n").await;
    let mut client = Http2Client::start(&authority, &world).await;
    client.log_in().await;
    let jwt = client.jar[ACCESS].clone();
    client.jar.clear();
    let cart = |client: &Http2Client, cookies: &[String]| {
        let request = client.request("GET", "/api/cart");
        cookies.iter().fold(request, |request, cookie| request.header("cookie", cookie))
    };
    let genuine = format!("{ACCESS}={jwt}");
    for cookies in [
        vec!["a=1".to_owned(), genuine.clone(), "b=2".to_owned()],
        vec![format!("a=1; {genuine}"), "b=2; c=3".to_owned()],
    ] {
        assert_eq!(client.send(cart(&client, &cookies), None).await.unwrap().status(), 200);
        let seen = world.store.last("/api/cart");
        assert_eq!(seen.head.all("cookie").len(), 1);
        assert!(seen.head.get("cookie").is_some_and(|seen| seen.starts_with("a=1; b=2")), "{:?}", seen.head);
    }
    // Tossed in, whatever the order.
    for cookies in [
        [genuine.clone(), format!("{ACCESS}=x")],
        [format!("{ACCESS}=x"), genuine.clone()],
        [genuine.clone(), genuine.clone()],
    ] {
        client.send(cart(&client, &cookies), None).await.unwrap().assert_problem(401, "not_logged_in");
    }
    // A hundred fields are a few here: browsers send one for each cookie.
    let many: Vec<_> = (0..150).map(|number| format!("c{number}=x")).chain([genuine.clone()]).collect();
    assert_eq!(client.send(cart(&client, &many), None).await.unwrap().status(), 200);
    let large: Vec<_> = (0..9).map(|number| format!("c{number}={}", "x".repeat(900))).collect();
    client.send(cart(&client, &large), None).await.unwrap().assert_problem(431, "header_too_large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_far_too_large_is_answered_without_being_kept() {
    let (authority, world) = World::over_tls("[server.limits]\nmax_header_size = '4KiB'\n").await;
    let mut frames = Frames::start(&authority, &world, &[]).await;
    let value = "x".repeat(15_000);
    let large = block(&[get("/open/x"), vec![]].concat());
    let field = block(&[("x", &value)]);
    frames
        .send_all(&[
            frame(HEADERS, END_STREAM, 1, &large),
            frame(CONTINUATION, 0, 1, &field),
            frame(CONTINUATION, END_HEADERS, 1, &field),
        ])
        .await;
    assert_eq!(frames.fate(1).await, Fate::Status(431));
    frames.request(END_STREAM, 3, &get("/open/next")).await;
    assert_eq!(frames.fate(3).await, Fate::Status(200));
    assert_eq!(world.store.heads(), 1);
}
