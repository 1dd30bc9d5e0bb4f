//! A server that stops serves its open streams for as long as its grace lasts, with everything that they depend on.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use portcullis::system::clock::ManualClock;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::ended_streams::closing;
use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::certificates::Authority;
use crate::support::client::request_bytes;
use crate::support::http2::{Call, Http2App};
use crate::support::provider::Provider;
use crate::support::{
    App, Browser, Endpoint, Http2Client, Reply, Request, World, patiently, store_at, wait_for,
};

const ADMIN_TOKEN: &str = "an admin token of the tests";

/// The ways in which a session ends.
#[derive(Debug, Clone, Copy)]
enum How {
    Revoked,
    Expired,
}

const WAYS: [How; 2] = [How::Revoked, How::Expired];

/// A server that no longer listens, with what was open then.
struct Stopping {
    admin: SocketAddr,
    clock: Arc<ManualClock>,
    server: JoinHandle<()>,
    provider: Provider,
    /// For as long as this lives.
    _apps: [App; 2],
}

impl Stopping {
    async fn of(world: World) -> Self {
        let World { clock, provider, store, forums, gateway, .. } = world;
        let (address, admin) = (gateway.address, gateway.admin);
        let server = tokio::spawn(gateway.stop());
        patiently("the end of accepting", async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        Self { admin, clock, server, provider, _apps: [store, forums] }
    }

    async fn end_session(&self, how: How) {
        match how {
            How::Expired => self.clock.advance(320),
            How::Revoked => {
                let request = Request::post("/sessions/revoke")
                    .header("Authorization", &format!("Bearer {ADMIN_TOKEN}"))
                    .json(&json!({"sub": "id-of-ada"}));
                Browser::new(self.admin, "localhost").send(request).await.assert_status(204);
            }
        }
    }

    /// Without waiting for the grace period, since nothing is open any more.
    async fn ends(self) {
        patiently("the server's end", self.server).await.unwrap();
    }
}

fn config(more: &str) -> String {
    format!("{more}\n[server]\nshutdown_grace = '1h'\nadmin_token = '{ADMIN_TOKEN}'\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_ends_with_its_session_while_the_server_stops() {
    for how in WAYS {
        let world = World::with(&config("")).await;
        world.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
        let browser = world.logged_in("ada").await;
        let (_, mut socket) = web_socket(&browser, &upgrade("/api/socket")).await.expect("101");
        hear(&mut socket).await;
        let stopping = Stopping::of(world).await;
        assert_eq!(say(&mut socket, "still there?").await, "still there?");
        stopping.end_session(how).await;
        assert_eq!(closing(&mut socket).await, Some((4401, "session ended".to_owned())), "{how:?}");
        drop(socket);
        stopping.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_stream_ends_with_its_session_while_the_server_stops() {
    for how in WAYS {
        let world = World::with(&config("")).await;
        let (events, _keep) = broadcast::channel(16);
        world.store.on("/api/events", Reply::Events(events));
        let browser = world.logged_in("ada").await;
        let mut wire = browser.clone().open().await;
        wire.send(request_bytes(&browser, &Request::get("/api/events"))).await.unwrap();
        patiently("a head", wire.head()).await.unwrap().expect("a head");
        let stopping = Stopping::of(world).await;
        stopping.end_session(how).await;
        patiently("the end", async { while wire.fill().await.is_ok_and(|more| more) {} }).await;
        assert!(!wire.buffer.ends_with(b"0\r\n\r\n"), "{how:?}: it must not look complete");
        stopping.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_grpc_ends_with_its_session_while_the_server_stops() {
    for how in WAYS {
        let app = Http2App::start(async |mut call: Call| {
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = call.respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let _reason = std::future::poll_fn(|context| stream.poll_reset(context)).await;
        })
        .await;
        let authority = Authority::for_store();
        let upstream = store_at(&app.url());
        let world = World::builder().await.lay_over(&authority.server(&["store"]));
        let world = world.lay_over(&upstream).lay_over(&config("")).start().await;
        let mut client = Http2Client::logged_in(&authority, &world).await;
        let (response, _sending) = client.call("/shop.Cart/Watch");
        let mut body = patiently("a head", response).await.unwrap().into_body();
        assert_eq!(patiently("a message", body.data()).await.unwrap().unwrap(), "first");
        let stopping = Stopping::of(world).await;
        stopping.end_session(how).await;
        assert!(
            matches!(patiently("the end", body.data()).await, Some(Err(_))),
            "{how:?}: cut, not finished"
        );
        stopping.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_for_as_long_as_something_is_open() {
    let world = World::with(&config("[identity_providers.main]\njwks_refresh = '20ms'")).await;
    world.store.on("/open/socket", Reply::after(50, Reply::WebSocket));
    let (_, mut socket) = web_socket(&world.browser(), &upgrade("/open/socket")).await.expect("101");
    hear(&mut socket).await;
    let stopping = Stopping::of(world).await;
    let before = stopping.provider.count(Endpoint::Jwks);
    wait_for("another fetch", || stopping.provider.count(Endpoint::Jwks) > before + 2).await;
    drop(socket);
    stopping.ends().await;
}
