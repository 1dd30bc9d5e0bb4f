//! Upgrades that lose a race, with real processes: they say so in words, and somebody always serves.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;

use crate::ended_streams::closing;
use crate::streaming::{hear, say, upgrade, web_socket};
use crate::support::gateway::Builder;
use crate::support::program::Program;
use crate::support::{Browser, Endpoint, Fault, Reply, Request, World, patiently, wait_for};

const ADMIN_TOKEN: &str = "an admin token of the tests";

fn config() -> String {
    format!("[server]\nupgrade_socket = 'upgrade.sock'\nshutdown_grace = '1h'\nadmin_token = '{ADMIN_TOKEN}'")
}

/// A program that offers its listeners.
async fn start() -> (Program, Builder) {
    let (program, builder) = Program::start(World::builder().await.lay_over(&config())).await;
    // It is made a moment after the log says `started`.
    wait_for("the socket", || program.file("upgrade.sock").exists()).await;
    (program, builder)
}

async fn is_served(program: &Program) {
    Browser::new(program.address, "store.localhost").get("/open/x").await.assert_status(200);
}

/// Waits until somebody accepts connections again, and answers.
async fn somebody_serves(program: &Program) {
    patiently("somebody who serves", async {
        while tokio::net::TcpStream::connect(program.address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    is_served(program).await;
}

/// The next process needs so long to find out about its provider. The one that runs knows all.
fn slow_down(builder: &Builder) {
    builder.provider.fail_next(Endpoint::Discovery, Fault::delay(2500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_takes_over_and_the_other_says_so() {
    let (mut program, builder) = start().await;
    slow_down(&builder);
    let mut old = program.begin_upgrade();
    program.logged(&["another process asks for the listeners"]).await;
    let loser = program.rival("loser");
    let (code, text) = loser.exited().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("another process is taking over") && text.contains("upgrade.sock"), "{text}");
    is_served(&program).await;
    assert_eq!(patiently("the old process's end", old.wait()).await.unwrap().code(), Some(0));
    is_served(&program).await;
    // And it can be upgraded in its turn.
    wait_for("the socket", || UnixStream::connect(program.file("upgrade.sock")).is_ok()).await;
    assert_eq!(program.upgrade().await, Some(0));
    is_served(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_that_ends_in_the_middle_is_succeeded_all_the_same() {
    for signal in ["KILL", "TERM"] {
        let (mut program, builder) = start().await;
        slow_down(&builder);
        let mut new = program.rival("new");
        program.logged(&["another process asks for the listeners"]).await;
        program.signal(signal).await;
        program.exited().await;
        new.said("the process before has ended").await;
        somebody_serves(&program).await;
        assert!(new.is_running(), "{signal}");
        // Whoever comes next finds it.
        wait_for("the socket", || UnixStream::connect(program.file("upgrade.sock")).is_ok()).await;
        let mut next = program.rival("next");
        assert_eq!(new.exited().await.0, Some(0));
        is_served(&program).await;
        assert!(next.is_running());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_that_ends_before_it_has_answered_leaves_a_place_that_is_taken() {
    let (mut program, _builder) = start().await;
    program.signal("STOP").await;
    let mut new = program.rival("new");
    // It has connected, and nobody answers.
    let is_connected = || {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        // As it was called when it was bound.
        let path = program.file("upgrade.sock.new");
        sockets.lines().filter(|line| line.ends_with(path.to_str().unwrap())).count() > 1
    };
    wait_for("the question", is_connected).await;
    program.signal("KILL").await;
    program.exited().await;
    somebody_serves(&program).await;
    assert!(new.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_socket_is_left_alone() {
    let (mut program, _builder) = start().await;
    let path = program.file("upgrade.sock");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "somebody's notes").unwrap();
    let (code, text) = program.rival("new").exited().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("is not a socket") && text.contains("upgrade.sock"), "{text}");
    is_served(&program).await;
    program.signal("TERM").await;
    assert_eq!(program.exited().await, Some(0));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's notes");
    // Nor is it replaced by one that starts.
    let (program, _builder) = {
        let notes = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(notes.path(), "somebody's notes").unwrap();
        let socket = format!("[server]\nupgrade_socket = '{}'", notes.path().display());
        let started = Program::start(World::builder().await.lay_over(&socket)).await;
        started.0.logged(&["no upgrade is possible", "is not a socket"]).await;
        assert_eq!(std::fs::read_to_string(notes.path()).unwrap(), "somebody's notes");
        started
    };
    is_served(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_somebody_removes_or_replaces_is_made_again() {
    let (mut program, _builder) = start().await;
    let path = program.file("upgrade.sock");
    for (times, replaces) in [(1, false), (2, true)] {
        std::fs::remove_file(&path).unwrap();
        if replaces {
            // Of a process that has ended.
            drop(UnixListener::bind(&path).unwrap());
        }
        // Who connects to look is a process that asks for the listeners, and the next one may find it there.
        let is_there_again = || {
            let log = std::fs::read_to_string(program.file("log")).unwrap();
            log.matches("the upgrade socket was gone, and is there again").count() == times
        };
        wait_for("the socket", is_there_again).await;
        assert_eq!(program.upgrade().await, Some(0));
        // The old process has waited for the next one's socket.
        assert!(path.exists());
        is_served(&program).await;
    }
}

/// An old process that is no program: it gives its listener, and then does as it is told.
struct Old {
    listener: TcpListener,
    asked: Arc<AtomicUsize>,
}

impl Old {
    /// Behaves so towards who asks for the listener, after `ready`, with the connection that this came on.
    fn start(path: &std::path::Path, after_ready: impl Fn(UnixStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (given, asked) = (listener.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (socket, count) = (UnixListener::bind(path).unwrap(), asked.clone());
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let descriptors = [given.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
                let text = IoSlice::new(b"portcullis upgrade 1\npublic");
                // Who only looks whether somebody is there may have gone.
                let _ = sendmsg(&stream, &[text], &mut control, SendFlags::NOSIGNAL);
                let mut answer = [0; 6];
                if stream.read_exact(&mut answer).is_ok() && &answer == b"ready\n" {
                    after_ready(stream);
                }
            }
        });
        Self { listener, asked }
    }
}

/// A program that would take over from `old`, with the word for its listener.
async fn successor_of(old: &Old, directory: &std::path::Path) -> (tokio::process::Child, std::path::PathBuf) {
    let address = old.listener.local_addr().unwrap();
    let toml = format!("{}\nlisten = ['{address}']", config());
    let builder = World::builder().await.lay_over(&toml).without("server.admin_listen");
    std::fs::write(directory.join("gateway.toml"), builder.text()).unwrap();
    let log = directory.join("log");
    let file =
        |_: &std::path::Path| std::fs::File::options().create(true).append(true).open(&log).unwrap().into();
    (crate::support::program::run(directory, &["--upgrade"], file), log.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_wanted_any_more_leaves_the_listeners_to_the_old_process() {
    let directory = tempfile::tempdir().unwrap();
    // As after two minutes without a word: the old one goes on by itself, and hears nothing.
    let old = Old::start(&directory.path().join("upgrade.sock"), drop);
    let (mut new, log) = successor_of(&old, directory.path()).await;
    let status = patiently("its end", new.wait()).await.unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("the process before goes on"), "{text}");
    assert!(old.asked.load(Ordering::SeqCst) > 1, "it has looked");
    // Nobody else takes what comes. The new one has made it one that waits for nothing.
    old.listener.set_nonblocking(false).unwrap();
    let client = std::net::TcpStream::connect(old.listener.local_addr().unwrap()).unwrap();
    assert_eq!(old.listener.accept().unwrap().1, client.local_addr().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_answers_otherwise_or_not_at_all_is_named() {
    for (answer, words) in [("HTTP/1.1 400 Bad Request\r\n\r\n", "another program"), ("", "does not answer")]
    {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(directory.path().join("upgrade.sock")).unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                kept.push(stream);
            }
        });
        let builder = World::builder().await.lay_over(&config()).without("server.admin_listen");
        std::fs::write(directory.path().join("gateway.toml"), builder.text()).unwrap();
        let log = directory.path().join("log");
        let file = |_: &std::path::Path| std::fs::File::create(&log).unwrap().into();
        let mut new = crate::support::program::run(directory.path(), &["--upgrade"], file);
        assert_eq!(patiently("its end", new.wait()).await.unwrap().code(), Some(1));
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains(words) && text.contains("upgrade.sock"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_offers_the_listeners_that_are_in_use_it_says_why() {
    let (program, _builder) = Program::start(World::builder().await).await;
    let text = std::fs::read_to_string(program.file("gateway.toml")).unwrap();
    // It has none, so nobody can ask it.
    let text = text.replacen("[server]\n", "[server]\nupgrade_socket = 'upgrade.sock'\n", 1);
    std::fs::write(program.file("gateway.toml"), text).unwrap();
    let (code, text) = program.rival("new").exited().await;
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot listen on") && text.contains("offers"), "{text}");
    is_served(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_at_the_new_process_ends_the_streams_of_the_old_one() {
    let builder = World::builder().await.lay_over(&config());
    builder.store.on("/api/socket", Reply::after(50, Reply::WebSocket));
    builder.provider.set(|settings| settings.claims = json!({"sid": "s1"}));
    let (mut program, builder) = Program::start_quietly(builder).await;
    wait_for("the socket", || program.file("upgrade.sock").exists()).await;
    let mut ada = Browser::new(program.address, "store.localhost");
    ada.log_in("ada").await;
    builder.provider.set(|settings| settings.claims = json!({"sid": "s2"}));
    let mut bob = Browser::new(program.address, "store.localhost");
    bob.log_in("bob").await;
    let (_, mut of_ada) = web_socket(&ada, &upgrade("/api/socket")).await.expect("101");
    let (_, mut of_bob) = web_socket(&bob, &upgrade("/api/socket")).await.expect("101");
    for socket in [&mut of_ada, &mut of_bob] {
        hear(socket).await;
    }
    let mut old = program.begin_upgrade();
    program.logged(&["the process before has handed over"]).await;
    assert_eq!(say(&mut of_ada, "still there?").await, "still there?");
    // At the new one, in two ways.
    ada.send(Request::post("/api/logout")).await.assert_status(204);
    assert_eq!(closing(&mut of_ada).await, Some((4401, "session ended".to_owned())));
    assert_eq!(say(&mut of_bob, "still there?").await, "still there?");
    let revoke = Request::post("/sessions/revoke").header("Authorization", &format!("Bearer {ADMIN_TOKEN}"));
    let revoke = revoke.json(&json!({"sub": "id-of-bob"}));
    Browser::new(program.admin, "localhost").send(revoke).await.assert_status(204);
    assert_eq!(closing(&mut of_bob).await, Some((4401, "session ended".to_owned())));
    drop((of_ada, of_bob));
    assert_eq!(patiently("the old process's end", old.wait()).await.unwrap().code(), Some(0));
    bob.get("/api/cart").await.assert_status(401);
}
