//! The command line.

use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use portcullis::command::{check, doctor, explain, healthcheck};
use portcullis::config::{self, Config, ConfigError, Loaded};
use portcullis::identity_provider::Credentials;
use portcullis::process::{
    BindError, Ended, Inherited, Server, Shortage, StopSignals, raise_descriptor_limit, reload_when_told,
    runtime,
};
use portcullis::system::clock::SystemClock;
use portcullis::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use zeroize::Zeroizing;

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of sysexits.h: the configuration or the command line is wrong.
const EXIT_CONFIG: u8 = 64;

/// A reverse-proxy authentication gateway.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Clone, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default); exits with 64 on a bad configuration, before any port is opened
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Take over from the process that runs, at `server.upgrade_socket`, without a failed request
        #[arg(long)]
        upgrade: bool,
    },
    /// Validate the configuration and print hosts, routes, access and warnings
    Check(ConfigFile),
    /// Say what becomes of a request and why: app, route, access, cookies, JWT. Sends nothing to the app
    Explain {
        #[command(flatten)]
        config: ConfigFile,
        /// The method, such as GET
        method: String,
        /// The URL as a browser would use it, such as `https://store.example.com/api/cart`
        url: String,
        /// A user's cookies: a `Cookie` header, a cookie jar of curl's, or a JSON export. Explains what they are worth
        #[arg(long, value_name = "FILE")]
        cookies: Option<PathBuf>,
        /// Where the request is said to come from, such as `https://store.example.com`
        #[arg(long)]
        origin: Option<String>,
        /// Another header of the request, such as `Sec-Fetch-Site: same-origin`; may be given several times
        #[arg(long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// Verifies with the keys of this JWKS, instead of asking the identity provider for them
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
    },
    /// Ask the live identity providers: discovery, JWKS, client credentials, grants, clock; with a test user the tokens, too
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Logs this user in (password: one line on standard input), to try JWT, cookie size, rotation and revocation
        #[arg(long, value_name = "NAME")]
        username: Option<String>,
    },
    /// Ask the running gateway whether it lives; for HEALTHCHECK in an image without a shell
    Healthcheck {
        #[command(flatten)]
        config: ConfigFile,
        /// Ask whether it is ready to serve, too
        #[arg(long)]
        ready: bool,
    },
}

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help and version are also errors here. Clap's own code for a wrong command line is not 64.
            let code = if told.use_stderr() { EXIT_CONFIG } else { 0 };
            let _ = told.print();
            return ExitCode::from(code);
        }
    };
    match command_line.command.unwrap_or(Command::Run { config: command_line.config, upgrade: false }) {
        Command::Run { config, upgrade } => run(&config.config, upgrade),
        Command::Check(file) => with_config(&file.config, |loaded| {
            // This note depends on the machine that runs the check, and not on the file. The gateway may run on another
            // machine.
            if let Some(shortage) = Shortage::of_a_start(loaded.config.server.limits.max_connections) {
                println!(
                    "note: `{}`: started here, {shortage}\n  hint: {}\n",
                    Shortage::KEY,
                    shortage.hint()
                );
            }
            print!("{}", check::report(&loaded));
            ExitCode::SUCCESS
        }),
        Command::Explain { config, method, url, cookies, origin, headers, jwks } => {
            with_config(&config.config, |loaded| {
                let question = explain::Question {
                    method,
                    url,
                    origin,
                    headers: headers.into(),
                    ..explain::Question::default()
                };
                explain(&loaded, question, cookies.as_deref(), jwks.as_deref())
            })
        }
        Command::Doctor { config, username } => {
            with_config(&config.config, |loaded| doctor(&loaded, username))
        }
        Command::Healthcheck { config, ready } => {
            // Reads only this key, because a probe's environment may not have the secrets.
            unless_refused(&config.config, config::load_admin_listen(&config.config), |admin_listen| {
                match healthcheck::check(admin_listen, ready) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => fail(&error, 1),
                }
            })
        }
    }
}

fn with_config(path: &Path, act: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    unless_refused(path, config::load(path), act)
}

