//! Makes a [`Config`] from a file or a text.

use std::net::SocketAddr;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::changes::Outline;
use crate::config::gateway_toml::{self, Config};
use crate::config::problem::{ConfigError, Problem};
use crate::config::reader::{Report, Section};
use crate::config::server::listeners::admin_listen_alone;
use crate::config::source_files::Files;
use crate::config::{placeholder, toml_tree};
use crate::system::file::{Unreadable, text};

/// A valid configuration, and the warnings about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings about settings that are permitted but unusual. Each warning names its key.
    pub warnings: Vec<Problem>,
}

/// Reads, parses and checks a file, with the secrets that it names. A path in `{ file = ".." }` is relative to the
/// directory of the file.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let mut files = Files::default();
    match text_of(path, &mut files) {
        Ok(text) => parse_from(&text, path.parent().unwrap_or(Path::new("")), files),
        Err(problem) => Err(ConfigError { files, ..ConfigError::single(problem) }),
    }
}

/// Reads only the admin listener's address from a file. A caller that needs no other value need not have the secrets.
pub fn load_admin_listen(path: &Path) -> Result<Option<SocketAddr>, ConfigError> {
    let text = text_of(path, &mut Files::default()).map_err(ConfigError::single)?;
    let entries = toml_tree::parse(&text).map_err(ConfigError::single)?;
    let report = Report::new(path.parent().unwrap_or(Path::new("")));
    let admin_listen = admin_listen_alone(&Section::root(&entries, &report).in_part());
    let problems = report.finish().0;
    match admin_listen {
        Some(admin_listen) if problems.is_empty() => Ok(admin_listen),
        _ => Err(ConfigError { problems, files: Files::default() }),
    }
}

/// Reads the configuration file itself.
fn text_of(path: &Path, files: &mut Files) -> Result<Zeroizing<String>, Problem> {
    let problem = |message: String, hint: &str| Problem::new(String::new(), None, message, hint.to_owned());
    let text = files.read(path).and_then(|bytes| text(&bytes)).map_err(|error| {
        let hint = match error {
            Unreadable::Missing | Unreadable::NoDirectory(_) => "name the configuration with `--config PATH`",
            Unreadable::Directory => "name the file in it, such as `--config DIRECTORY/gateway.toml`",
            _ => error.hint(),
        };
        problem(format!("the file cannot be read: {error}"), hint)
    })?;
    if text.trim().is_empty() {
        return Err(problem(
            String::from("the file is empty"),
            "docs/configuration.md begins with a minimal one",
        ));
    }
    Ok(text)
}

/// Parses and checks a text. A path in `{ file = ".." }` is relative to the working directory.
pub fn parse(text: &str) -> Result<Loaded, ConfigError> {
    parse_in(text, Path::new(""))
}

pub(super) fn parse_in(text: &str, directory: &Path) -> Result<Loaded, ConfigError> {
    parse_from(text, directory, Files::default())
}

/// Parses and checks a text. `files` are the files from which the text was read.
fn parse_from(text: &str, directory: &Path, files: Files) -> Result<Loaded, ConfigError> {
    let entries = match toml_tree::parse(text) {
        Ok(entries) => entries,
        Err(problem) => return Err(ConfigError { files, ..ConfigError::single(problem) }),
    };
    let report = Report::after(directory, files);
    let config = gateway_toml::read(&Section::root(&entries, &report));
    placeholder::look(&entries, &report);
    let (seen, files) = report.take_seen();
    let outline = Outline::new(&entries, &seen, files.clone());
    let (problems, warnings) = report.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config: Config { outline, ..config }, warnings }),
        _ => Err(ConfigError { problems, files }),
    }
}
