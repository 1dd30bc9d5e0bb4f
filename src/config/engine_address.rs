//! The addresses of the engine, which is the Redis or Valkey server that the replicas share. They are one URL.

use crate::config::quoting::quote;
use crate::config::reader::Item;
use crate::config::values::host_name::{self, is_loopback};
use crate::config::values::url::{Fault, or_fault};

/// The place of the engine, and the way in which it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAddress {
    /// The server, or the sentinels that know it.
    pub place: EnginePlace,
    /// If true, TLS protects the connections to the servers and to the sentinels.
    pub tls: bool,
    /// The number of the database, from 0.
    pub database: i64,
}

/// The place of the engine. Hosts are names or addresses in lower case. IPv6 addresses have no brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnginePlace {
    /// One server, or a name that always leads to the primary.
    Single {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Sentinels that know the address of the primary.
    Sentinel {
        /// The host and the port of each sentinel. There is at least one.
        sentinels: Vec<(String, u16)>,
        /// The name under which the sentinels know the primary.
        master: String,
    },
}

impl EngineAddress {
    /// Returns true if a host of the URL is on another machine.
    pub fn leaves_this_machine(&self) -> bool {
        match &self.place {
            EnginePlace::Single { host, .. } => !is_loopback(host),
            EnginePlace::Sentinel { sentinels, .. } => sentinels.iter().any(|(host, _)| !is_loopback(host)),
        }
    }
}

const HINT: &str = "write a URL such as `\"rediss://valkey.example.com:6379/0\"`, or \
                    `\"rediss+sentinel://s1.example.com,s2.example.com/mymaster\"` with Sentinel";

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Reads the URL.
pub(super) fn engine_address(item: &Item<'_>) -> Option<EngineAddress> {
    let text = item.text("a URL", HINT)?;
    or_fault(item, parse(text))
}

fn fault<T>(message: String, hint: &str) -> Result<T, Fault> {
    Err((message, hint.to_owned()))
}

fn parse(text: &str) -> Result<EngineAddress, Fault> {
    // These texts are not shown, because they may contain a password.
    if text.contains('@') {
        let hint = "write the URL without them, and set `username` and `password` beside it";
        return fault(String::from("this URL has a user name or a password in it"), hint);
    }
    if text.contains(['?', '#']) {
        let hint = "remove it: what it would set are keys of `[shared_state]`, such as `password` and `ca`";
        return fault(String::from("this URL has a query or a fragment"), hint);
    }
    let shown = quote(text);
    let Some((scheme, rest)) = text.split_once("://") else {
        return fault(format!("{shown} is not a URL with a scheme"), HINT);
    };
    let scheme = scheme.to_ascii_lowercase();
    let (base, by_sentinel) = match scheme.strip_suffix("+sentinel") {
        Some(base) => (base, true),
        None => (scheme.as_str(), false),
    };
    let tls = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => {
            let hint = "write `redis`, `rediss`, `valkey` or `valkeys`, and `+sentinel` after it if sentinels are asked";
            return fault(format!("the scheme of {shown} is not known here"), hint);
        }
    };
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = if by_sentinel { SENTINEL_PORT } else { SERVER_PORT };
    let hosts = addresses(hosts, port)?;
    if by_sentinel {
        let (master, database) = path.split_once('/').unwrap_or((path, ""));
        let place = EnginePlace::Sentinel { sentinels: hosts, master: master_name(master)? };
        return Ok(EngineAddress { place, tls, database: database_number(database, HINT)? });
    }
    let mut hosts = hosts.into_iter();
    let (Some((host, port)), None) = (hosts.next(), hosts.next()) else {
        let hint = format!(
            "name one server, or write `\"{base}+sentinel://…/mymaster\"` with the sentinels and the name of the master"
        );
        return Err((format!("{shown} names several servers"), hint));
    };
    let hint = format!("write a number such as `/0`, or `{base}+sentinel://` if it is the name of a master");
    Ok(EngineAddress {
        place: EnginePlace::Single { host, port },
        tls,
        database: database_number(path, &hint)?,
    })
}

/// Parses `host[:port]`, once or several times, separated by commas.
fn addresses(text: &str, default_port: u16) -> Result<Vec<(String, u16)>, Fault> {
    let mut found = Vec::new();
    for text in text.split(',') {
        let address = address(text, default_port)?;
        if found.contains(&address) {
            return fault(format!("{} is listed twice", quote(text)), "remove one of the two");
        }
        found.push(address);
    }
    Ok(found)
}

fn address(text: &str, default_port: u16) -> Result<(String, u16), Fault> {
    // The colons of an IPv6 address are in brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return fault(String::from("this URL lacks a host"), HINT);
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        let hint = "write an IPv6 address in brackets, such as `\"redis://[::1]:6379\"`";
        return fault(format!("{} is not a host and a port", quote(text)), hint);
    }
    let host =
        host_name::parse(host).map_err(|(wrong, _)| (format!("{} {wrong}", quote(host)), HINT.into()))?;
    let Some(port) = port else { return Ok((host, default_port)) };
    match port.parse() {
        Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, number)),
        _ => fault(
            format!("{} has no valid port", quote(text)),
            "write a port from 1 to 65535, or leave it out",
        ),
    }
}

/// Parses the name of a master, as sentinels take it.
fn master_name(text: &str) -> Result<String, Fault> {
    const HINT: &str = "write the name of the master as the sentinels have it, such as \
                        `\"rediss+sentinel://s1.example.com,s2.example.com/mymaster\"`";
    if text.is_empty() {
        return fault(String::from("this URL has no name of a master"), HINT);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() > 255 || !text.bytes().all(is_plain) {
        return fault(format!("{} is not the name of a master", quote(text)), HINT);
    }
    Ok(text.to_owned())
}

/// Parses the number of a database. The default is 0.
fn database_number(text: &str, hint: &str) -> Result<i64, Fault> {
    if text.is_empty() {
        return Ok(0);
    }
    match text.parse::<u16>() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number.into()),
        _ => fault(format!("{} is not the number of a database", quote(text)), hint),
    }
}
