//! `[server]` with its limits and log, and `[refresh]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::model::{AccessLog, Limits, Log, LogFormat, Refresh, Server};
use super::reader::{Item, Section, boolean};
use super::secret::secret;
use super::spelling::quote;
use super::tls::{ReadTls, tls};
use super::tracing::tracing;
use super::tree::Value;
use super::values::duration::duration;
use super::values::host::host;
use super::values::network::{overlap, socket_address, trusted_network};
use super::values::size::size;
use super::values::word;

/// Bytes of a Unix socket's path (unix(7)), less the four of the name under which it is made.
const LONGEST_SOCKET_PATH: usize = 103;

/// Bytes of an admin token.
const MIN_ADMIN_TOKEN: usize = 16;

/// Where the admin listener is unless the file says otherwise.
const ADMIN_LISTEN: &str = "\"127.0.0.1:9090\"";

/// The server as far as it could be read, for the checks that look at the whole file.
pub(super) struct ReadServer<'a> {
    pub(super) section: Section<'a>,
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) listen_tls: Option<Vec<SocketAddr>>,
    /// `None` as well where there is to be none.
    pub(super) admin_listen: Option<SocketAddr>,
    /// `None` as well without a TLS listener.
    pub(super) tls: Option<ReadTls<'a>>,
    pub(super) server: Option<Server>,
}

/// `[server]`.
pub(super) fn server<'a>(root: &Section<'a>) -> ReadServer<'a> {
    let section = root.section("server");
    let addresses = |item: &Item<'_>| {
        let listen = item.each("write addresses such as `[\"127.0.0.1:8080\"]`", |item| {
            socket_address(item).map(Listener)
        });
        listen.map(|listen| listen.into_iter().map(|listener| listener.0).collect::<Vec<_>>())
    };
    let listen_tls = section.defaulted("listen_tls", "[]", addresses);
    let has_tls = !matches!(&listen_tls, Some(listen) if listen.is_empty());
    let listen = section.defaulted("listen", r#"["127.0.0.1:8080"]"#, |item| {
        let hint = "write at least one address, such as `[\"127.0.0.1:8080\"]`";
        let is_empty = matches!(item.value(), Value::List(nodes) if nodes.is_empty());
        if is_empty && !has_tls { item.fault("the list is empty", hint) } else { addresses(item) }
    });
    let admin_listen = section.defaulted("admin_listen", ADMIN_LISTEN, admin_listen);
    let public = listen.iter().flatten().map(|address| ("listen", *address));
    let public_tls = listen_tls.iter().flatten().map(|address| ("listen_tls", *address));
    check_listeners(&section, &public.chain(public_tls).collect::<Vec<_>>(), admin_listen.flatten());
    let tls = tls(&section, has_tls);
    let server = rest(&section, admin_listen).and_then(|rest| {
        // With a listener that is wrong there is no telling what was meant.
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

/// All but the public listeners.
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

/// An address that equals another only where both cannot be listened to: two of port 0 can.
struct Listener(SocketAddr);

impl PartialEq for Listener {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && self.0.port() != 0
    }
}

/// `server.admin_listen` without a look at anything else.
#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
pub(super) fn admin_listen_alone(root: &Section<'_>) -> Option<Option<SocketAddr>> {
    root.section("server").in_part().defaulted("admin_listen", ADMIN_LISTEN, admin_listen)
}

#[expect(
    clippy::option_option,
    reason = "the outer one is `wrong, and reported`, the inner one `no listener`"
)]
fn admin_listen(item: &Item<'_>) -> Option<Option<SocketAddr>> {
    match item.value() {
        Value::Boolean(false) => Some(None),
        Value::Text(text) if ["", "false", "no", "none", "off"].contains(&text.to_ascii_lowercase().as_str()) => item.fault(
            format!("{} is not an address to listen on", quote(text)),
            "write `false`, without quotes, for no admin listener, or an address such as `\"127.0.0.1:9090\"`",
        ),
        Value::Text(_) => {
            let address = socket_address(item)?;
            if is_public(address.ip().to_canonical()) {
                item.warn(
                    format!(
                        "whoever reaches `{address}` reads the status page and the metrics and may try `POST /sessions/revoke`: \
                         nobody else is kept out"
                    ),
                    "listen on `127.0.0.1`, or on an address of a network of your own; else let a firewall or network policy say who \
                     comes",
                );
            }
            Some(Some(address))
        }
        _ => item
            .wrong_type("an address or `false`", "write an address such as `\"127.0.0.1:9090\"`, or `false`"),
    }
}

/// Whether strangers may reach it: it stands for all addresses of the machine, or is none of a private network (RFC 1918,
/// RFC 6598, RFC 4193), of a link or of this machine.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            !(address.is_loopback() || address.is_private() || address.is_link_local() || is_shared)
        }
        IpAddr::V6(address) => {
            !(address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local())
        }
    }
}

