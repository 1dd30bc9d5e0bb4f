//! Log lines (to standard error, as text or JSON), request ids, the access log, the audit log, and metrics.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod counters;
mod event;
pub(crate) mod history;
mod log_queue;
pub(crate) mod metrics;
pub(crate) mod rate_limited_log;
pub(crate) mod replica_id;
pub(crate) mod request_id;
pub(crate) mod traces;

use std::io::Write;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};

pub use log_queue::LogEnd;

use log_queue::StandardError;

/// Libraries whose finer log levels print whole messages, with cookies and tokens.
const TALKATIVE: [&str; 6] = ["pingora", "hyper", "reqwest", "h2", "rustls", "tungstenite"];

/// The modules that log everyday events. Pingora logs some of these as errors: an app has closed a pooled connection,
/// so a new one is opened; or an app takes no more of a request because it has answered. `h2` warns of bytes that any
/// client may send. The gateway itself logs the failures that matter.
const EVERYDAY: [&str; 4] =
    ["pingora_core::connectors", "pingora_proxy::proxy_h1", "pingora_proxy::proxy_h2", "h2::"];

/// Starts logging. A filter in `RUST_LOG` takes precedence over `server.log.level`. Neither of them makes a library log
/// secrets. The result must be dropped last.
pub fn start(settings: &Log) -> LogEnd {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&settings.level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let is_silent = filter.max_level_hint() == Some(LevelFilter::OFF);
    // Without the hints, the filter would check every line of the libraries that use the `log` crate, down to `trace`.
    // That costs half a microsecond for each request.
    let is_discreet = filter_fn(is_discreet).with_max_level_hint(LevelFilter::TRACE);
    let is_record =
        filter_fn(move |line| !is_silent && is_record(line)).with_max_level_hint(LevelFilter::INFO);
    let filter = filter.and(is_discreet).or(is_record);
    let lines = tracing_subscriber::fmt::layer().with_writer(StandardError);
    let lines = match settings.format {
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_filter(filter).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    // A second start, as in tests, has no effect.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    LogEnd::new()
}

/// Writes to the log why the process ends. The process ends even if nobody reads its log.
pub fn last_words(text: &str) {
    let _end = LogEnd::new();
    let _none_to_hear = StandardError.write_all(text.as_bytes());
}

/// Makes a panic log only the place where it happened. Its message may quote data, such as the text that a slice was
/// taken of.
pub fn silence_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "a fault of this program: it panicked");
    }));
}

/// Tells whether a line belongs to the access log or the audit log. Levels do not apply to these: `server.log.access`
/// and the level `off` switch them.
fn is_record(line: &Metadata<'_>) -> bool {
    matches!(line.target(), "access" | "audit")
}

fn is_discreet(line: &Metadata<'_>) -> bool {
    let target = line.target();
    if EVERYDAY.iter().any(|place| target.starts_with(place)) {
        return false;
    }
    *line.level() <= Level::INFO || !TALKATIVE.iter().any(|library| target.starts_with(library))
}
