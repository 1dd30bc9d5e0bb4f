//! Bodies in the smallest of pieces: what has arrived together goes on together, on both ways.

use crate::support::certificates::Authority;
use crate::support::client::receive;
use crate::support::strict::{StrictApp, digest};
use crate::support::{World, patiently};

const BYTES: usize = 50_000;

async fn world(app: &StrictApp) -> (Authority, World) {
    let authority = Authority::new();
    authority.certify("store", &["store.localhost"]);
    let server = authority.server(&["store"]);
    let world = World::with(&format!("{server}[apps.store]\nupstreams = ['{}']\n", app.url())).await;
    (authority, world)
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
