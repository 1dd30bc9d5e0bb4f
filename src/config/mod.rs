//! `gateway.toml`: from text to a [`Config`] that holds only valid values, or to every error at once.
//!
//! `tree` parses TOML, `reader` walks it and collects problems, `values` has the types of single values, and each of
//! `server` (with `tls`), `identity_provider` (with `signatures`, `token_parameters`, `outgoing_proxy` and `provider_logout`) and `app` (with `endpoints`, `fusionauth_webhook`, `cookies`, `identity_headers`, `routes`) reads its own table.
//! `whole` (with `shared_tokens`) compares the tables with each other.

mod app;
mod authorities;
mod cookies;
mod endpoints;
mod fusionauth_webhook;
mod identity_headers;
mod identity_provider;
mod model;
mod outgoing_proxy;
mod outline;
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
mod whole;

use std::path::Path;

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
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::single(Problem::new(
            String::new(),
            None,
            format!("the file cannot be read: {error}"),
            String::from("name the configuration with `--config PATH`"),
        ))
    })?;
    parse_in(&text, path.parent().unwrap_or(Path::new("")))
}

/// Parses and checks a text; `{ file = ".." }` secrets are read relative to the working directory.
pub fn parse(text: &str) -> Result<Loaded, ConfigError> {
    parse_in(text, Path::new(""))
}

fn parse_in(text: &str, directory: &Path) -> Result<Loaded, ConfigError> {
    let entries = tree::parse(text).map_err(ConfigError::single)?;
    let report = Report::new(directory);
    let config = read(&Section::root(&entries, &report));
    let outline = Outline::new(&entries, report.take_secrets(), directory);
    let (problems, warnings) = report.finish();
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config: Config { outline, ..config }, warnings }),
        _ => Err(ConfigError { problems }),
    }
}

fn read(root: &Section<'_>) -> Option<Config> {
    let server = server::server(root);
    let session = session::session(root);
    let refresh = server::refresh(root);
    let providers = identity_provider::identity_providers(root);
    let apps = app::apps(root, &providers);
    whole::check(&server, &providers, &apps);
    Some(Config {
        outline: Outline::default(),
        server: server.server?,
        session: session?,
        refresh: refresh?,
        identity_providers: providers.into_iter().map(|read| read.provider).collect::<Option<_>>()?,
        apps: apps.into_iter().map(|read| read.app).collect::<Option<_>>()?,
    })
}