fn unless_refused<T>(path: &Path, read: Result<T, ConfigError>, act: impl FnOnce(T) -> ExitCode) -> ExitCode {
    match read {
        Ok(read) => act(read),
        Err(error) => {
            eprint!("{}", error.report(&path.display().to_string()));
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn fail(error: impl std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}

fn run(path: &Path, upgrade: bool) -> ExitCode {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            telemetry::last_words(&error.report(&path.display().to_string()));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let _log = telemetry::start(&loaded.config.server.log);
    raise_descriptor_limit();
    telemetry::silence_panic_messages();
    match serve(path, loaded, upgrade) {
        Ok(code) => code,
        Err(error) => {
            telemetry::last_words(&format!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn serve(path: &Path, loaded: Loaded, upgrade: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Loaded { config, warnings } = loaded;
    let inherited = if upgrade { inherit(&config)? } else { None };
    let asked = config.server.upgrade_socket.clone().filter(|_| upgrade);
    for warning in &warnings {
        warn!(key = warning.key, hint = warning.hint, "{}", warning.message);
    }
    let runtime = runtime(config.server.worker_threads)?;
    let served = runtime.block_on(async {
        // This comes first, so that an early SIGHUP does not end the process.
        let hangups = signal(SignalKind::hangup())?;
        let server = match inherited {
            Some(inherited) => Server::take_over(config, inherited).await?,
            None => Server::bind(config).await.map_err(|error| unoffered(error, asked))?,
        };
        info!(listen = ?server.addresses(), listen_tls = ?server.tls_addresses(), admin = server.admin_address().map(tracing::field::display), version = env!("CARGO_PKG_VERSION"), "started");
        let reloading = tokio::spawn(reload_when_told(path.to_owned(), server.reloader(), hangups));
        let ended = StopSignals::new()?.run(server).await;
        reloading.abort();
        match ended {
            Ended::ByItself(ended) => Ok(ended.map(|()| ExitCode::SUCCESS)?),
            Ended::BySignal(signal) => Ok(ExitCode::from(signal.exit_code())),
        }
    });
    // Another process may have got the listeners without becoming ready. Nothing waits for that process.
    runtime.shutdown_background();
    served
}

/// Returns the listeners of the running process. Returns `None` if no process runs. This process then starts as usual.
fn inherit(config: &Config) -> Result<Option<Inherited>, Box<dyn std::error::Error>> {
    let Some(path) = &config.server.upgrade_socket else {
        return Err("`--upgrade` needs `server.upgrade_socket` in the configuration".into());
    };
    let inherited = Inherited::ask(path)?;
    if inherited.is_none() {
        warn!(path = %path.display(), "there is no process to take over from");
    }
    Ok(inherited)
}

/// Returns the error of a process that should have taken over, but found no process to take over from.
fn unoffered(error: BindError, asked: Option<PathBuf>) -> Box<dyn std::error::Error> {
    match (&error, asked) {
        (BindError::Listen { source, .. }, Some(path)) if source.kind() == ErrorKind::AddrInUse => format!(
            "{error}: whoever listens there offers nothing at `{}` (`server.upgrade_socket`)",
            path.display()
        )
        .into(),
        _ => error.into(),
    }
}

fn explain(
    loaded: &Loaded,
    question: explain::Question,
    cookies: Option<&Path>,
    jwks: Option<&Path>,
) -> ExitCode {
    let read = |option: &str, path: Option<&Path>| {
        let text = path.map(|path| {
            config::read_text(path)
                .map_err(|error| format!("`{option} {}` cannot be read: {error}", path.display()))
        });
        text.transpose()
    };
    let (cookies, jwks) = match (read("--cookies", cookies), read("--jwks", jwks)) {
        (Ok(cookies), Ok(jwks)) => (cookies, jwks.map(|text| text.as_bytes().to_vec())),
        (Err(error), _) | (_, Err(error)) => return fail(error, EXIT_CONFIG),
    };
    let question = explain::Question { cookies: cookies.map(Into::into), jwks, ..question };
    let runtime = match runtime(1) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(explain::explain(&loaded.config, &question, &SystemClock)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, EXIT_CONFIG),
    }
}

fn doctor(loaded: &Loaded, username: Option<String>) -> ExitCode {
    let test_user = match username.map(test_user).transpose() {
        Ok(test_user) => test_user,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    match runtime(1) {
        Ok(runtime) => {
            let report = runtime.block_on(doctor::run(&loaded.config, test_user.as_ref()));
            print!("{report}");
            ExitCode::from(report.exit_code())
        }
        Err(error) => fail(&error, 1),
    }
}

/// Reads the password from standard input, so that it appears in no process list and on no terminal.
fn test_user(username: String) -> std::io::Result<Credentials> {
    let mut password = Zeroizing::new(String::new());
    let input = std::io::stdin();
    if input.is_terminal() {
        let hint =
            "the password is read from standard input: portcullis doctor --username NAME < password-file";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, hint));
    }
    input.read_line(&mut password)?;
    let password = Zeroizing::new(password.trim_end_matches(['\r', '\n']).to_owned());
    Ok(Credentials { username: username.into(), password: password.into() })
}
