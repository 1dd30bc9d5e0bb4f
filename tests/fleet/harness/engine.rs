//! One node of an engine: a `redis-server` on a free port.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::Process;
use super::resp;
use crate::support::patiently;
use crate::support::port::Port;
use crate::support::wire::Wire;

/// It writes nothing to its disk by itself, and nothing that a test cannot read.
const USUAL: &str = "save \"\"\nrdbcompression no\nrepl-diskless-sync-delay 0\n";

/// The ways in which an engine is away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absence {
    /// Its connections stay, and nobody gets an answer. It comes back with its data.
    Paused,
    /// It has ended. It comes back empty.
    Killed,
}

/// A node, running or not.
pub(crate) struct Engine {
    program: &'static str,
    port: Port,
    directory: TempDir,
    settings: String,
    credentials: Option<(&'static str, &'static str)>,
    is_sentinel: bool,
    speaks_tls: bool,
    process: Option<Process>,
}

impl Engine {
    /// Starts one that keeps nothing over its end.
    pub(crate) async fn start() -> Self {
        Self::with("", None).await
    }

    /// Starts a Valkey if there is one on this machine.
    pub(crate) async fn preferring_valkey() -> Self {
        let is_there = Command::new("valkey-server").arg("--version").output().is_ok();
        let program = if is_there { "valkey-server" } else { "redis-server" };
        Self::launch(program, USUAL.to_owned(), None, false).await
    }

    /// Starts one that writes down each change, so that it has all its data again after any end of its process.
    pub(crate) async fn durable() -> Self {
        Self::with("appendonly yes\n", None).await
    }

    /// Starts one with more lines of `redis.conf`. The credentials are those of the tests themselves.
    pub(crate) async fn with(settings: &str, credentials: Option<(&'static str, &'static str)>) -> Self {
        Self::launch("redis-server", format!("{USUAL}{settings}"), credentials, false).await
    }

    /// Starts a sentinel that watches a master by the name `mymaster`.
    pub(crate) async fn sentinel(master: SocketAddr) -> Self {
        let (ip, port) = (master.ip(), master.port());
        let settings = format!(
            "sentinel monitor mymaster {ip} {port} 1\nsentinel down-after-milliseconds mymaster 1000\n\
             sentinel failover-timeout mymaster 5000\n"
        );
        Self::launch("redis-server", settings, None, true).await
    }

    /// Starts a node that follows this one, and waits until it has all data.
    pub(crate) async fn follower(&self) -> Self {
        let address = self.address();
        let follower = Self::with(&format!("replicaof {} {}\n", address.ip(), address.port()), None).await;
        patiently("the first copy", async {
            while !follower.info("replication").await.contains("master_link_status:up") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        follower
    }

    async fn launch(
        program: &'static str,
        settings: String,
        credentials: Option<(&'static str, &'static str)>,
        is_sentinel: bool,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let port = Port::reserve();
        // With TLS, the port speaks nothing else.
        let speaks_tls = settings.contains("tls-cert-file");
        let mut engine =
            Self { program, port, directory, settings, credentials, is_sentinel, speaks_tls, process: None };
        engine.run().await;
        engine
    }

    async fn run(&mut self) {
        let (directory, port) = (self.directory.path(), self.address().port());
        let ports = if self.speaks_tls { format!("port 0\ntls-port {port}") } else { format!("port {port}") };
        let text = format!("bind 127.0.0.1\n{ports}\ndir {}\n{}", directory.display(), self.settings);
        let file = directory.join("engine.conf");
        std::fs::write(&file, text).expect("a writable directory");
        let mut arguments = vec![file.display().to_string()];
        arguments.extend(self.is_sentinel.then(|| "--sentinel".to_owned()));
        self.process = Some(Process::start(self.program, &arguments, &directory.join("log")));
        patiently("the engine", async {
            while !self.is_loaded().await {
                let status = self.process.as_mut().and_then(Process::status);
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                assert!(status.is_none(), "the engine does not start: {log}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    async fn is_loaded(&self) -> bool {
        if self.speaks_tls {
            return TcpStream::connect(self.address()).await.is_ok();
        }
        resp::ask(self.address(), self.credentials, &["PING"]).await.is_ok()
    }

    /// Returns its address, running or not.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Returns the value of `shared_state.url`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// Stops it without ending it: its connections stay, and nobody gets an answer.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// Ends it at once (`kill -9`).
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Takes it away, in one way or the other.
    pub(crate) fn leave(&mut self, way: Absence) {
        match way {
            Absence::Paused => self.pause(),
            Absence::Killed => self.kill(),
        }
    }

    /// Brings it back from that.
    pub(crate) async fn come_back(&mut self, way: Absence) {
        match way {
            Absence::Paused => self.resume(),
            Absence::Killed => self.start_empty().await,
        }
    }

    /// Starts it again with the data that are on its disk.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Starts it again without any data.
    pub(crate) async fn start_empty(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.directory.path().join("dump.rdb"));
        let _ = std::fs::remove_dir_all(self.directory.path().join("appendonlydir"));
        self.run().await;
    }

    /// Makes a follower independent: it misses every later change.
    pub(crate) async fn promote(&self) {
        self.ask(&["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Writes all its data to its disk as they are now.
    pub(crate) async fn save(&self) -> Vec<u8> {
        self.ask(&["SAVE"]).await;
        std::fs::read(self.directory.path().join("dump.rdb")).expect("a dump")
    }

    /// Sends it a command; all texts and numbers of the answer.
    pub(crate) async fn ask(&self, words: &[&str]) -> Vec<String> {
        let answer = resp::ask(self.address(), self.credentials, words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Returns a section of `INFO`.
    pub(crate) async fn info(&self, section: &str) -> String {
        self.ask(&["INFO", section]).await.concat()
    }

    /// Returns the names of all keys.
    pub(crate) async fn keys(&self) -> Vec<String> {
        self.ask(&["KEYS", "*"]).await
    }

    /// Writes down every command that anybody sends, from now on.
    pub(crate) async fn monitor(&self) -> Arc<Mutex<Vec<u8>>> {
        let stream = TcpStream::connect(self.address()).await.expect("an engine");
        let mut wire = Wire::new(stream);
        resp::send(&mut wire, &["MONITOR"]).await.expect("an engine");
        patiently("MONITOR", wire.fill()).await.expect("an engine");
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while wire.fill().await.is_ok_and(|more| more) {
                shared.lock().unwrap().append(&mut wire.buffer);
            }
        });
        log
    }
}