fn check_listeners(section: &Section<'_>, public: &[(&'static str, SocketAddr)], admin: Option<SocketAddr>) {
    for (index, (key, one)) in public.iter().enumerate() {
        // Equal ones of one list have been refused with it.
        let is_reported = |other: &(&str, SocketAddr)| other.0 == *key && other.1 == *one;
        let mut earlier = public.iter().take(index);
        if let Some((_, other)) = earlier.find(|other| !is_reported(other) && overlap(*one, other.1)) {
            let _: Option<()> = section.fault_at(
                key,
                format!("`{other}` and `{one}` overlap: the second one could not be opened"),
                "keep the wider one; `[::]` takes IPv4 as well",
            );
        }
    }
    let Some(admin) = admin else { return };
    if let Some((_, public)) = public.iter().find(|(_, public)| overlap(*public, admin)) {
        let _: Option<()> = section.fault_at(
            "admin_listen",
            format!("`{admin}` overlaps with the public listener `{public}`"),
            "choose another port, or `false` for no admin listener",
        );
    }
}

/// Relative to the configuration's own directory, as the files of secrets.
fn upgrade_socket(item: &Item<'_>) -> Option<PathBuf> {
    const HINT: &str = "write a path in a directory of its own, such as `\"/run/portcullis/upgrade.sock\"`";
    let text = item.text("a path", HINT)?;
    let path = item.report.directory.join(text);
    if text.is_empty() || text.contains('\0') || path.as_os_str().len() > LONGEST_SOCKET_PATH {
        return item.fault(format!("{} cannot be the path of a socket", quote(text)), HINT);
    }
    Some(path)
}

fn limits(server: &Section<'_>) -> Option<Limits> {
    let section = server.section("limits");
    let time = |name, default| section.defaulted(name, default, |item| duration(item, "10ms", "1h"));
    let header_timeout = time("header_timeout", "\"10s\"");
    let keep_alive_timeout = time("keep_alive_timeout", "\"60s\"");
    let login_body_timeout = time("login_body_timeout", "\"10s\"");
    let body_min_rate = section.defaulted("body_min_rate", "\"256B\"", |item| size(item, "1B", "1GiB"));
    let bytes = |name, default, least, most| {
        section.defaulted(name, default, |item| usize::try_from(size(item, least, most)?).ok())
    };
    let max_header_size = bytes("max_header_size", "\"32KiB\"", "1KiB", "1MiB");
    let max_login_body_size = bytes("max_login_body_size", "\"16KiB\"", "64B", "1MiB");
    let count = |name, default, most| {
        section.defaulted(name, default, |item| usize::try_from(item.integer(1, most)?).ok())
    };
    let max_connections = count("max_connections", "20000", 1_000_000);
    let verified_tokens = count("verified_tokens", "65536", 10_000_000);
    let max_waiting_logins = count("max_waiting_logins", "8", 1000);
    let failed_logins_per_name = count("failed_logins_per_name", "20", 100_000);
    let failed_logins_per_address = count("failed_logins_per_address", "200", 100_000);
    Some(Limits {
        header_timeout: header_timeout?,
        body_min_rate: body_min_rate?,
        keep_alive_timeout: keep_alive_timeout?,
        max_header_size: max_header_size?,
        max_connections: max_connections?,
        login_body_timeout: login_body_timeout?,
        max_login_body_size: max_login_body_size?,
        verified_tokens: verified_tokens?,
        max_waiting_logins: max_waiting_logins?,
        failed_logins_per_name: u32::try_from(failed_logins_per_name?).ok()?,
        failed_logins_per_address: u32::try_from(failed_logins_per_address?).ok()?,
    })
}

fn log(server: &Section<'_>) -> Option<Log> {
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
    // A bare word that is no level would be taken for the name of a module.
    let is_bare_word = !text.contains(['=', '[', ':']) && !text.contains(',');
    let is_level = ["error", "warn", "info", "debug", "trace", "off"].contains(&text);
    if (is_bare_word && !is_level) || tracing_subscriber::EnvFilter::try_new(text).is_err() {
        return item.fault(format!("{} is not a log level", quote(text)), HINT);
    }
    Some(text.to_owned())
}

/// `[refresh]`.
pub(super) fn refresh(root: &Section<'_>) -> Option<Refresh> {
    let section = root.section("refresh");
    let ahead = section.defaulted("ahead", "\"30s\"", |item| duration(item, "0s", "1h"));
    let replay_window = section.defaulted("replay_window", "\"30s\"", |item| duration(item, "10ms", "10m"));
    Some(Refresh { ahead: ahead?, replay_window: replay_window? })
}
