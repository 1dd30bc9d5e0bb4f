//! `gateway.toml`: from text to a [`Config`] that holds only valid values, or to every error at once.
//!
//! `file` reads files, `tree` parses TOML (`twice` says what is there twice), `reader` walks it and collects problems,
//! `values` has the types of single values, and each of `server` (with `tls`), `identity_provider` (with `signatures`,
//! `token_parameters`, `outgoing_proxy` and `provider_logout`) and `app` (with `endpoints`, `fusionauth_webhook`, `cookies`,
//! `identity_headers`, `routes`) reads its own table. `whole` (with `shared_tokens`) compares the tables with each other,
//! `stand_in` finds variables that nobody has expanded.

mod across_tables;
mod app;
mod certificate_authorities;
mod cookies;
mod duplicate_key;
mod endpoints;
mod files;
mod fusionauth_webhook;
mod identity_headers;
mod identity_provider;
mod model;
mod outgoing_proxy;
mod outline;
mod placeholder;
mod problem;
mod provider_logout;
mod reader;
mod routes;
mod secret;
mod server;
mod session;
mod shared_tokens;
mod signatures;
mod spelling;
#[cfg(test)]
mod tests;
mod tls;
mod token_parameters;
mod tracing;
mod tree;
mod values;

use std::net::SocketAddr;
use std::path::Path;

use zeroize::Zeroizing;

pub(crate) use crate::system::file::text;
pub use crate::system::file::{Unreadable, read_bytes, read_text};
pub use files::Files;
pub use model::*;
pub use outgoing_proxy::{OutgoingProxy, PlainHttp, ProxyCredentials};
pub use outline::{Change, Outline};
pub use problem::{ConfigError, Problem};
pub use signatures::algorithm_named;
pub use token_parameters::{ParameterValue, TokenParameter};

use reader::{Report, Section};

/// A configuration that may be used, and what should be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is permitted but deserves a second look, each naming its key.
    pub warnings: Vec<Problem>,
}

/// Reads, parses and checks a file, including the secrets it refers to; `{ file = ".." }` is relative to the file's own
/// directory.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let mut files = Files::default();
    match text_of(path, &mut files) {
        Ok(text) => parse_from(&text, path.parent().unwrap_or(Path::new("")), files),
        Err(problem) => Err(ConfigError { files, ..ConfigError::single(problem) }),
    }
}

/// Reads from a file where the admin listener is, and nothing else: whoever only asks there need not have its secrets.
pub fn load_admin_listen(path: &Path) -> Result<Option<SocketAddr>, ConfigError> {
    let text = text_of(path, &mut Files::default()).map_err(ConfigError::single)?;
    let entries = tree::parse(&text).map_err(ConfigError::single)?;
    let report = Report::new(path.parent().unwrap_or(Path::new("")));
    let admin_listen = server::admin_listen_alone(&Section::root(&entries, &report).in_part());
    let problems = report.finish().0;
    match admin_listen {
        Some(admin_listen) if problems.is_empty() => Ok(admin_listen),
        _ => Err(ConfigError { problems, files: Files::default() }),
    }
}

/// What the configuration's own file says.
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

/// Parses and checks a text; `{ file = ".." }` secrets are read relative to the working directory.
pub fn parse(text: &str) -> Result<Loaded, ConfigError> {
    parse_in(text, Path::new(""))
}

fn parse_in(text: &str, directory: &Path) -> Result<Loaded, ConfigError> {
    parse_from(text, directory, Files::default())
}

/// `files`: those that the text came from.
fn parse_from(text: &str, directory: &Path, files: Files) -> Result<Loaded, ConfigError> {
    let entries = match tree::parse(text) {
        Ok(entries) => entries,
        Err(problem) => return Err(ConfigError { files, ..ConfigError::single(problem) }),
    };
    let report = Report::after(directory, files);
    let config = read(&Section::root(&entries, &report));
    placeholder::look(&entries, &report);
    let (seen, files) = report.take_seen();
    let outline = Outline::new(&entries, &seen, files.clone());
    let (problems, warnings) = report.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config: Config { outline, ..config }, warnings }),
        _ => Err(ConfigError { problems, files }),
    }
}

fn read(root: &Section<'_>) -> Option<Config> {
    let server = server::server(root);
    let session = session::session(root);
    let refresh = server::refresh(root);
    let providers = identity_provider::identity_providers(root);
    let apps = app::apps(root, &providers);
    across_tables::check(&server, &providers, &apps);
    Some(Config {
        outline: Outline::default(),
        server: server.server?,
        session: session?,
        refresh: refresh?,
        identity_providers: providers.into_iter().map(|read| read.provider).collect::<Option<_>>()?,
        apps: apps.into_iter().map(|read| read.app).collect::<Option<_>>()?,
    })
}
