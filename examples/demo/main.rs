//! `cargo run --example demo`: an identity provider, two apps and the gateway in front of them, in one process.
//!
//! It runs on the repository's `gateway.toml`, to which it adds that the gateway names the JWT of each request (its
//! `jti`), and prints where to go. The files, as a visitor would read them: [`demo`] puts everything together,
//! [`gateway`] runs the gateway and switches sealed cookies, [`alone`] serves apps for a gateway elsewhere,
//! [`provider`] is the identity provider, [`apps`] are the store and the forums with their side panel, [`journal`] is
//! what the panel is told, [`settings`] takes addresses from `gateway.toml` and changes them, [`replicas`] runs several
//! gateways with an engine and a balancer.

mod alone;
mod apps;
mod demo;
mod gateway;
mod journal;
mod provider;
mod replicas;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::demo::Demo;

/// A small identity provider, two apps and the gateway.
#[derive(Debug, Parser)]
#[command(name = "demo")]
pub(crate) struct Options {
    /// The gateway's configuration.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway.toml"))]
    config: PathBuf,
    /// How long a JWT lives, such as `4s`.
    #[arg(long, default_value = "30s", value_parser = seconds)]
    jwt_lifetime: Duration,
    /// Takes free ports instead of those of the configuration, and prints the addresses as one line of JSON.
    #[arg(long)]
    free_ports: bool,
    /// Starts this number of gateways, with Valkey or Redis for their shared state, and a balancer in front of them that
    /// chooses one at random for each request. The diagram shows which one answered.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    replicas: u8,
    /// Serves as one of the replicas.
    #[arg(long, hide = true, exclusive = true)]
    replica: bool,
    /// Serves this app alone, such as `store=0.0.0.0:3001`, for a gateway and an identity provider elsewhere.
    /// Repeatable.
    #[arg(long = "app", value_name = "NAME=ADDRESS", value_parser = alone::app, conflicts_with_all = ["config", "jwt_lifetime", "free_ports", "replicas"])]
    apps: Vec<alone::App>,
}

/// The reason why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The address that an HTTP server of the demo needs.
    #[error(
        "port {port} ({what}) cannot be used: {source}\nhint: stop what listens there, change the port in `gateway.toml`, or take free ports: `cargo run --example demo -- --free-ports`"
    )]
    Port { port: u16, what: String, source: std::io::Error },
    /// The configuration is not one for the demo.
    #[error("`gateway.toml`: {0}")]
    Config(String),
    /// The gateway (or the thief's client) did not start.
    #[error("the gateway did not start: {0}")]
    Gateway(String),
    /// A replica, in the words of its process.
    #[error("a replica: {0}")]
    Replica(String),
    /// The engine of the replicas.
    #[error("{0}")]
    Engine(String),
    /// No key, no randomness.
    #[error("the provider's key could not be made or used")]
    Key,
    /// Something else of the system's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.replica {
        return match replicas::process::serve().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    if !options.apps.is_empty() {
        return match alone::serve_all(&options.apps).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let demo = match Demo::start(&options).await {
        Ok(demo) => demo,
        Err(error) => return fail(&error),
    };
    println!("{}", if options.free_ports { demo.as_json() } else { demo.greeting() });
    demo.run_until_interrupted().await;
    ExitCode::SUCCESS
}

fn fail(error: &DemoError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no number of seconds; write `30s`");
    let seconds: u64 = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| wrong())?;
    if seconds == 0 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}
