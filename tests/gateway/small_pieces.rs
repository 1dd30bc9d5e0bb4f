//! Bodies come in the smallest of pieces. Pieces that arrive together go on together, in both directions.

use bytes::Bytes;

use crate::support::certificates::Authority;
use crate::support::client::receive;
use crate::support::http2_client::answer;
use crate::support::strict::{StrictApp, TINY, digest};
use crate::support::wire::Body;
use crate::support::{Http2Client, World, patiently, store_at};

const BYTES: usize = 50_000;
const FRAMES: usize = 12_000;

async fn world(app: &StrictApp) -> (Authority, World) {
    World::over_tls(&store_at(&app.url())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_chunks_of_one_byte_is_merged() {
    let app = StrictApp::start().await;
    let (_authority, world) = world(&app).await;
    let mut wire = world.browser().open().await;
    let coded = "1\r\nx\r\n".repeat(BYTES) + "0\r\n\r\n";
    let head = "POST /open/play?id=1 HTTP/1.1\r\nHost: store.localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{head}{coded}")).await.unwrap();
    let answer = patiently("the answer", receive(&mut wire, "POST", 1 << 16)).await.expect("an answer");
    assert_eq!(answer.text(), format!("id=1 {}", digest(&vec![b'x'; BYTES])));
    let received = app.find("1").unwrap();
    assert!(received.is_whole && received.chunks < BYTES / 50, "{} chunks", received.chunks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_http_2_in_frames_of_one_byte_is_merged() {
    let app = StrictApp::start().await;
    let (authority, world) = world(&app).await;
    let mut client = Http2Client::start(&authority, &world).await;
    let request = client.request("POST", "/open/play?id=1").body(()).unwrap();
    let (response, mut sending) = client.requests.send_request(request, false).unwrap();
    // All at once: nobody may take it for an attack.
    for _ in 0..FRAMES {
        sending.send_data(Bytes::from_static(b"x"), false).unwrap();
    }
    sending.send_data(Bytes::new(), true).unwrap();
    let answer = answer(response).await.expect("an answer");
    assert_eq!(answer.body.unwrap(), format!("id=1 {}", digest(&vec![b'x'; FRAMES])).into_bytes());
    let received = app.find("1").unwrap();
    assert!(received.is_whole && received.chunks < FRAMES / 20, "{} chunks", received.chunks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_chunks_of_one_byte_is_merged() {
    let app = StrictApp::start().await;
    let (_authority, world) = world(&app).await;
    let mut wire = world.browser().open().await;
    for _ in 0..2 {
        wire.send("GET /open/play?id=1&play=tiny-chunks HTTP/1.1\r\nHost: store.localhost\r\n\r\n")
            .await
            .unwrap();
        let head = patiently("the head", wire.head()).await.unwrap().expect("a head");
        assert_eq!(head.get("transfer-encoding"), Some("chunked"));
        let (mut body, mut chunks) = (Body::default(), 0);
        while patiently("a chunk", wire.chunk(1 << 20, &mut body)).await.unwrap().is_some() {
            chunks += 1;
        }
        assert_eq!(body.bytes, vec![b'x'; TINY]);
        assert!(chunks < TINY / 50, "{chunks} chunks");
    }
    let connections = app.received().iter().map(|received| received.connection).max();
    assert!(connections <= Some(2), "it ended cleanly");
}
