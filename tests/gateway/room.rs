//! A full gateway makes room by closing connections that only wait for their next request. It touches no other.

use std::net::SocketAddr;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::client::receive;
use crate::support::frames::{END_STREAM, Fate, Frames};
use crate::support::program::Program;
use crate::support::wire::Wire;
use crate::support::{Browser, HOST, Http2Client, Reply, World, patiently, wait_for};

const GET: &str = "GET /open/x HTTP/1.1\r\nHost: store.localhost\r\n\r\n";

fn at_most(max_connections: usize) -> String {
    format!("[server.limits]\nmax_connections = {max_connections}\n")
}

async fn connect(address: SocketAddr) -> Wire {
    Wire::new(TcpStream::connect(address).await.expect("the gateway listens"))
}

/// Makes a request; `false`: the connection has been closed.
async fn is_served(wire: &mut Wire) -> bool {
    if wire.send(GET).await.is_err() {
        return false;
    }
    let Some(answer) = patiently("an answer", receive(wire, "GET", 1 << 16)).await else { return false };
    answer.assert_status(200);
    answer.keeps_alive
}

/// A fresh connection that has been served. The gateway takes a moment to notice that another one waits.
async fn served(address: SocketAddr) -> Wire {
    patiently("a place", async {
        loop {
            let mut wire = connect(address).await;
            if is_served(&mut wire).await {
                return wire;
            }
        }
    })
    .await
}

/// Returns whether the connection has ended by itself.
async fn has_ended(wire: &mut Wire) -> bool {
    !patiently("the connection's end", wire.fill()).await.unwrap_or(false)
}

