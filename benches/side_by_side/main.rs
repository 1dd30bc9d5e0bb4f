//! The cost of authentication with Portcullis and with others: HAProxy, nginx, Envoy and a bare Pingora proxy, in turn
//! in one run.
//!
//! `cargo bench --bench side_by_side`, see `docs/performance.md`. It fetches the other proxies itself, and fails
//! without them.
//!
//! - `-- --growth` measures growing numbers of connections, routes, apps and sessions instead, and storms of refreshes;
//! - `-- --write` also writes the result into `docs/`;
//! - `-- --smoke` runs everything once and briefly.
//!
//! `BENCH_ROUNDS` (5; growth: 3) and `BENCH_SECONDS` (4, for each measurement) change the size. A wrong answer fails
//! the run, a ratio never does.

#[path = "../support/app.rs"]
mod app;
mod cases;
mod comparison;
mod documents;
mod gateway;
mod growth;
#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/load.rs"]
mod load;
mod machine;
#[path = "../support/measurement.rs"]
mod measurement;
mod peers;
mod plot;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
mod process;
mod provider;
#[path = "../support/proxies.rs"]
mod proxies;
mod requests;
mod rounds;
mod server;
#[path = "../support/settings.rs"]
mod settings;
mod storms;
mod tables;
mod world;

use issuer::Error;

/// As in the shipped binary.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--role", "bare", backend] => proxies::bare(backend.parse()?),
        ["--role", "portcullis", config] => proxies::portcullis(config.as_ref(), |_admin| Ok(())),
        _ => run(&arguments),
    }
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let smoke = settings::is_smoke(arguments);
    if smoke && given("--write") {
        return Err("a smoke test's figures are not worth writing".into());
    }
    machine::raise_open_files()?;
    let peers = peers::fetch()?;
    let pinned = process::pin_load();
    if smoke || !given("--growth") {
        comparison::run(&peers, pinned, smoke)?.publish("comparison", given("--write"))?;
    }
    if smoke || given("--growth") {
        growth::run(&peers, pinned, smoke)?.publish("growth", given("--write"))?;
    }
    Ok(())
}
