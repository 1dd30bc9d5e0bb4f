//! gRPC through the gateway: HTTP/2 on both sides, with trailers and streams.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::support::certificates::{Authority, terminator_for};
use crate::support::http2::{Call, Http2App, read, write};
use crate::support::http2_client::answer;
use crate::support::{Http2Client, World, patiently, store_at};

/// A world whose store is this app, reached over TLS.
pub(crate) async fn world(app: &Http2App, more: &str) -> (Authority, World) {
    World::over_tls(&(store_at(&app.url()) + more)).await
}

pub(crate) fn grpc() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub(crate) fn status(code: &'static str, message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    trailers
}

/// Answers with the message that came, and with trailers.
pub(crate) async fn unary(mut call: Call) {
    let message = read(&mut call.body).await.unwrap();
    let mut stream = call.respond.send_response(grpc(), false).unwrap();
    write(&mut stream, message.into()).await.unwrap();
    let mut trailers = status("0", "fine");
    // None of these is a trailer's to say.
    trailers.insert("x-auth-user", "mallory".parse().unwrap());
    trailers.insert("x_auth_user", "mallory".parse().unwrap());
    trailers.insert("set-cookie", "__Host-access_token=x".parse().unwrap());
    trailers.insert("content-length", "3".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_with_its_identity_and_its_trailers() {
    let app = Http2App::start(unary).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let request = client.request("POST", "/shop.Cart/Add").header("te", "trailers");
    let request = request.header("content-type", "application/grpc+proto").header("grpc-timeout", "10S");
    let request = request.header("x-auth-user", "mallory").header("x_auth_user", "mallory");
    let request = request.header("proxy-authorization", "x").header("trailer", "x-auth-user");
    let (response, mut sending) = client.requests.send_request(request.body(()).unwrap(), false).unwrap();
    sending.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-auth-user", "mallory".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    let answer = answer(response).await.unwrap();
    assert_eq!((answer.status(), answer.body.as_deref().unwrap()), (200, b"\0\0\0\0\x02hi".as_slice()));
    assert_eq!(answer.head.headers["content-type"], "application/grpc");
    assert_eq!(answer.trailers, status("0", "fine"), "and nothing else");
    let seen = app.last();
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "http://store.localhost/shop.Cart/Add"));
    assert_eq!(seen.get("te"), Some("trailers"));
    assert_eq!(
        (seen.get("content-type"), seen.get("grpc-timeout")),
        (Some("application/grpc+proto"), Some("10S"))
    );
    assert_eq!(
        (seen.get("x_auth_user"), seen.get("proxy-authorization"), seen.get("trailer")),
        (None, None, None)
    );
    assert_eq!(seen.get("x-auth-user"), Some("id-of-ada"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!((seen.get("host"), seen.get("cookie"), seen.get("transfer-encoding")), (None, None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_trailers_only() {
    let app = Http2App::start(async |mut call: Call| {
        let mut response = grpc();
        response.headers_mut().extend(status("5", "no such item"));
        call.respond.send_response(response, true).unwrap();
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, _sending) = client.call("/shop.Cart/Add");
    let (head, body) = patiently("an answer", response).await.unwrap().into_parts();
    assert_eq!(head.headers["grpc-status"], "5");
    assert!(body.is_end_stream(), "the head is all of it");
}

/// Answers each chunk as it comes.
pub(crate) async fn bidirectional(mut call: Call) {
    let mut stream = call.respond.send_response(grpc(), false).unwrap();
    while let Some(Ok(chunk)) = call.body.data().await {
        let _ = call.body.flow_control().release_capacity(chunk.len());
        if write(&mut stream, chunk).await.is_err() {
            return;
        }
    }
    let _ = stream.send_trailers(status("0", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_one_by_one() {
    let app = Http2App::start(bidirectional).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Talk");
    let mut body = patiently("a head before any message", response).await.unwrap().into_body();
    for message in ["one", "two", "three"] {
        sending.send_data(Bytes::from(message), false).unwrap();
        let answer = patiently("an answer", body.data()).await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(answer.len());
        assert_eq!(answer, message);
    }
    sending.send_data(Bytes::new(), true).unwrap();
    assert!(patiently("the end", body.data()).await.is_none());
    assert_eq!(patiently("trailers", body.trailers()).await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_in_both_directions_at_once() {
    const SIZE: usize = 24 * 1024 * 1024;
    let app = Http2App::start(bidirectional).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Talk");
    let upload = tokio::spawn(async move {
        write(&mut sending, vec![7; SIZE].into()).await.unwrap();
        sending.send_data(Bytes::new(), true).unwrap();
    });
    let answer = answer(response).await.unwrap();
    assert_eq!(answer.body.unwrap().len(), SIZE);
    assert_eq!(answer.trailers["grpc-status"], "0");
    upload.await.unwrap();
}

/// Answers each KiB with many, before it looks at the next.
async fn generous(mut call: Call) {
    let mut stream = call.respond.send_response(grpc(), false).unwrap();
    let (mut taken, mut answered) = (0, 0);
    while let Some(Ok(chunk)) = call.body.data().await {
        let _ = call.body.flow_control().release_capacity(chunk.len());
        taken += chunk.len();
        while answered < taken / 1024 {
            answered += 1;
            if write(&mut stream, vec![1; 64 * 1024].into()).await.is_err() {
                return;
            }
        }
    }
    let _ = stream.send_trailers(status("0", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_takes_messages_only_between_its_answers_is_not_waited_for_in_vain() {
    let app = Http2App::start(generous).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Ask");
    let upload = tokio::spawn(async move {
        write(&mut sending, vec![7; 256 * 1024].into()).await.unwrap();
        sending.send_data(Bytes::new(), true).unwrap();
    });
    let answer = answer(response).await.unwrap();
    assert_eq!(answer.body.unwrap().len(), 256 * 64 * 1024);
    upload.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_answers_before_it_has_everything() {
    let app = Http2App::start(async |mut call: Call| {
        let mut response = grpc();
        response.headers_mut().extend(status("8", "too much"));
        call.respond.send_response(response, true).unwrap();
        // With that the `h2` crate resets the stream for `NO_ERROR`.
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    for _ in 0..3 {
        let (response, mut sending) = client.call("/shop.Cart/Upload");
        let upload = tokio::spawn(async move { write(&mut sending, vec![7; 8 * 1024 * 1024].into()).await });
        let (head, _) = patiently("an answer", response).await.unwrap().into_parts();
        assert_eq!(head.headers["grpc-status"], "8");
        assert!(patiently("the upload's end", upload).await.unwrap().is_err(), "nobody takes it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_app_must_choose_http_2() {
    let app = Http2App::start(unary).await;
    let (authority, mut worlds) = (Authority::new(), Vec::new());
    authority.certify("store", &["store.localhost"]);
    authority.certify("app", &["127.0.0.1"]);
    for (alpn, expected) in [(b"h2".as_slice(), 200), (b"http/1.1".as_slice(), 502)] {
        let address = terminator_for(&authority, "app", &[alpn], app.listening().address()).await;
        let toml = format!(
            "{}[apps.store]\nupstreams = ['https://{address}']\nupstream_tls = {{ ca = '{}' }}\n",
            authority.server(&["store"]),
            authority.ca()
        );
        let world = World::with(&toml).await;
        let mut client = Http2Client::logged_in(&authority, &world).await;
        let answer = client.unary("/shop.Cart/Add", b"message").await.unwrap();
        assert_eq!(answer.status(), expected);
        assert_eq!(answer.trailers.contains_key("grpc-status"), expected == 200);
        worlds.push(world);
    }
    assert_eq!(app.last().uri, "https://store.localhost/shop.Cart/Add");
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_not_lent_to_who_trusts_somebody_else() {
    let app = Http2App::start(unary).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.certify("store", &["store.localhost"]);
    authority.certify("app", &["app.internal"]);
    let address = terminator_for(&authority, "app", &[b"h2"], app.listening().address()).await;
    let trust = |ca: &Authority, name: &str| {
        format!("[apps.store]\nupstream_tls = {{ ca = '{}', server_name = '{name}' }}\n", ca.ca())
    };
    let trusted = trust(&authority, "app.internal");
    let toml = format!("{}{trusted}upstreams = ['https://{address}']\n", authority.server(&["store"]));
    let world = World::with(&toml).await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    for (trust, expected) in [
        (trusted.clone(), 200),
        (trust(&authority, "other.internal"), 502),
        (trust(&stranger, "app.internal"), 502),
        (trusted, 200),
    ] {
        world.reload(&trust).await;
        let answer = client.unary("/shop.Cart/Add", b"message").await.unwrap();
        assert_eq!(answer.status(), expected, "{trust}");
    }
    assert_eq!(app.last().connection, 1, "it was there all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_call_may_be_as_slow_as_it_likes() {
    let limits = "[server.limits]\nbody_min_rate = '64KiB'\n[apps.store.timeouts]\nresponse = '10m'\n";
    let (authority, world) = World::over_tls(limits).await;
    let over_http1 = ["application/grpc", "application/grpc+proto", "application/grpc-web"].map(|kind| {
        let mut browser = world.browser();
        async move {
            let mut wire = browser.open().await;
            let head = format!(
                "POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            wire.send(head).await.unwrap();
            let status = loop {
                let _ = wire.send("1\r\nx\r\n").await;
                let waited = tokio::time::timeout(std::time::Duration::from_millis(200), wire.head()).await;
                if let Ok(head) = waited {
                    break head.unwrap().expect("a head").status();
                }
            };
            assert_eq!(status, 408, "{kind} over HTTP/1.1");
        }
    });
    let client = Http2Client::start(&authority, &world).await;
    let over_http2 = ["application/grpc-web", "application/grpc-web+proto", "application/grpcfoo"].map(|kind| {
        let mut requests = client.requests.clone();
        let request = client.request("POST", "/open/x").header("content-type", kind).body(()).unwrap();
        async move {
            let (response, mut sending) = requests.send_request(request, false).unwrap();
            let dripping = async {
                loop {
                    let _ = sending.send_data(Bytes::from_static(b"x"), false);
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            };
            let response = tokio::select! { response = response => response.unwrap(), () = dripping => unreachable!() };
            assert_eq!(response.status(), 408, "{kind} over HTTP/2");
        }
    });
    let all = async {
        let (one, two) =
            (futures_util::future::join_all(over_http1), futures_util::future::join_all(over_http2));
        tokio::join!(one, two)
    };
    patiently("the end of all", all).await;
}
