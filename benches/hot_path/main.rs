//! What authentication costs: Portcullis and a bare Pingora proxy with the same settings, in turn in one run.
//!
//! `cargo bench --bench hot_path`, see `docs/performance.md`. `BENCH_ROUNDS` (5) and `BENCH_SECONDS` (4, for each
//! measurement) change the size; `-- --smoke` runs everything once and briefly. `BENCH_EARLIER` names this program in an
//! earlier build, which is then measured beside this one. A wrong answer fails the run, a ratio never does.

mod backend;
mod cases;
#[path = "../support/issuer.rs"]
mod issuer;
mod load;
mod process;
mod proxies;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use cases::{CASES, Case, Fixture};
use issuer::Error;
use process::{Proxy, cpu_seconds};
use report::{Measurement, Report};

/// As in the shipped binary.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sessions that are revoked while others are measured.
const REVOCATIONS: usize = 5000;

/// How much is measured.
struct Size {
    rounds: usize,
    warm_up: Duration,
    window: Duration,
    tokens: usize,
}

impl Size {
    fn from_arguments(arguments: &[String]) -> Result<Self, Error> {
        let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
        // Cargo passes `--bench` for a benchmark, and not when it only tests that benchmarks run.
        if given("--smoke") || !given("--bench") {
            let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(500));
            return Ok(Self { rounds: 1, warm_up, window, tokens: 200 });
        }
        Ok(Self {
            rounds: usize::try_from(number("BENCH_ROUNDS", 5)?)?.max(1),
            warm_up: Duration::from_secs(1),
            window: Duration::from_secs(number("BENCH_SECONDS", 4)?.max(1)),
            tokens: 2000,
        })
    }
}

fn number(variable: &str, default: u64) -> Result<u64, Error> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration file")]
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|_| format!("{variable}={text} is not a number").into()),
        Err(_) => Ok(default),
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--role", "bare", backend] => proxies::bare(backend.parse()?),
        ["--role", "portcullis", config] => proxies::portcullis(config.as_ref(), 0),
        ["--role", "protected", config] => proxies::portcullis(config.as_ref(), REVOCATIONS),
        _ => compare(&Size::from_arguments(&arguments)?),
    }
}

/// Another build of this program, to be measured beside this one.
fn earlier_build() -> Option<PathBuf> {
    std::env::var_os("BENCH_EARLIER").map(PathBuf::from)
}

fn compare(size: &Size) -> Result<(), Error> {
    let pinned = process::pin_load();
    let fixture = Fixture::new(size.tokens)?;
    let mut report = Report::new(pinned);
    for round in 0..size.rounds {
        let mut order: Vec<Case> = CASES.to_vec();
        order.retain(|case| *case != Case::Earlier || earlier_build().is_some());
        if round % 2 == 1 {
            order.reverse();
        }
        for case in order {
            report.add(round, case, measure(case, &fixture, size, pinned)?);
        }
    }
    report.print();
    Ok(())
}

/// Starts the proxy of a case, loads it, and ends it.
fn measure(case: Case, fixture: &Fixture, size: &Size, pinned: bool) -> Result<Measurement, Error> {
    let proxy = Proxy::start(&fixture.role(case), earlier_build().filter(|_| case == Case::Earlier), pinned)?;
    load::wait_until_served(proxy.address, &fixture.requests(case))?;
    let load = load::Load::start(proxy.address, fixture.requests(case));
    std::thread::sleep(size.warm_up);
    let (proxy_before, load_before) = (proxy.cpu_seconds()?, cpu_seconds(std::process::id())?);
    load.begin_window();
    let began = std::time::Instant::now();
    std::thread::sleep(size.window);
    let (proxy_after, load_after) = (proxy.cpu_seconds()?, cpu_seconds(std::process::id())?);
    let seconds = began.elapsed().as_secs_f64();
    let latencies = load.stop()?;
    Ok(Measurement::new(
        latencies,
        seconds,
        proxy_after - proxy_before,
        load_after - load_before,
        proxy.rss_mib()?,
    ))
}
