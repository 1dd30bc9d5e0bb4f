//! A child process that ends with its test, however the test ends.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::patiently;

/// A running program, or one that has ended.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program that writes all its output to a file.
    pub(crate) fn start(program: &str, arguments: &[impl AsRef<OsStr>], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        // `setpriv` becomes the program, so the process id stays. If the tests are killed, the program is killed too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", program])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file twice"))
            .stderr(log)
            .spawn()
            .expect("`setpriv`, of util-linux");
        Self { child }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process that has not been waited for");
    }

    /// Kills it, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns its status if it has ended.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its status")
    }

    /// Waits for its end; its exit code.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        patiently("the end of a process", async {
            loop {
                if let Some(status) = self.status() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
