//! One replica: the program in a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::Process;
use crate::support::port::Port;
use crate::support::{Answer, Browser, patiently, wait_for};

/// The host of the app.
pub(crate) const HOST: &str = "store.localhost";

/// The lines of a replica's log that a failed test shows.
const LAST_WORDS: usize = 40;

/// A replica, running or not. It keeps its ports.
pub(crate) struct Replica {
    directory: TempDir,
    ports: [Port; 2],
    process: Option<Process>,
}

impl Replica {
    /// Starts one with this configuration, to which its own addresses are added.
    pub(crate) fn start(mut config: toml::Table) -> Self {
        let ports = [Port::reserve(), Port::reserve()];
        let [listen, admin] = [&ports[0], &ports[1]].map(|port| port.address().to_string());
        let server = config.entry("server").or_insert_with(|| toml::Table::new().into());
        let server = server.as_table_mut().expect("a table");
        server.insert("listen".into(), vec![listen].into());
        server.insert("admin_listen".into(), admin.into());
        let directory = tempfile::tempdir().expect("a directory");
        let text = toml::to_string(&config).expect("serialisable");
        std::fs::write(directory.path().join("gateway.toml"), text).expect("a writable directory");
        let mut replica = Self { directory, ports, process: None };
        replica.start_again();
        replica
    }

    /// Starts it once more at the same place.
    pub(crate) fn start_again(&mut self) {
        self.process = Some(self.run(&[]));
    }

    fn run(&self, more: &[&str]) -> Process {
        let config = self.file("gateway.toml").display().to_string();
        let mut arguments = vec!["run", "--config", &config];
        arguments.extend(more);
        Process::start(env!("CARGO_BIN_EXE_portcullis"), &arguments, &self.file("log"))
    }

    /// A file of its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ports[0].address()
    }

    /// A browser that uses this replica alone.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address(), HOST)
    }

    /// The admin listener's answer.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        Browser::new(self.ports[1].address(), "localhost").get(path).await
    }

    /// A client of the admin listener.
    pub(crate) fn operator(&self) -> Browser {
        Browser::new(self.ports[1].address(), "localhost")
    }

    /// Waits until it serves and says that it is ready.
    pub(crate) async fn ready(&mut self) {
        self.answers("/readyz").await;
    }

    /// Waits until it answers at all.
    pub(crate) async fn alive(&mut self) {
        self.answers("/livez").await;
    }

    async fn answers(&mut self, path: &str) {
        let mut last = String::new();
        let waiting = async {
            loop {
                tokio::time::sleep(Duration::from_millis(30)).await;
                if let Some(status) = self.process.as_mut().and_then(Process::status) {
                    panic!("a replica has ended: {status}\n{}", self.log());
                }
                if TcpStream::connect(self.ports[1].address()).await.is_err() {
                    continue;
                }
                let answer = self.admin(path).await;
                if answer.status() == 200 {
                    return;
                }
                last = answer.text();
            }
        };
        let outcome = tokio::time::timeout(crate::support::wire::PATIENCE, waiting).await;
        assert!(outcome.is_ok(), "waited in vain for {path}: {last}");
    }

    /// Returns everything that it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Returns the end of its log.
    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    /// Waits for a line of its log that has all of these words.
    pub(crate) async fn logged(&self, words: &[&str]) {
        let has = |line: &str| words.iter().all(|word| line.contains(word));
        wait_for(&format!("{words:?} in the log"), || self.log().lines().any(has)).await;
    }

    /// The value of a series of its metrics, or the sum of all series that begin so.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").await.text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Ends it at once (`kill -9`).
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to stop (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::TERM);
    }

    /// Waits for its end; its exit code.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        self.process.as_mut().expect("it runs").exited().await
    }

    /// Lets another process take over, and waits until the old one has ended; its exit code.
    pub(crate) async fn upgrade(&mut self) -> Option<i32> {
        let next = self.run(&["--upgrade"]);
        let mut old = self.process.replace(next).expect("it runs");
        patiently("the old process's end", old.exited()).await
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the log of {}:\n{}", self.address(), self.last_words());
        }
    }
}
