//! gRPC through the gateway: HTTP/2 on both sides, with trailers, streams, deadlines and sessions.

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::certificates::{Authority, terminator_for};
use crate::support::http2::{Call, Http2App, read, write};
use crate::support::http2_client::answer;
use crate::support::{Http2Client, World, patiently, store_at, wait_for};

/// A world whose store is this app, reached over TLS.
async fn world(app: &Http2App, more: &str) -> (Authority, World) {
    World::over_tls(&(store_at(&app.url()) + more)).await
}

fn grpc() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn status(code: &'static str, message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    trailers.insert("grpc-message", message.parse().unwrap());
    trailers
}

/// Answers with the message that came, and with trailers.
async fn unary(mut call: Call) {
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
async fn without_a_session_the_call_is_a_401_which_clients_read_as_unauthenticated() {
    let app = Http2App::start(unary).await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::start(&authority, &world).await;
    let answer = client.unary("/shop.Cart/Add", b"").await.unwrap();
    assert_eq!((answer.status(), answer.json()["code"].as_str()), (401, Some("not_logged_in")));
    assert!(app.seen().is_empty());
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
async fn bidirectional(mut call: Call) {
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

/// An app that answers with a head alone and takes no message, and then tells with which reason its calls were reset.
async fn waiting_for_a_reset() -> (Http2App, UnboundedReceiver<Option<h2::Reason>>) {
    let (cancelled, was_cancelled) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let cancelled = cancelled.clone();
        async move {
            let mut stream = call.respond.send_response(grpc(), false).unwrap();
            let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            cancelled.send(reason.ok()).unwrap();
        }
    })
    .await;
    (app, was_cancelled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_the_client_cancels_is_cancelled_at_the_app() {
    let (app, mut was_cancelled) = waiting_for_a_reset().await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Watch");
    let body = patiently("a head", response).await.unwrap();
    sending.send_reset(h2::Reason::CANCEL);
    drop(body);
    assert_eq!(patiently("the reset", was_cancelled.recv()).await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_with_its_session() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let ended = ended.clone();
        async move {
            let mut stream = call.respond.send_response(grpc(), false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let _reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut browser = world.logged_in("ada").await;
    let mut client = Http2Client::start(&authority, &world).await;
    client.jar.clone_from(&browser.jar);
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    assert_eq!(patiently("a message", body.data()).await.unwrap().unwrap(), "first");
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    assert!(matches!(patiently("the end", body.data()).await, Some(Err(_))), "cut, not finished");
    patiently("the app's stream to end, too", has_ended.recv()).await.unwrap();
    wait_for("the app's request", || !app.seen().is_empty()).await;
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
async fn a_cancel_reaches_an_app_that_takes_no_messages() {
    let (app, mut was_cancelled) = waiting_for_a_reset().await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, mut sending) = client.call("/shop.Cart/Upload");
    let _body = patiently("a head", response).await.unwrap();
    // More than anybody on the way takes.
    let stuck = write(&mut sending, vec![7; 8 * 1024 * 1024].into());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(500), stuck).await.is_err());
    sending.send_reset(h2::Reason::CANCEL);
    assert_eq!(patiently("the reset", was_cancelled.recv()).await, Some(Some(h2::Reason::CANCEL)));
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
async fn a_call_that_was_not_processed_is_made_again_with_its_messages() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let app = Http2App::start(move |mut call: Call| {
        let number = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            match number {
                0 => {
                    let _first = call.body.data().await;
                    call.respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                2 => call.respond.send_reset(h2::Reason::INTERNAL_ERROR),
                _ => unary(call).await,
            }
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let answer = client.unary("/shop.Cart/Add", b"again").await.unwrap();
    assert_eq!((answer.status(), answer.body.as_deref().unwrap()), (200, b"again".as_slice()));
    assert_eq!(app.seen().len(), 2);
    let failed = client.unary("/shop.Cart/Add", b"once").await.unwrap();
    assert_eq!((failed.status(), failed.json()["code"].as_str()), (502, Some("upstream_unavailable")));
    assert_eq!(app.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_the_app_says_goodbye() {
    let app = Http2App::start(unary).await;
    let (authority, world) = world(&app, "").await;
    let jar = world.logged_in("ada").await.jar;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = Http2Client::start(&authority, &world).await;
        client.jar.clone_from(&jar);
        clients.spawn(async move {
            for _ in 0..40 {
                let answer = client.unary("/shop.Cart/Add", b"message").await.unwrap();
                assert_eq!((answer.status(), answer.trailers["grpc-status"].to_str().unwrap()), (200, "0"));
            }
        });
    }
    while !clients.is_empty() {
        app.say_goodbye();
        if let Ok(Some(client)) =
            tokio::time::timeout(std::time::Duration::from_millis(30), clients.join_next()).await
        {
            client.unwrap();
        }
    }
    assert_eq!(app.seen().len(), 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_or_dead_app_is_told_as_for_any_request() {
    let app = Http2App::start(async |_call: Call| std::future::pending().await).await;
    let (authority, world) = world(&app, "[apps.store.timeouts]\nresponse = '1s'\n").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let late = client.unary("/shop.Cart/Add", b"message").await.unwrap();
    assert_eq!((late.status(), late.json()["code"].as_str()), (504, Some("upstream_timeout")));
    app.listening().down();
    let down = client.unary("/shop.Cart/Add", b"message").await.unwrap();
    assert_eq!((down.status(), down.json()["code"].as_str()), (502, Some("upstream_unavailable")));
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
async fn a_call_ends_with_its_session_though_the_app_has_not_said_anything_yet() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let app = Http2App::start(move |mut call: Call| {
        let ended = ended.clone();
        async move {
            let mut taken = 0;
            // A client's stream of messages is answered at its end only.
            while let Some(Ok(chunk)) = call.body.data().await {
                taken += chunk.len();
                let _ = call.body.flow_control().release_capacity(chunk.len());
            }
            ended.send(taken).unwrap();
        }
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut browser = world.logged_in("ada").await;
    let mut client = Http2Client::start(&authority, &world).await;
    client.jar.clone_from(&browser.jar);
    let (response, mut sending) = client.call("/shop.Cart/Collect");
    sending.send_data(Bytes::from_static(b"first"), false).unwrap();
    wait_for("the app's request", || !app.seen().is_empty()).await;
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    assert!(patiently("the end", response).await.is_err(), "cut, not answered");
    assert_eq!(patiently("the app's stream to end, too", has_ended.recv()).await, Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_reset() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(grpc(), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    assert_eq!(patiently("a message", body.data()).await.unwrap().unwrap(), "half");
    assert!(matches!(patiently("the end", body.data()).await, Some(Err(_))), "reset, not ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_no_larger_than_a_head_may_be() {
    let app = Http2App::start(async |mut call: Call| {
        let mut stream = call.respond.send_response(grpc(), false).unwrap();
        let mut trailers = status("0", "");
        for number in 0..200 {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            trailers.insert(name, "x".repeat(8000).parse().unwrap());
        }
        stream.send_trailers(trailers).unwrap();
    })
    .await;
    let (authority, world) = world(&app, "").await;
    let mut client = Http2Client::logged_in(&authority, &world).await;
    let (response, _sending) = client.call("/shop.Cart/Watch");
    let mut body = patiently("a head", response).await.unwrap().into_body();
    let _nothing = patiently("the body's end", body.data()).await;
    assert!(patiently("trailers", body.trailers()).await.is_err(), "reset instead");
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
async fn what_calls_itself_grpc_ends_with_its_session_whatever_the_app_speaks() {
    let world = World::start().await;
    let mut browser = world.logged_in("ada").await;
    let mut wire = browser.open().await;
    let cookies = browser.cookie_header().unwrap();
    let head = format!(
        "POST /api/collect HTTP/1.1\r\nHost: store.localhost\r\nContent-Type: application/grpc\r\nCookie: {cookies}\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    );
    wire.send(&head).await.unwrap();
    wait_for("the app's request", || world.store.heads() > 0).await;
    browser.send(crate::support::Request::post("/api/logout")).await.assert_status(204);
    let answer = patiently("the end", wire.head()).await;
    assert!(matches!(answer, Ok(None) | Err(_)), "{answer:?}");
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
