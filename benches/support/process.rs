//! The proxies' processes: they are started, measured through `/proc`, and ended by their id.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tokio::net::TcpSocket;

use crate::issuer::Error;

/// The core of the proxy; everything else gets the others.
const PROXY_CORE: &str = "0";

/// `USER_HZ`, the unit of times in `/proc`: 100 on every Linux that Rust knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Moves this process, with threads yet to come, away from the proxy's core. `false`: no `taskset`, or no second core.
pub(crate) fn pin_load() -> bool {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 {
        return false;
    }
    let others = format!("1-{}", cores - 1);
    let pinned = Command::new("taskset")
        .args(["-c", "-p", &others, &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();
    pinned.is_ok_and(|status| status.success())
}

/// Runs a program on the proxy's core, if `pinned`.
pub(crate) fn command(program: &Path, pinned: bool) -> Command {
    if !pinned {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(program);
    command
}

/// A proxy in a process of its own.
pub(crate) struct Proxy {
    /// The process, ended when this is dropped.
    pub(crate) child: Child,
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The port that is reserved for it, where it could not be handed a socket.
    pub(crate) _reserved: Option<TcpSocket>,
}

impl Proxy {
    /// Runs this program again, or another build of it, in a role.
    pub(crate) fn start(role: &[String; 2], build: Option<&Path>, pinned: bool) -> Result<Self, Error> {
        let this = std::env::current_exe()?;
        let mut command = command(build.unwrap_or(&this), pinned);
        let mut child =
            command.arg("--role").args(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| format!("`{}` has not started", role.join(" ")))?;
        Ok(Self { child, address, _reserved: None })
    }

    /// CPU time that it has used so far.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Error> {
        cpu_seconds(self.child.id())
    }

    /// Its resident memory now.
    pub(crate) fn rss_mib(&self) -> Result<f64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// CPU time of a process in user and kernel mode, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the name, in parentheses; `utime` and `stime` are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').ok_or("malformed stat")?;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// In a proxy: ends it when the process that started it is gone.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        let _end_of_input = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}
