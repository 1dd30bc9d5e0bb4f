//! `[server.log]`.

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::values::word;

/// `[server.log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// The format of the lines: for people or for machines.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `portcullis=debug`.
    pub level: String,
    /// The requests that get a line.
    pub access: AccessLog,
}

/// The requests that get a line in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// No requests.
    Off,
    /// Requests that were answered with a problem.
    Refused,
    /// All requests.
    All,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads the table.
pub(crate) fn log(server: &Section<'_>) -> Option<Log> {
    let section = server.section("log");
    let format = section.defaulted("format", "\"text\"", |item| {
        word(item, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    let level = section.defaulted("level", "\"info\"", log_level);
    let access = section.defaulted("access", "\"refused\"", |item| {
        word(item, &[("off", AccessLog::Off), ("refused", AccessLog::Refused), ("all", AccessLog::All)])
    });
    Some(Log { format: format?, level: level?, access: access? })
}

fn log_level(item: &Item<'_>) -> Option<String> {
    const HINT: &str = "write `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, `\"trace\"`, `\"off\"`, \
                        or directives such as `\"info,portcullis=debug\"`";
    let text = item.text("a log level", HINT)?;
    // A word that is not a level would be taken for the name of a module.
    let is_bare_word = !text.contains(['=', '[', ':']) && !text.contains(',');
    let is_level = ["error", "warn", "info", "debug", "trace", "off"].contains(&text);
    if (is_bare_word && !is_level) || tracing_subscriber::EnvFilter::try_new(text).is_err() {
        return item.fault(format!("{} is not a log level", quote(text)), HINT);
    }
    Some(text.to_owned())
}
