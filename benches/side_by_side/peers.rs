//! Fetches, configures and starts the other proxies.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::issuer::Error;
use crate::machine::first_line;
use crate::port;
use crate::process::{self, Proxy};

/// One of the other proxies, with one of our configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// HAProxy that only forwards.
    HaProxy,
    /// HAProxy with `jwt_verify`.
    HaProxyJwt,
    /// nginx that only forwards.
    Nginx,
    /// Envoy with `jwt_authn` and its cache.
    Envoy,
}

impl Peer {
    const fn program(self) -> &'static str {
        match self {
            Self::HaProxy | Self::HaProxyJwt => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// The configuration's name and template.
    const fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::HaProxy => ("haproxy.cfg", include_str!("peers/haproxy.cfg")),
            Self::HaProxyJwt => ("haproxy_jwt.cfg", include_str!("peers/haproxy_jwt.cfg")),
            Self::Nginx => ("nginx.conf", include_str!("peers/nginx.conf")),
            Self::Envoy => ("envoy.yaml", include_str!("peers/envoy.yaml")),
        }
    }

    /// In the foreground, as one process with one worker.
    fn arguments(self, configuration: &str) -> Vec<&str> {
        match self {
            Self::HaProxy | Self::HaProxyJwt => vec!["-db", "-f", configuration],
            Self::Nginx => vec!["-e", "stderr", "-c", configuration],
            Self::Envoy => {
                vec![
                    "--concurrency",
                    "1",
                    "--disable-hot-restart",
                    "--log-level",
                    "warning",
                    "-c",
                    configuration,
                ]
            }
        }
    }
}

/// The programs of the other proxies.
pub(crate) struct Peers {
    directory: PathBuf,
}

/// Downloads what is missing.
pub(crate) fn fetch() -> Result<Peers, Error> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side/peers/fetch.sh");
    let status = Command::new("bash").arg(script).arg(&directory).stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err("HAProxy, nginx and Envoy could not be fetched: see above".into());
    }
    Ok(Peers { directory })
}

impl Peers {
    /// Their versions, for the documents.
    pub(crate) fn versions(&self) -> String {
        let version =
            |name: &str, argument: &str| first_line(self.command(Path::new(&self.path(name))).arg(argument));
        let haproxy = version("haproxy", "-v");
        let envoy = version("envoy", "--version");
        // `PATH  version: COMMIT/1.40.0/…`
        let envoy = envoy.rsplit("version:").next().and_then(|text| text.split('/').nth(1)).unwrap_or("?");
        let haproxy = haproxy.split_whitespace().nth(2).unwrap_or("?");
        let nginx = version("nginx", "-v");
        let nginx = nginx.rsplit('/').next().unwrap_or("?");
        format!("HAProxy {haproxy}, nginx {nginx}, Envoy {envoy}")
    }

    /// Starts one, with `fill` replacing words of its template. Configuration and log are in `directory`.
    pub(crate) fn start(
        &self,
        peer: Peer,
        fill: &[(&str, &str)],
        directory: &Path,
        pinned: bool,
    ) -> Result<Proxy, Error> {
        let (reserved, address) = port::reserve()?;
        let (name, template) = peer.template();
        let mut text = template.replace("@LISTEN_PORT@", &address.port().to_string());
        for (word, value) in fill {
            text = text.replace(word, value);
        }
        let configuration = directory.join(name);
        fs::write(&configuration, text)?;
        let log = File::create(log_of(peer, directory))?;
        // It must not outlive this process, however that ends.
        let mut command = process::command(Path::new("setpriv"), pinned);
        command.args(["--pdeathsig", "KILL"]).arg(self.path(peer.program()));
        let child = self
            .with_libraries(&mut command)
            .args(peer.arguments(&configuration.display().to_string()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Proxy { child, address, _reserved: Some(reserved) })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        self.with_libraries(&mut command);
        command
    }

    fn with_libraries<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_LIBRARY_PATH", self.directory.join("lib"))
    }

    fn path(&self, program: &str) -> PathBuf {
        self.directory.join("bin").join(program)
    }
}

/// The end of what a peer has said, to explain a failure.
pub(crate) fn said(peer: Peer, directory: &Path) -> String {
    let log = fs::read_to_string(log_of(peer, directory)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

fn log_of(peer: Peer, directory: &Path) -> PathBuf {
    directory.join(format!("{}.log", peer.template().0))
}
