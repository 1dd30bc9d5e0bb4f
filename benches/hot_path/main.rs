//! The cost of authentication: Portcullis and a bare Pingora proxy with the same settings, in turn in one run.
//!
//! `cargo bench --bench hot_path`, see `docs/performance.md`. `BENCH_ROUNDS` (5) and `BENCH_SECONDS` (4, for each
//! measurement) change the size; `-- --smoke` runs everything once and briefly. `BENCH_EARLIER` names this program in
//! an earlier build, which is then measured beside this one. A wrong answer fails the run, a ratio never does.

#[path = "../support/app.rs"]
mod app;
mod cases;
#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/load.rs"]
mod load;
#[path = "../support/measurement.rs"]
mod measurement;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/process.rs"]
mod process;
mod provider;
#[path = "../support/proxies.rs"]
mod proxies;
mod report;
mod revocations;
#[path = "../support/settings.rs"]
mod settings;
#[path = "../support/store.rs"]
mod store;

use std::path::PathBuf;
use std::time::Duration;

use cases::{CASES, Case, Fixture};
use issuer::Error;
use measurement::{Measurement, Window};
use process::Proxy;
use report::Report;
use settings::{is_smoke, number};

/// As in the shipped binary.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sessions that are revoked while others are measured.
const REVOCATIONS: usize = 5000;

const CONNECTIONS: usize = 64;

/// The size of the run.
struct Size {
    rounds: usize,
    window: Window,
    tokens: usize,
}

impl Size {
    fn from_arguments(arguments: &[String]) -> Result<Self, Error> {
        if is_smoke(arguments) {
            let (warm_up, length) = (Duration::from_millis(200), Duration::from_millis(500));
            let window = Window { warm_up, length, connections: CONNECTIONS };
            return Ok(Self { rounds: 1, window, tokens: 200 });
        }
        Ok(Self {
            rounds: usize::try_from(number("BENCH_ROUNDS", 5)?)?.max(1),
            window: Window {
                warm_up: Duration::from_secs(1),
                length: Duration::from_secs(number("BENCH_SECONDS", 4)?.max(1)),
                connections: CONNECTIONS,
            },
            tokens: 2000,
        })
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--role", "bare", backend] => proxies::bare(backend.parse()?),
        ["--role", "portcullis", config] => proxies::portcullis(config.as_ref(), |_admin| Ok(())),
        ["--role", "protected", config] => {
            proxies::portcullis(config.as_ref(), |admin| revocations::revoke(admin, REVOCATIONS))
        }
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
    let earlier = earlier_build().filter(|_| case == Case::Earlier);
    let proxy = Proxy::start(&fixture.role(case), earlier.as_deref(), pinned)?;
    measurement::measure(&proxy, &fixture.requests(case), size.window)
}
