//! `[server]` itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section, boolean};
use crate::config::secret::{Secret, secret};
use crate::config::server::limits::{Limits, limits};
use crate::config::server::listeners::{addresses, admin_listen, check_listeners};
use crate::config::server::log::{Log, log};
use crate::config::server::tls::{ReadTls, Tls, tls};
use crate::config::server::tracing::{Tracing, tracing};
use crate::config::toml_tree::Value;
use crate::config::values::duration::duration;
use crate::config::values::host_name::host;
use crate::config::values::network::trusted_network;

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// The addresses where browsers connect without TLS. The list may be empty if `listen_tls` is not empty.
    pub listen: Vec<SocketAddr>,
    /// The addresses where browsers connect with TLS. If the list is empty, TLS ends elsewhere, or there is no TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// `[server.tls]`. It is `None` if `listen_tls` is empty.
    pub tls: Option<Tls>,
    /// The address of the admin listener. `None` means `admin_listen = false`.
    pub admin_listen: Option<SocketAddr>,
    /// The token that a caller of `POST /sessions/revoke` must show. With `None`, nobody can call it.
    pub admin_token: Option<Secret>,
    /// The peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The number of worker threads. The default is one for each core.
    pub worker_threads: usize,
    /// If true, the file and the files that it names are watched, and read again when they change.
    pub watch_config: bool,
    /// The socket where another process may ask for the listening sockets. `None` means that there is no such socket.
    pub upgrade_socket: Option<PathBuf>,
    /// During a stop, the process still accepts connections for this time, while `/readyz` says 503.
    pub shutdown_delay: Duration,
    /// The longest time that a stop waits for requests in flight.
    pub shutdown_grace: Duration,
    /// `[server.limits]`.
    pub limits: Limits,
    /// Names of the admin listener besides addresses and `localhost`, in lower case.
    pub admin_hosts: Vec<String>,
    /// `[log]`.
    pub log: Log,
    /// `[server.tracing]`. `None` means that there are no traces.
    pub tracing: Option<Tracing>,
}

/// The largest size of a Unix socket's path in bytes (unix(7)), less four for the ending `.new` with which it is made.
const LONGEST_SOCKET_PATH: usize = 103;

/// The least size of an admin token, in bytes.
const MIN_ADMIN_TOKEN: usize = 16;

/// The server for the checks that look at the whole file. Parts that could not be read are `None`.
pub(crate) struct ReadServer<'a> {
    pub(crate) section: Section<'a>,
    pub(crate) listen: Option<Vec<SocketAddr>>,
    pub(crate) listen_tls: Option<Vec<SocketAddr>>,
    /// The admin listener. It is also `None` if the file wants no such listener.
    pub(crate) admin_listen: Option<SocketAddr>,
    /// `[server.tls]`. It is also `None` if there is no TLS listener.
    pub(crate) tls: Option<ReadTls<'a>>,
    pub(crate) server: Option<Server>,
}

/// Reads `[server]`.
pub(crate) fn server<'a>(root: &Section<'a>) -> ReadServer<'a> {
    let section = root.section("server");
    let listen_tls = section.defaulted("listen_tls", "[]", addresses);
    let has_tls = !matches!(&listen_tls, Some(listen) if listen.is_empty());
    let listen = section.defaulted("listen", r#"["127.0.0.1:8080"]"#, |item| {
        let hint = "write at least one address, such as `[\"127.0.0.1:8080\"]`";
        let is_empty = matches!(item.value(), Value::List(nodes) if nodes.is_empty());
        if is_empty && !has_tls { item.fault("the list is empty", hint) } else { addresses(item) }
    });
    let admin_listen = admin_listen(&section);
    let public = listen.iter().flatten().map(|address| ("listen", *address));
    let public_tls = listen_tls.iter().flatten().map(|address| ("listen_tls", *address));
    check_listeners(&section, &public.chain(public_tls).collect::<Vec<_>>(), admin_listen.flatten());
    let tls = tls(&section, has_tls);
    let server = rest(&section, admin_listen).and_then(|rest| {
        // If a listener is wrong, nobody can know what the user meant.
        let tls = tls.as_ref().map(|read| read.tls.clone());
        Some(Server {
            listen: listen.clone()?,
            listen_tls: listen_tls.clone()?,
            tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
            ..rest
        })
    });
    ReadServer { section, listen, listen_tls, admin_listen: admin_listen.flatten(), tls, server }
}

/// Reads all keys except the public listeners and their TLS settings.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
fn rest(section: &Section<'_>, admin_listen: Option<Option<SocketAddr>>) -> Option<Server> {
    let admin_token = section.optional("admin_token", "nobody can revoke sessions", |item| {
        if matches!(admin_listen, Some(None)) {
            return item.fault("there is no admin listener", "remove it, or set `admin_listen`");
        }
        let token = secret(item)?;
        if token.expose().len() < MIN_ADMIN_TOKEN {
            return item.fault(
                format!("the token has fewer than {MIN_ADMIN_TOKEN} bytes and could be guessed"),
                "make one with `openssl rand -hex 32`",
            );
        }
        Some(token)
    });
    let admin_hosts = section.defaulted("admin_hosts", "[]", |item| {
        let hosts = item.each("write a list of names, such as `[\"portcullis.monitoring.svc\"]`", host)?;
        if matches!(admin_listen, Some(None)) && !hosts.is_empty() {
            return item.fault("there is no admin listener", "remove it, or set `admin_listen`");
        }
        Some(hosts)
    });
    let trusted_proxies = section.defaulted("trusted_proxies", "[]", |item| {
        item.each("write a list of networks, such as `[\"10.1.0.0/16\"]`", trusted_network)
    });
    let worker_threads = section
        .optional("worker_threads", "one for each core", |item| usize::try_from(item.integer(1, 1024)?).ok());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let watch_config = section.defaulted("watch_config", "false", boolean);
    let upgrade_socket = section.optional("upgrade_socket", "no upgrade without a pause", upgrade_socket);
    let shutdown_delay = section.defaulted("shutdown_delay", "\"0s\"", |item| duration(item, "0s", "1h"));
    let shutdown_grace = section.defaulted("shutdown_grace", "\"30s\"", |item| duration(item, "10ms", "1h"));
    let limits = limits(section);
    let log = log(section);
    let tracing = tracing(section);
    Some(Server {
        listen: Vec::new(),
        listen_tls: Vec::new(),
        tls: None,
        admin_listen: admin_listen?,
        admin_token: admin_token?,
        admin_hosts: admin_hosts?,
        trusted_proxies: trusted_proxies?,
        worker_threads: worker_threads?.unwrap_or(cores),
        watch_config: watch_config?,
        upgrade_socket: upgrade_socket?,
        shutdown_delay: shutdown_delay?,
        shutdown_grace: shutdown_grace?,
        limits: limits?,
        log: log?,
        tracing: tracing?,
    })
}

/// Reads the path of the socket, which is relative to the configuration's directory, as the files of secrets are.
fn upgrade_socket(item: &Item<'_>) -> Option<PathBuf> {
    const HINT: &str = "write a path in a directory of its own, such as `\"/run/portcullis/upgrade.sock\"`";
    let text = item.text("a path", HINT)?;
    let path = item.report.directory.join(text);
    if text.is_empty() || text.contains('\0') || path.as_os_str().len() > LONGEST_SOCKET_PATH {
        return item.fault(format!("{} cannot be the path of a socket", quote(text)), HINT);
    }
    Some(path)
}
