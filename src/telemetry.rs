//! Log lines: to standard error, as text or JSON; request ids, access and audit log, metrics.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod counters;
mod event;
pub(crate) mod history;
mod log_queue;
pub(crate) mod metrics;
pub(crate) mod rate_limited_log;
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

/// Libraries that print whole messages, with cookies and tokens, at their finer levels.
const TALKATIVE: [&str; 6] = ["pingora", "hyper", "reqwest", "h2", "rustls", "tungstenite"];

/// Where Pingora reports everyday events as errors: that a pooled connection was closed by the app, so that a new one is
/// opened, and that an app takes no more of a request, since it has answered. And where `h2` warns of what any client may
/// send. Failures that matter are logged by the gateway.
const EVERYDAY: [&str; 4] =
    ["pingora_core::connectors", "pingora_proxy::proxy_h1", "pingora_proxy::proxy_h2", "h2::"];

/// Starts logging. A filter in `RUST_LOG` goes before `server.log.level`; neither makes a library talk of secrets. What is returned
/// is to be dropped last.
pub fn start(settings: &Log) -> LogEnd {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&settings.level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let is_silent = filter.max_level_hint() == Some(LevelFilter::OFF);
    // Without the hints, libraries that use the `log` crate would have every line of theirs looked at, down to `trace`: half a
    // microsecond for each request.
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
    // A second start, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    LogEnd::new()
}

/// Says why a process ends, to whoever reads its log. That nobody does must not keep it from ending.
pub fn last_words(text: &str) {
    let _end = LogEnd::new();
    let _none_to_hear = StandardError.write_all(text.as_bytes());
}

/// Lets a panic say where it happened, and not what with: the message may quote what was being worked on, such as the
/// text that a slice was taken of.
pub fn silence_panic_messages() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "a fault of this program: it panicked");
    }));
}

/// The access and the audit log are not a matter of levels: `server.log.access` is their switch, and `off`.
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
