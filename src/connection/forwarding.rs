//! The headers that tell the app where a request comes from: `X-Forwarded-*` and `Forwarded` (RFC 7239).
//!
//! A client's own statements about that are dropped. A trusted proxy is believed as far as its chain is trusted. The client
//! is the right-most hop that is not a trusted proxy. Everything to the left of it could be made up.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use crate::syntax::list_field;

/// `X-Forwarded-For`.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Host`.
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Proto`.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers that tell an app about a request's origin.
pub(crate) type OriginHeaders = [(HeaderName, HeaderValue); 4];

/// The headers for requests whose client is at the other end of one connection. They stay the same as long as `Host`
/// does.
#[derive(Debug, Default)]
pub(crate) struct DirectOrigin(OnceLock<(HeaderValue, OriginHeaders)>);

impl DirectOrigin {
    /// Returns what [`Origin::headers`] would for a peer that is not a trusted proxy. `peer` and `https` must be the
    /// same at each call.
    pub(crate) fn headers(&self, peer: SocketAddr, https: bool, host: &HeaderValue) -> OriginHeaders {
        let make = || Origin::direct(peer, https).headers(host.clone());
        let (known_host, known) = self.0.get_or_init(|| (host.clone(), make()));
        if known_host == host { known.clone() } else { make() }
    }
}

/// The origin of a request, except for the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    client: IpAddr,
    /// The trusted proxies that the request came through, the last one last.
    proxies: Vec<IpAddr>,
    https: bool,
    /// True if the peer is a trusted proxy.
    is_from_proxy: bool,
}

impl Origin {
    /// Finds the origin. `https` is true if this hop came over TLS.
    pub(crate) fn new(headers: &HeaderMap, peer: SocketAddr, https: bool, trusted: &[IpNet]) -> Self {
        let mut origin = Self::direct(peer, https);
        if !is_trusted(origin.client, trusted) {
            return origin;
        }
        origin.is_from_proxy = true;
        origin.follow(claimed_hops(headers), trusted);
        if let Some(claimed) = last_member(headers, &X_FORWARDED_PROTO) {
            origin.https = is_https(claimed).unwrap_or(https);
        }
        origin
    }

    /// Returns the origin of a request whose client is the peer, whatever the request says.
    fn direct(peer: SocketAddr, https: bool) -> Self {
        Self { client: peer.ip().to_canonical(), proxies: Vec::new(), https, is_from_proxy: false }
    }

    /// Goes back along the hops, given from the right, as far as they are trusted. `None` stands for a hop that is not
    /// an address.
    fn follow(&mut self, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) {
        for ip in hops.map_while(|hop| hop) {
            self.proxies.push(std::mem::replace(&mut self.client, ip));
            if !is_trusted(ip, trusted) {
                break;
            }
        }
        self.proxies.reverse();
    }

    /// Returns the client's address: the right-most hop that is not a trusted proxy.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Returns true if the client speaks https, as far as is known.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// Returns the host that the client asked for: `host` (the request's `Host`), or the one that a trusted proxy names
    /// instead. Apps make links from it, so it must be one of the app's hosts, as `is_of_app` says.
    pub(crate) fn host(
        &self,
        headers: &HeaderMap,
        host: &HeaderValue,
        is_of_app: impl FnOnce(&str) -> bool,
    ) -> HeaderValue {
        let claimed = last_member(headers, &X_FORWARDED_HOST).filter(|_| self.is_from_proxy);
        let claimed = claimed.and_then(|claimed| std::str::from_utf8(claimed).ok());
        let claimed = claimed.filter(|claimed| is_of_app(claimed));
        claimed.and_then(|claimed| HeaderValue::from_str(claimed).ok()).unwrap_or_else(|| host.clone())
    }

    /// Returns the headers that the app receives in place of the request's own.
    pub(crate) fn headers(self, host: HeaderValue) -> OriginHeaders {
        let proto = if self.https { "https" } else { "http" };
        let mut forwarded_for = self.client.to_string();
        let name = host.to_str().unwrap_or_default();
        let (open, close) = if self.client.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let forwarded = ["for=", open, &forwarded_for, close, ";host=\"", name, "\";proto=", proto].concat();
        for proxy in &self.proxies {
            let _ = write!(forwarded_for, ", {proxy}");
        }
        // An address is always a valid header value. So is a text that was read as an address.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        [
            (X_FORWARDED_FOR, value(forwarded_for)),
            (X_FORWARDED_HOST, host),
            (X_FORWARDED_PROTO, HeaderValue::from_static(proto)),
            (header::FORWARDED, value(forwarded)),
        ]
    }
}

/// Returns true if an address belongs to a trusted proxy.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Returns the hops that a trusted peer claims, from the right, and `None` for a hop that is not an address. If there
/// is `X-Forwarded-For`, only that counts: most proxies write it and pass a client's `Forwarded` on untouched.
///
/// Each proxy appends what it knows, so the right end comes from the last proxy. The text to the left of it may be
/// anything, and must not change how the right end is read.
fn claimed_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let counts = if headers.contains_key(&X_FORWARDED_FOR) { X_FORWARDED_FOR } else { header::FORWARDED };
    let is_forwarded = counts == header::FORWARDED;
    let lines = headers.get_all(counts).iter().rev().map(HeaderValue::as_bytes);
    let members = lines.flat_map(|line| rsplit_unquoted(line, b',')).map(list_field::trim);
    members.filter(|member| !member.is_empty()).map(move |member| {
        let node = if is_forwarded { forwarded_node(member)? } else { member };
        address(node)
    })
}

/// Returns the node of the one `for` of an element of `Forwarded` (RFC 7239 section 5.2).
fn forwarded_node(element: &[u8]) -> Option<&[u8]> {
    let mut nodes = rsplit_unquoted(element, b';').filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, node) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        list_field::trim(name).eq_ignore_ascii_case(b"for").then(|| list_field::trim(node))
    });
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    Some(node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node))
}

/// Splits a text at separators outside of quoted strings (RFC 9110 section 5.6.4). Returns the parts from the right.
fn rsplit_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let found = text.iter().enumerate().rposition(|(at, &byte)| {
            is_quoted ^= byte == b'"' && !is_escaped(text, at);
            byte == separator && !is_quoted
        });
        rest = found.and_then(|at| text.get(..at));
        found.map_or(Some(text), |at| text.get(at + 1..))
    })
}

/// Returns true if an odd number of backslashes precedes the byte at `at`.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Reads an address with or without a port, which may be a number or a name (RFC 7239 section 6). Leaves out the zone
/// of an IPv6 address (RFC 4007 section 11), which has a meaning only on the proxy's machine.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        // Several colons belong to an IPv6 address without a port.
        None => match text.find(':').filter(|&colon| text.rfind(':') == Some(colon)) {
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.parse::<u16>().is_ok() || port.strip_prefix('_').is_some_and(|name| !name.is_empty())
        });
    let (ip, zone) = ip.split_once('%').map_or((ip, None), |(ip, zone)| (ip, Some(zone)));
    let ip = ip.parse::<IpAddr>().ok().filter(|ip| zone.is_none_or(|zone| ip.is_ipv6() && !zone.is_empty()));
    ip.filter(|_| is_port).map(|ip| ip.to_canonical())
}

/// Returns the last member of a list field over all its lines.
fn last_member<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    list_field::of(headers, name).next_back()
}

/// Returns true if a scheme is https, and `None` if it says nothing about that. Some proxies name a WebSocket's scheme.
fn is_https(scheme: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") { Some(true) } else { (is(b"http") || is(b"ws")).then_some(false) }
}

#[cfg(test)]
mod tests;
