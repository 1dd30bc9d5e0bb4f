//! One exact message goes to an app, and its connection serves another request only if both the request and its answer
//! ended cleanly on it. The examples; `exchanges_property.rs` has the rule.

use bytes::Bytes;
use http::HeaderMap;

use crate::support::certificates::Authority;
use crate::support::client::receive;
use crate::support::http2::{read, write};
use crate::support::http2_client::answer;
use crate::support::strict::{StrictApp, digest};
use crate::support::{Http2Client, World, patiently, store_at, wait_for};

/// A world whose store is this app.
async fn world(app: &StrictApp) -> (Authority, World) {
    World::over_tls(&store_at(&app.url())).await
}

/// Other people's requests get their own answers, and the app has seen nothing but requests.
async fn assert_nobody_else_is_hit(app: &StrictApp, world: &World, what: &str) {
    for number in 0..3 {
        let answer = world.browser().get(&format!("/open/play?id=other{number}")).await;
        assert_eq!(answer.text(), format!("id=other{number} {}", digest(b"")), "{what}");
    }
    assert_eq!(app.faults(), Vec::<String>::new(), "{what}");
}

/// The ways in which a body over HTTP/2 ends.
#[derive(Debug, Clone, Copy)]
enum End {
    WithTheLastBytes,
    EmptyFrame,
    Trailers,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_http_2_reaches_the_app_with_one_end_however_it_ends() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let mut client = Http2Client::start(&authority, &world).await;
    for end in [End::WithTheLastBytes, End::EmptyFrame, End::Trailers] {
        for (number, pieces) in [&["hello"][..], &["he", "", "llo"], &[""], &[]].into_iter().enumerate() {
            let what = format!("{end:?} {pieces:?}");
            let id = format!("{end:?}{number}");
            let request = client.request("POST", &format!("/open/play?id={id}")).body(()).unwrap();
            let (response, mut sending) = client.requests.send_request(request, false).unwrap();
            for (index, piece) in pieces.iter().enumerate() {
                let is_last = matches!(end, End::WithTheLastBytes) && index + 1 == pieces.len();
                sending.send_data(Bytes::from_static(piece.as_bytes()), is_last).unwrap();
                // Each in its own time, so that nobody may take them together.
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
            match end {
                End::WithTheLastBytes if !pieces.is_empty() => {}
                End::WithTheLastBytes | End::EmptyFrame => sending.send_data(Bytes::new(), true).unwrap(),
                End::Trailers => sending.send_trailers(HeaderMap::new()).unwrap(),
            }
            let body = pieces.concat();
            let answer = answer(response).await.expect("an answer");
            assert_eq!(
                answer.body.unwrap(),
                format!("id={id} {}", digest(body.as_bytes())).into_bytes(),
                "{what}"
            );
            assert_nobody_else_is_hit(&app, &world, &what).await;
            let got = app.received().into_iter().find(|received| received.id == id).expect("the request");
            assert!(got.is_whole && got.body == body.as_bytes(), "{what}: {got:?}");
        }
    }
    let received = app.received();
    let connections = received.iter().map(|received| received.connection).max().unwrap();
    assert!(connections < received.len() / 2, "what ended cleanly is used again: {connections}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_after_the_answer_is_not_the_next_request() {
    for coding in ["Content-Length: 60\r\n", "Transfer-Encoding: chunked\r\n"] {
        for expect in ["Expect: 100-continue\r\n", "Expect: 100-Continue\r\n", ""] {
            let app = StrictApp::start().await;
            let (_authority, world) = world(&app).await;
            let mut wire = world.browser().open().await;
            let head = format!(
                "POST /open/play?id=1&play=early-stay HTTP/1.1\r\nHost: store.localhost\r\n{expect}{coding}\r\n"
            );
            wire.send(&head).await.unwrap();
            let answer =
                patiently("the refusal", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
            assert_eq!((answer.status(), answer.text().as_str()), (403, "id=1 early"), "{head}");
            let smuggled = "GET /open/play?id=smuggled HTTP/1.1\r\nHost: store.localhost\r\n\r\n".to_owned();
            let body = match coding {
                "Content-Length: 60\r\n" => format!("{smuggled:60}"),
                _ => format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len()),
            };
            // The client may be gone for the gateway by now.
            let _ = wire.send(body).await;
            assert_nobody_else_is_hit(&app, &world, &head).await;
            assert!(app.received().iter().all(|received| received.id != "smuggled"), "{head}");
            assert!(app.received()[0].body.is_empty(), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_is_answered_here_and_only_for_requests_that_go_to_the_app() {
    let app = StrictApp::start().await;
    let (_authority, world) = world(&app).await;
    let interim = |head: String, body: &'static str| {
        let world = &world;
        async move {
            let mut wire = world.browser().open().await;
            wire.send(&head).await.unwrap();
            if !body.is_empty() {
                let first = patiently("100 Continue", wire.head()).await.unwrap().expect("a head");
                assert_eq!(first.status(), 100, "{head}");
                wire.send(body).await.unwrap();
            }
            let answer =
                patiently("the answer", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
            (answer.status(), answer.interim.len(), answer.text())
        }
    };
    let head = |method: &str, target: &str, version: &str, fields: &str| {
        format!("{method} {target} HTTP/{version}\r\nHost: store.localhost\r\n{fields}\r\n")
    };
    let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let own = |id: &str, body: &str| format!("id={id} {}", digest(body.as_bytes()));
    // It waits for the 100, and gets it though the app says nothing.
    let asked = interim(head("POST", "/open/play?id=1", "1.1", expect), "hello").await;
    assert_eq!(asked, (200, 0, own("1", "hello")));
    // Refused: no body is asked for in vain.
    let refused = interim(head("POST", "/api/play?id=2", "1.1", expect), "").await;
    assert_eq!((refused.0, refused.1), (401, 0));
    // A client of HTTP/1.0 knows no 100; nobody waits for a body that there is none of.
    let (old, none) = (format!("{expect}\r\nhello"), "Expect: 100-continue\r\nContent-Length: 0\r\n");
    let old = old.replacen("\r\n\r\n\r\n", "\r\n\r\n", 1);
    let bytes = format!("POST /open/play?id=3 HTTP/1.0\r\nHost: store.localhost\r\n{old}");
    assert_eq!(interim(bytes, "").await, (200, 0, own("3", "hello")));
    assert_eq!(interim(head("POST", "/open/play?id=4", "1.1", none), "").await, (200, 0, own("4", "")));
    // What is not known is not passed on either: the gateway cannot keep the promise.
    for other in ["Expect: 100-continue, x\r\n", "Expect: x\r\n", "Expect: 100-continue\r\nExpect: x\r\n"] {
        let fields = format!("{other}Content-Length: 5\r\n");
        let answer = interim(head("POST", "/open/play?id=5", "1.1", &fields) + "hello", "").await;
        assert_eq!((answer.0, answer.2), (200, own("5", "hello")), "{other:?}");
    }
    assert_eq!(app.faults(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_http_1_1_ends_with_an_answer_that_comes_early() {
    for play in ["early", "early-close", "early-stay"] {
        for coding in ["Content-Length: 10000000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let app = StrictApp::start().await;
            let (_authority, world) = world(&app).await;
            let mut wire = world.browser().open().await;
            let head =
                format!("POST /open/play?id=1&play={play} HTTP/1.1\r\nHost: store.localhost\r\n{coding}\r\n");
            wire.send(&head).await.unwrap();
            let answer =
                patiently("the answer", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
            assert_eq!(answer.text(), "id=1 early", "{head}");
            assert_eq!(answer.header("connection"), Some("close"), "{head}");
            // As fast as anyone may ask for, for ever: only the gateway ends this.
            patiently("the end of the connection", async {
                while wire.send(format!("400\r\n{}\r\n", "x".repeat(0x400))).await.is_ok() {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            })
            .await;
            assert_nobody_else_is_hit(&app, &world, &head).await;
            assert!(app.received().iter().all(|received| received.id != "1" || !received.is_whole), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_http_2_is_reset_without_an_error_after_an_answer_that_comes_early() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let mut client = Http2Client::start(&authority, &world).await;
    for target in [
        "/open/play?id=1&play=early",
        "/open/play?id=1&play=early-close",
        "/open/play?id=1&play=early-stay",
        "/api/x",
    ] {
        for length in [None, Some(10_000_000)] {
            let mut request = client.request("POST", target);
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let (response, mut sending) =
                client.requests.send_request(request.body(()).unwrap(), false).unwrap();
            if !target.contains("early-stay") {
                // It may be answered already.
                let _ = sending.send_data(Bytes::from_static(b"some"), false);
            }
            let (head, mut body) = patiently("the answer", response).await.unwrap().into_parts();
            let bytes = patiently("the body", read(&mut body)).await.expect("whole");
            if target == "/api/x" {
                assert_eq!(head.status, 401);
            } else {
                assert_eq!((head.status.as_u16(), bytes.as_slice()), (403, b"id=1 early".as_slice()));
            }
            // As fast as anyone may ask for, for ever: only the gateway ends this.
            let reset = patiently("the reset", async {
                loop {
                    let reset = std::future::poll_fn(|context| sending.poll_reset(context));
                    match tokio::time::timeout(std::time::Duration::from_millis(50), reset).await {
                        Ok(reset) => return reset.unwrap(),
                        Err(_) => drop(sending.send_data(Bytes::from_static(&[b'x'; 400]), false)),
                    }
                }
            })
            .await;
            assert_eq!(reset, h2::Reason::NO_ERROR, "{target} {length:?}");
        }
    }
    // The connection lives, and what was sent in vain has given its window back.
    let request = client.request("POST", "/open/play?id=last").body(()).unwrap();
    let (response, mut sending) = client.requests.send_request(request, false).unwrap();
    patiently("room", write(&mut sending, vec![b'x'; 3_000_000].into())).await.unwrap();
    sending.send_data(Bytes::new(), true).unwrap();
    assert_eq!(answer(response).await.unwrap().status(), 200);
    assert_nobody_else_is_hit(&app, &world, "after resets").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_answers_and_reads_no_more_is_heard() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let mut wire = world.browser().open().await;
    wire.send("POST /open/play?id=1&play=early-deaf HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 100000000\r\n\r\n")
        .await
        .unwrap();
    let (mut reading, mut writing) = wire.stream.split();
    let uploading = async {
        use tokio::io::AsyncWriteExt;
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..1600 {
            if writing.write_all(&piece).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let hearing = async {
        use tokio::io::AsyncReadExt;
        let mut heard = Vec::new();
        while !heard.ends_with(b"id=1 early") {
            assert!(reading.read_buf(&mut heard).await.unwrap() > 0, "{}", heard.escape_ascii());
        }
    };
    patiently("the answer", async {
        tokio::select! { () = uploading => {} () = hearing => {} }
    })
    .await;

    let mut client = Http2Client::start(&authority, &world).await;
    let request = client.request("POST", "/open/play?id=2&play=early-deaf").body(()).unwrap();
    let (response, mut sending) = client.requests.send_request(request, false).unwrap();
    let uploading = async move { write(&mut sending, vec![b'x'; 100_000_000].into()).await };
    let uploading = tokio::spawn(uploading);
    assert_eq!(answer(response).await.unwrap().body.unwrap(), b"id=2 early");
    patiently("the end of the upload", uploading).await.unwrap().unwrap_err();
    assert_nobody_else_is_hit(&app, &world, "after a deaf app").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_app_says_unasked_on_an_idle_connection_is_nobody_s_answer() {
    let app = StrictApp::start().await;
    let (_authority, world) = world(&app).await;
    for number in 0..10 {
        let id = format!("unasked{number}");
        let answer = world.browser().get(&format!("/open/play?id={id}&play=unasked")).await;
        assert_eq!(answer.text(), format!("id={id} {}", digest(b"")));
        wait_for("the surplus", || app.find(&id).is_some_and(|received| received.had_surplus)).await;
        assert_nobody_else_is_hit(&app, &world, &id).await;
    }
}
