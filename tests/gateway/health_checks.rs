//! Health checks of several addresses: each by itself, as its own upstream is spoken to, within its time in total.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::support::certificates::{Authority, terminator_at};
use crate::support::http2::{Http2App, echo};
use crate::support::listening::Listening;
use crate::support::port::neighbours;
use crate::support::wire::Wire;
use crate::support::{App, Reply, World, patiently, wait_for};

/// Far less than a check may take.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns whether an address is healthy by the gateway's metrics, or `None` if it is not among them.
pub(crate) async fn health(world: &World, address: SocketAddr) -> Option<bool> {
    let metrics = world.gateway.metrics().await;
    let series = format!("portcullis_upstream_healthy{{app=\"store\",upstream=\"{address}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value == "1")
}

async fn becomes(world: &World, address: SocketAddr, is_healthy: bool, what: &str) {
    patiently(what, async {
        while health(world, address).await != Some(is_healthy) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A server that says this first, then repeats that for as long as it is listened to. It reads whatever comes.
async fn dripping(first: &'static [u8], then: &'static [u8]) -> Listening {
    Listening::start(move |wire: Wire, _| async move {
        let (mut reading, mut writing) = wire.stream.into_split();
        let drip = async {
            let mut sent = writing.write_all(first).await;
            while sent.is_ok() {
                tokio::time::sleep(PAUSE).await;
                sent = writing.write_all(then).await;
            }
        };
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            () = drip => {}
            _ = tokio::io::copy(&mut reading, &mut nowhere) => {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_not_come_to_an_end_is_down_and_holds_up_no_other() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    let never_ending = [
        ("a head", "http", dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x").await),
        ("fields", "http", dripping(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n").await),
        ("interim answers", "http", dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n").await),
        ("a body", "http", dripping(HEAD, b"1\r\nx\r\n").await),
        ("silence", "http", dripping(b"", b"").await),
        ("a TLS handshake", "https", dripping(b"", b"").await),
        ("a record of TLS", "https", dripping(b"\x16\x03\x03\x40\0", b"\x02").await),
        ("silence in HTTP/2", "h2c", dripping(SETTINGS, b"").await),
        ("frames of HTTP/2", "h2c", dripping(SETTINGS, PING).await),
    ];
    let builder = World::builder().await;
    let mut upstreams: Vec<_> =
        never_ending.iter().map(|(_, scheme, server)| format!("'{scheme}://{}'", server.address())).collect();
    upstreams.push(format!("'{}'", builder.store.url()));
    let toml = format!(
        "[apps.store]\nupstreams = [{}]\n[apps.store.health_check]\npath = '/healthy'\ninterval = '50ms'\ntimeout = '400ms'\n",
        upstreams.join(", ")
    );
    let world = builder.lay_over(&toml).start().await;
    let good = world.store.listening().address();
    for is_sick in [true, false, true, false] {
        let sick = Reply::Raw(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec());
        world.store.on("/healthy", if is_sick { sick } else { Reply::Echo });
        becomes(&world, good, !is_sick, "the state of the one that answers").await;
        for (what, _, server) in &never_ending {
            becomes(&world, server.address(), false, what).await;
        }
    }
    for _ in 0..10 {
        world.browser().get("/open/page").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enough_of_a_body_is_enough() {
    let builder = World::builder().await;
    let second = App::start("second").await;
    let toml = format!(
        "[apps.store]\nupstreams = ['{}', '{}']\n[apps.store.health_check]\npath = '/healthy'\ninterval = '50ms'\ntimeout = '10s'\n",
        builder.store.url(),
        second.url()
    );
    second.on("/healthy", Reply::Raw(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let world = builder.lay_over(&toml).start().await;
    becomes(&world, second.listening().address(), false, "a sick one").await;
    // 1 TiB would take longer than a test is waited for.
    second.on("/healthy", Reply::Download { length: 1 << 40, chunked: true });
    becomes(&world, second.listening().address(), true, "one that sends without end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_upstream_is_checked_by_its_own_name_and_in_what_it_speaks() {
    let authority = Authority::new();
    let builder = World::builder().await;
    let plain = builder.store.listening().address();
    let http2 = Http2App::start(echo).await;
    let mut upstreams = vec![format!("'http://{plain}'")];
    let mut addresses = vec![plain, http2.listening().address()];
    let mut servers = Vec::new();
    let protocols: [&[&[u8]]; 3] = [&[], &[b"h2"], &[b"http/1.1", b"h2"]];
    for (name, alpn) in ["one.test", "two.test", "three.test"].into_iter().zip(protocols) {
        authority.certify(name, &[name]);
        let [port] = neighbours();
        let address = port.address();
        let behind = if alpn == [b"h2"] { http2.listening().address() } else { plain };
        servers.push(terminator_at(port, &authority, name, alpn, behind).await);
        builder.names.point(name, &[address.ip()]);
        upstreams.push(format!("'https://{name}:{}'", address.port()));
        addresses.push(address);
    }
    upstreams.push(format!("'{}'", http2.url()));
    let toml = format!(
        "[apps.store]\nupstreams = [{}]\n[apps.store.upstream_tls]\nca = '{}'\n\
         [apps.store.health_check]\npath = '/healthy?deep=1'\ninterval = '50ms'\ntimeout = '5s'\n",
        upstreams.join(", "),
        authority.ca()
    );
    let world = builder.lay_over(&toml).start().await;
    // Checked at all, and by then more than once.
    let checks = || world.store.heads() + http2.seen().len();
    wait_for("checks", || checks() >= 50).await;
    for address in addresses {
        assert_eq!(health(&world, address).await, Some(true), "{address}");
    }
    let seen = world.store.last("/healthy");
    assert_eq!((seen.head.get("host"), seen.target()), (Some("store.localhost"), "/healthy?deep=1"));
    for seen in http2.seen() {
        let is_own = ["http", "https"].map(|scheme| format!("{scheme}://store.localhost/healthy?deep=1"));
        assert!(is_own.contains(&seen.uri) && seen.get("host").is_none(), "{seen:?}");
    }
}
