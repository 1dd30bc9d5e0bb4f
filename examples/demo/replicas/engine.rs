//! The engine: Valkey or Redis, whichever is installed, on a free port of this machine.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::secret;
use crate::DemoError;

/// The programs that the demo looks for, the preferred one first.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

/// The time until it has to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running engine. It ends when it is dropped.
pub(crate) struct Engine {
    child: Child,
    pub(crate) program: &'static str,
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Engine {
    /// Starts the first program that is installed. It keeps nothing on disk.
    pub(crate) async fn start() -> Result<Self, DemoError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
        let password = secret()?;
        let (mut child, program) = spawn()?;
        let config = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\n\
            maxmemory-policy noeviction\nsave \"\"\nappendonly no\n"
        );
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(config.as_bytes()).await?;
        }
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let started = tokio::select! {
            started = timeout(START_TIMEOUT, listens) => started.is_ok(),
            _ = child.wait() => false,
        };
        if !started {
            return Err(DemoError::Engine(format!("{program} did not start on port {port}")));
        }
        Ok(Self { child, program, port, password })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

fn spawn() -> Result<(Child, &'static str), DemoError> {
    for program in PROGRAMS {
        // It reads its configuration from standard input. Ctrl-C is for the demo, which ends it last.
        let spawned = Command::new(program)
            .arg("-")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Ok(child) => return Ok((child, program)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(DemoError::Engine(
        "`--replicas` needs Valkey or Redis on this machine: install the package `valkey-server` or `redis-server`"
            .into(),
    ))
}
