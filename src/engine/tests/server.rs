//! Servers for tests.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A `redis-server` that ends when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    directory: TempDir,
    arguments: Vec<String>,
}

/// Returns a port that is free now.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts a server without persistence.
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    /// Starts a copy of another server.
    pub(super) fn copy_of(primary: &Self, arguments: &[&str]) -> Self {
        let port = primary.port.to_string();
        let copy = Self::start(&[&["--replicaof", "127.0.0.1", &port], arguments].concat());
        let is_linked = || copy.ask(&["INFO", "replication"]).contains("master_link_status:up");
        wait_until("it copies the primary", is_linked);
        let is_known = || primary.ask(&["INFO", "replication"]).contains("state=online");
        wait_until("the primary knows the copy", is_known);
        copy
    }

    pub(super) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(port, &directory, &arguments);
        let server = Self { child, port, directory, arguments };
        server.wait();
        server
    }

    /// Starts a sentinel with this configuration file, which it changes.
    pub(super) fn sentinel_on(port: u16, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = vec![config.to_owned(), String::from("--sentinel")];
        let mut command = Command::new("redis-server");
        command.arg(config).args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"]);
        let child = command.arg("--dir").arg(directory.path()).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, port, directory, arguments };
        server.wait();
        server
    }

    fn wait(&self) {
        wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// Ends the server as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again, on the same port and in the same directory.
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.arguments);
        self.wait();
    }

    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Sends a command and returns its answer as text.
    pub(super) fn ask(&self, command: &[&str]) -> String {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let (first, rest) = command.split_first().unwrap();
        let mut packed = redis::cmd(first);
        for argument in rest {
            packed.arg(argument);
        }
        match packed.query::<redis::Value>(&mut connection).unwrap() {
            redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }
}

fn spawn(port: u16, directory: &TempDir, arguments: &[String]) -> Child {
    let port = port.to_string();
    let common = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"];
    let mut command = Command::new("redis-server");
    command.args(common).arg("--dir").arg(directory.path()).args(arguments);
    command.stdout(Stdio::null()).spawn().expect("redis-server is installed")
}

pub(super) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(15), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
