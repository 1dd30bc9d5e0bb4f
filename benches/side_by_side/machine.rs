//! The machine: its description, and its limits for a run.

use std::fs;
use std::process::{Command, Stdio};

use crate::issuer::Error;

/// The files that a proxy with 8,000 connections on either side may have open, and some more.
const OPEN_FILES: u64 = 17_000;

/// Raises the limit on open files, for this process and all that it starts.
pub(crate) fn raise_open_files() -> Result<(), Error> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no open files")?;
    let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse::<u64>().ok());
    let (soft, hard) = numbers.next().zip(numbers.next()).ok_or("no limits on open files")?;
    if hard < OPEN_FILES {
        return Err(format!("{hard} open files are permitted (ulimit -Hn), {OPEN_FILES} are needed").into());
    }
    if soft < OPEN_FILES {
        let (process, limit) = (std::process::id().to_string(), format!("--nofile={OPEN_FILES}:{hard}"));
        let raised = Command::new("prlimit").args(["--pid", &process, &limit]).status()?;
        if !raised.success() {
            return Err("the limit on open files cannot be raised".into());
        }
    }
    Ok(())
}

/// Returns a description of the machine, for the documents.
pub(crate) fn describe() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Not `available_parallelism`: that is what pinning has left us.
    let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let compiler = first_line(Command::new("rustc").arg("--version"));
    let build =
        if cfg!(debug_assertions) { "UNOPTIMISED: the figures mean nothing" } else { "release profile" };
    // The compiler's output is `rustc 1.95.0 (…)`.
    let compiler = compiler.split(" (").next().unwrap_or_default().to_owned();
    format!("{processor}, {cores} cores, Linux {}, {compiler}, {build}", kernel.trim())
}

/// Returns the first line that a program prints, on either output.
pub(crate) fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.stdin(Stdio::null()).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
