//! The program in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::support::client::raw;
use crate::support::gateway::Builder;
use crate::support::port::Port;
use crate::support::wire::PATIENCE;
use crate::support::{Browser, patiently, wait_for};

/// The file that it logs into.
fn log(directory: &Path) -> Stdio {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("log"));
    log.unwrap().into()
}

/// Runs the program on a directory's `gateway.toml`.
pub(crate) fn run(directory: &Path, arguments: &[&str], log: impl Fn(&Path) -> Stdio) -> Child {
    command("", directory, arguments, log).spawn().unwrap()
}

/// The same, not yet begun, once a shell has done something, such as `ulimit -n 128`.
fn command(preparation: &str, directory: &Path, arguments: &[&str], log: impl Fn(&Path) -> Stdio) -> Command {
    // `exec` keeps the process id.
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("{preparation}\nexec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_portcullis"))
        .arg("run")
        .arg("--config")
        .arg(directory.join("gateway.toml"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdout(log(directory))
        .stderr(log(directory))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The program in a process of its own, logging at `trace` into a file.
pub(crate) struct Program {
    child: Child,
    directory: TempDir,
    /// Its own, also while one process follows another.
    _ports: [Port; 2],
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    /// Starts it on free ports with a world's configuration, and waits until it is ready.
    pub(crate) async fn start(builder: Builder) -> (Self, Builder) {
        Self::start_quietly(builder.lay_over("[server.log]\nlevel = \"trace\"")).await
    }

    /// The same, logging as the configuration says.
    pub(crate) async fn start_quietly(builder: Builder) -> (Self, Builder) {
        Self::start_in(builder, log).await
    }

    /// The same, waiting only until it answers: its provider may be unknown.
    pub(crate) async fn start_unready_quietly(builder: Builder) -> (Self, Builder) {
        let (mut program, builder) = Self::spawn(builder, |directory| run(directory, &[], log));
        program.answers("/livez").await;
        (program, builder)
    }

    /// The same with another standard error.
    pub(crate) async fn start_with(builder: Builder, stderr: impl Fn() -> Stdio) -> (Self, Builder) {
        Self::start_in(builder, |_| stderr()).await
    }

    /// The same with these environment variables, all of one value.
    pub(crate) async fn start_in_environment(
        builder: Builder,
        names: &[&str],
        value: &str,
    ) -> (Self, Builder) {
        Self::start_by(builder, |directory| {
            let mut command = command("", directory, &[], log);
            command.envs(names.iter().map(|name| (name, value))).spawn().unwrap()
        })
        .await
    }

    /// The same once a shell has done something.
    pub(crate) async fn start_after(preparation: &str, builder: Builder) -> (Self, Builder) {
        Self::start_by(builder, |directory| command(preparation, directory, &[], log).spawn().unwrap()).await
    }

    async fn start_in(builder: Builder, stderr: impl Fn(&Path) -> Stdio) -> (Self, Builder) {
        Self::start_by(builder, |directory| run(directory, &[], stderr)).await
    }

    async fn start_by(builder: Builder, run: impl FnOnce(&Path) -> Child) -> (Self, Builder) {
        let (mut program, builder) = Self::spawn(builder, run);
        program.answers("/readyz").await;
        (program, builder)
    }

    fn spawn(mut builder: Builder, run: impl FnOnce(&Path) -> Child) -> (Self, Builder) {
        let ports = [Port::reserve(), Port::reserve()];
        let [address, admin] = [&ports[0], &ports[1]].map(Port::address);
        let toml = format!("[server]\nlisten = [\"{address}\"]\nadmin_listen = \"{admin}\"");
        builder = builder.lay_over(&toml);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("gateway.toml"), builder.text()).unwrap();
        let child = run(directory.path());
        (Self { child, directory, _ports: ports, address, admin }, builder)
    }

    /// Waits until the admin listener says yes.
    async fn answers(&mut self, path: &str) {
        patiently("readiness", async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Some(status) = self.child.try_wait().unwrap() {
                    let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
                    panic!("the program does not start: {status}\n{log}");
                }
                if tokio::net::TcpStream::connect(self.admin).await.is_ok()
                    && Browser::new(self.admin, "localhost").get(path).await.status() == 200
                {
                    return;
                }
            }
        })
        .await;
    }

    /// Starts another process in its place, and waits until the old one has ended; its exit code.
    pub(crate) async fn upgrade(&mut self) -> Option<i32> {
        let mut old = self.begin_upgrade();
        let Ok(status) = tokio::time::timeout(PATIENCE, old.wait()).await else {
            let log = std::fs::read_to_string(self.file("log")).unwrap_or_default();
            panic!("waited in vain for the old process's end\n{log}");
        };
        status.unwrap().code()
    }

    /// The same once a shell has done something.
    pub(crate) async fn upgrade_after(&mut self, preparation: &str) -> Option<i32> {
        let next = command(preparation, self.directory.path(), &["--upgrade"], log).spawn().unwrap();
        let mut old = std::mem::replace(&mut self.child, next);
        patiently("the old process's end", old.wait()).await.unwrap().code()
    }

    /// The same without waiting: the old one.
    pub(crate) fn begin_upgrade(&mut self) -> Child {
        let next = run(self.directory.path(), &["--upgrade"], log);
        std::mem::replace(&mut self.child, next)
    }

    /// Another process that is to take over, and logs into a file of its own.
    pub(crate) fn rival(&self, name: &str) -> Rival {
        let file = self.file(name);
        let stderr =
            |_: &Path| std::fs::File::options().create(true).append(true).open(&file).unwrap().into();
        Rival { child: run(self.directory.path(), &["--upgrade"], stderr), log: file.clone() }
    }

    /// Its metrics, as text.
    pub(crate) async fn metrics(&self) -> String {
        Browser::new(self.admin, "localhost").get("/metrics").await.text()
    }

    /// The value of a series without labels.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no `{name}`: {metrics}")).parse().expect("a count")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Returns the most memory that it has had, in KiB.
    pub(crate) fn peak_memory(&self) -> usize {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Lets it count that anew.
    pub(crate) fn forget_peak_memory(&self) {
        let id = self.child.id().expect("it runs");
        std::fs::write(format!("/proc/{id}/clear_refs"), "5").expect("Linux");
    }

    /// A file beside the configuration's.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await.expect("`kill`");
        assert!(status.success());
    }

    /// Waits for a line of its log that has all of these words.
    pub(crate) async fn logged(&self, words: &[&str]) {
        patiently(&format!("{words:?} in the log"), async {
            while !self.has_logged(words) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Returns whether its log has a line with all of these words by now.
    pub(crate) fn has_logged(&self, words: &[&str]) -> bool {
        let text = std::fs::read_to_string(self.file("log")).unwrap();
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Waits for its end; its exit code.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        patiently("its end", self.child.wait()).await.unwrap().code()
    }

    /// Ends it; everything that it has written.
    pub(crate) async fn end(mut self) -> String {
        let last = self.last_line().await;
        let _ = self.child.kill().await;
        let text = std::fs::read_to_string(self.file("log")).unwrap();
        match last {
            Some(id) => text.split_inclusive('\n').filter(|line| !line.contains(&id)).collect(),
            None => text,
        }
    }

    /// Lines are written one after the other, a while after they were made: once that of a last request is there, so
    /// are those that were made before an earlier answer went. (A request's own line in the access log is made after
    /// its answer.) The last request's id; `None` where it does not write any.
    async fn last_line(&mut self) -> Option<String> {
        let config = std::fs::read_to_string(self.file("gateway.toml")).unwrap();
        let is_over = self.child.try_wait().unwrap().is_some();
        let is_read = std::fs::metadata(self.file("log")).is_ok_and(|log| log.len() > 0);
        if is_over || !is_read || config.contains("access = \"off\"") {
            return None;
        }
        TcpStream::connect(self.address).await.ok()?;
        let (answer, _) = raw(self.address, "GET / HTTP/1.1\r\n\r\n").await;
        let id = answer?.header("x-request-id")?.to_owned();
        self.logged(&[&id]).await;
        Some(id)
    }
}

/// A process beside a [`Program`].
pub(crate) struct Rival {
    child: Child,
    log: std::path::PathBuf,
}

impl Rival {
    /// Waits for its end; its exit code, and what it has said.
    pub(crate) async fn exited(mut self) -> (Option<i32>, String) {
        let status = patiently("its end", self.child.wait()).await.unwrap();
        (status.code(), std::fs::read_to_string(&self.log).unwrap())
    }

    /// Waits until it says so.
    pub(crate) async fn said(&self, words: &str) {
        wait_for(words, || std::fs::read_to_string(&self.log).is_ok_and(|text| text.contains(words))).await;
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}
