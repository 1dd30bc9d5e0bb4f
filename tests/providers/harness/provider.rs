//! An identity provider as a child process, on a port that is its own for as long as the test needs it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::block_in_place;

/// Enough for Keycloak's first start, which downloads and builds.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);
/// For an answer of a provider that is just starting.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A provider that runs until it is stopped or dropped, or this process ends.
pub(crate) struct Provider {
    name: &'static str,
    address: SocketAddr,
    /// Bound and never listening: nobody else is given the port, also while the provider is stopped.
    _reserved: TcpSocket,
    state: PathBuf,
    process: Option<Process>,
}

struct Process {
    child: Child,
    /// `lifeline.sh` ends the provider when this is closed, be it by the end of this process.
    lifeline: ChildStdin,
}

impl Provider {
    /// Starts `tests/providers/NAME/run.sh` with an empty state; `Err` is what it said instead of being ready.
    pub(crate) fn try_start(name: &'static str) -> Result<Self, String> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("providers").join(format!("{name}-{number}"));
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).expect("a directory for the provider's state");
        let (reserved, address) = reserve();
        let mut provider = Self { name, address, _reserved: reserved, state, process: None };
        provider.run()?;
        Ok(provider)
    }

    /// As [`Self::try_start`], for a test that wants a provider of its own.
    pub(crate) fn start(name: &'static str) -> Self {
        block_in_place(|| Self::try_start(name)).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Its URL, without a slash at the end.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory that it keeps its state in.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Stops it; the state stays.
    pub(crate) fn stop(&mut self) {
        block_in_place(|| self.end());
    }

    /// Starts it again, on the same port and with the same state.
    pub(crate) fn start_again(&mut self) {
        block_in_place(|| self.run()).unwrap_or_else(|reason| panic!("{reason}"));
    }

    fn run(&mut self) -> Result<(), String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers");
        let log_path = self.state.join("run.log");
        let log = File::create(&log_path).expect("a log file");
        let mut child = Command::new("bash")
            .arg(directory.join("lifeline.sh"))
            .arg("bash")
            .arg(directory.join(self.name).join("run.sh"))
            .arg(self.address.port().to_string())
            .arg(&self.state)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .expect("bash");
        let lifeline = child.stdin.take().expect("piped above");
        let mut process = Process { child, lifeline };
        let said = || fs::read_to_string(&log_path).unwrap_or_default();
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if process.child.try_wait().expect("its status").is_some() {
                return Err(format!("{} did not start:\n{}", self.name, said()));
            }
            if self.is_ready() {
                self.process = Some(process);
                return Ok(());
            }
            thread::sleep(POLL);
        }
        process.end();
        Err(format!("{} was not ready within {START_LIMIT:?}:\n{}", self.name, said()))
    }

    /// Returns whether it answers at a path that exists only once it is set up. The output of its programs does not
    /// count.
    fn is_ready(&self) -> bool {
        let path = match self.name {
            "keycloak" => "/realms/plain/.well-known/openid-configuration",
            // The last thing that `setup.py` makes.
            "glewlwyd" => "/api/oidce/.well-known/openid-configuration",
            _ => "/.well-known/openid-configuration",
        };
        get(self.address, path).is_ok_and(|answer| answer.contains(" 200 "))
    }

    fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.end();
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.state);
        }
    }
}

impl Process {
    fn end(self) {
        let Self { mut child, lifeline } = self;
        drop(lifeline);
        for _ in 0..STOP_LIMIT.as_millis() / POLL.as_millis() {
            if child.try_wait().expect("its status").is_some() {
                return;
            }
            thread::sleep(POLL);
        }
        panic!("a provider did not stop within {STOP_LIMIT:?}");
    }
}

/// A provider that many tests share, at the same time or by turns.
pub(crate) struct Shared {
    name: &'static str,
    running: OnceLock<Result<RwLock<Provider>, String>>,
}

impl Shared {
    /// Not started yet.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, running: OnceLock::new() }
    }

    /// The running provider.
    pub(crate) async fn get(&'static self) -> RwLockReadGuard<'static, Provider> {
        self.lock().read().await
    }

    /// The running provider, for a test that stops it, or one that it cannot serve beside others.
    pub(crate) async fn get_alone(&'static self) -> RwLockWriteGuard<'static, Provider> {
        self.lock().write().await
    }

    fn lock(&'static self) -> &'static RwLock<Provider> {
        let running =
            block_in_place(|| self.running.get_or_init(|| Provider::try_start(self.name).map(RwLock::new)));
        running.as_ref().unwrap_or_else(|reason| panic!("{reason}"))
    }
}

/// The status line that a path is answered with.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes)? {
            0 => break,
            count => answer.extend(bytes.iter().take(count)),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// A port that no other program is given. The provider can bind it all the same, as every server does that binds the
/// port of one that has just ended.
fn reserve() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket's option");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let address = socket.local_addr().expect("its address");
    (socket, address)
}