/// Waits until so many of them have ended; the others.
async fn others_than_ended(mut wires: Vec<Wire>, count: usize) -> Vec<Wire> {
    let all = wires.len();
    patiently("the end of some", async {
        while wires.len() > all - count {
            let mut living = Vec::new();
            for mut wire in wires {
                let is_quiet = tokio::time::timeout(std::time::Duration::from_millis(10), wire.fill()).await;
                if is_quiet.is_err() {
                    living.push(wire);
                }
            }
            wires = living;
        }
        wires
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_connection_takes_the_place_of_one_that_waits() {
    let world = World::with(&at_most(3)).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(served(world.gateway.address).await);
    }
    for _ in 0..5 {
        let fresh = served(world.gateway.address).await;
        kept = others_than_ended(kept, 1).await;
        kept.push(fresh);
        for wire in &mut kept {
            assert!(is_served(wire).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_lives_and_nothing_fresh_makes_room() {
    let world = World::with(&at_most(4)).await;
    world.store.on("/open/slow", Reply::after(1500, Reply::Echo));
    world.store.on("/open/socket", Reply::after(50, Reply::WebSocket));
    let (_, mut socket) = web_socket(&world.browser(), &upgrade("/open/socket")).await.expect("101");
    hear(&mut socket).await;
    // Each has had a request before, and has another one under way.
    let mut slow = connect(world.gateway.address).await;
    assert!(is_served(&mut slow).await);
    let heads = world.store.heads();
    slow.send("GET /open/slow HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
    let mut uploading = connect(world.gateway.address).await;
    assert!(is_served(&mut uploading).await);
    uploading
        .send("POST /open/x HTTP/1.1\r\nHost: store.localhost\r\nContent-Length: 5\r\n\r\nhe")
        .await
        .unwrap();
    wait_for("both at the app", || world.store.heads() == heads + 3).await;
    let mut silent = connect(world.gateway.address).await;
    // A crowd of strangers gets nowhere.
    for _ in 0..50 {
        let mut stranger = connect(world.gateway.address).await;
        assert!(!is_served(&mut stranger).await);
    }
    assert_eq!(say(&mut socket, "still there?").await, "still there?");
    uploading.send("llo").await.unwrap();
    patiently("an answer", receive(&mut uploading, "POST", 1 << 16)).await.unwrap().assert_status(200);
    patiently("an answer", receive(&mut slow, "GET", 1 << 16)).await.unwrap().assert_status(200);
    assert!(is_served(&mut silent).await);
    // Now there are some that wait. A crowd may push out each of them once, and nobody else.
    for _ in 0..50 {
        drop(connect(world.gateway.address).await);
    }
    assert_eq!(say(&mut socket, "and now?").await, "and now?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_of_http_2_makes_room_and_is_told_and_a_busy_one_does_not() {
    let (authority, world) = World::over_tls(&at_most(2)).await;
    world.store.on("/open/slow", Reply::after(1500, Reply::Echo));
    let mut idle = Frames::start(&authority, &world, &[]).await;
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/open/x")];
    idle.request(END_STREAM, 1, &get).await;
    assert_eq!(idle.fate(1).await, Fate::Status(200));
    let mut busy = Http2Client::start(&authority, &world).await;
    let heads = world.store.heads();
    let request = busy.request("GET", "/open/slow").body(()).unwrap();
    let (response, _) = busy.requests.send_request(request, true).unwrap();
    wait_for("it at the app", || world.store.heads() > heads).await;
    let mut fresh = served(world.gateway.address).await;
    assert_eq!(idle.end().await, Some(0), "GOAWAY without an error");
    let _fresher = served(world.gateway.address).await;
    assert!(has_ended(&mut fresh).await);
    assert_eq!(patiently("an answer", response).await.unwrap().status(), 200);
    assert_eq!(busy.get("/open/x").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_a_lowered_bound_nobody_is_closed_but_for_one_that_comes() {
    let world = World::with(&at_most(10)).await;
    let mut kept = Vec::new();
    for _ in 0..6 {
        kept.push(served(world.gateway.address).await);
    }
    world.reload(&at_most(2)).await;
    let _fresh = served(world.gateway.address).await;
    for wire in &mut others_than_ended(kept, 1).await {
        assert!(is_served(wire).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_that_are_kept_alive_do_not_keep_others_from_the_admin_listener() {
    let world = World::start().await;
    let mut probes = Vec::new();
    for _ in 0..70 {
        let mut probe = Browser::new(world.gateway.admin, "localhost");
        probe.get("/livez").await.assert_status(200);
        probes.push(probe);
    }
}

/// Lets a program have so many descriptors more than it has.
fn limit_descriptors(program: &Program, more: usize) {
    let id = program.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("Linux").count();
    let current = Some(u64::try_from(open + more).unwrap());
    let limit = Rlimit { current, maximum: current };
    let pid = Pid::from_raw(id.try_into().unwrap());
    prlimit(pid, Resource::Nofile, limit).expect("a limit of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_descriptors_run_out_idle_connections_make_room_for_clients_and_for_apps() {
    let (program, builder) = Program::start_quietly(World::builder().await).await;
    builder.store.on("/open/slow", Reply::after(3_600_000, Reply::Echo));
    limit_descriptors(&program, 30);
    let mut kept = Vec::new();
    // Each finds a place, and the app, too.
    for _ in 0..60 {
        kept.push(served(program.address).await);
    }
    // Each of these needs a connection to the app of its own, and none is freed.
    let heads = builder.store.heads();
    let mut slow = Vec::new();
    for number in 1..=8 {
        let mut wire = connect(program.address).await;
        wire.send("GET /open/slow HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
        wait_for("it at the app", || builder.store.heads() >= heads + number).await;
        slow.push(wire);
    }
    let _last = served(program.address).await;
    let closed = program.metric("portcullis_idle_connections_closed_total").await;
    assert!(closed > 30, "{closed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_needs_a_descriptor_for_its_app_gets_that_of_an_idle_connection() {
    // That there is none says nothing about who has the app's name.
    for host in ["127.0.0.1", "localhost"] {
        let builder = World::builder().await;
        let port = builder.store.listening().address().port();
        let upstream =
            format!("[apps.store]\nupstreams = ['http://{host}:{port}']\nresolve_interval = '1h'\n");
        let (program, builder) = Program::start_quietly(builder.lay_over(&upstream)).await;
        builder.store.on("/open/slow", Reply::after(3_600_000, Reply::Echo));
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(served(program.address).await);
        }
        // From here on nobody connects, so nobody is sent away for that.
        limit_descriptors(&program, 0);
        let heads = builder.store.heads();
        // Not those that have waited longest: these are sent away.
        for wire in &mut kept[12..] {
            wire.send("GET /open/slow HTTP/1.1\r\nHost: store.localhost\r\n\r\n").await.unwrap();
        }
        wait_for("all at the app", || builder.store.heads() == heads + 8).await;
        assert!(is_served(&mut kept[11]).await, "one that waited and may go on");
        assert!(has_ended(&mut kept[0]).await);
    }
}
