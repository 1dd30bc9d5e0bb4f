//! One exact message goes to an app, and its connection serves another request only if both the request and its answer ended
//! cleanly on it. The examples; `exchanges_property.rs` has the rule.

use bytes::Bytes;
use http::HeaderMap;

use crate::support::certificates::Authority;
use crate::support::http2::{Http2Client, answer};
use crate::support::strict::{StrictApp, digest};
use crate::support::World;

/// A world whose store is this app.
async fn world(app: &StrictApp) -> (Authority, World) {
    let authority = Authority::new();
    authority.certify("store", &["store.localhost"]);
    let server = authority.server(&["store"]);
    let world = World::with(&format!("{server}[apps.store]\nupstreams = ['{}']\n", app.url())).await;
    (authority, world)
}

/// Other people's requests get their own answers, and the app has seen nothing but requests.
async fn assert_nobody_else_is_hit(app: &StrictApp, world: &World, what: &str) {
    for number in 0..3 {
        let answer = world.browser().get(&format!("/open/play?id=other{number}")).await;
        assert_eq!(answer.text(), format!("id=other{number} {}", digest(b"")), "{what}");
    }
    assert_eq!(app.faults(), Vec::<String>::new(), "{what}");
}

/// How a body over HTTP/2 ends.
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
