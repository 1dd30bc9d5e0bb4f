//! The origin of a request, as the app is told: `X-Forwarded-*` and `Forwarded` (RFC 7239).
//!
//! A client's word about itself is dropped. A trusted proxy is believed as far as its chain is trusted: the
//! client is the right-most hop that is no trusted proxy, and everything left of it could be made up.

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

/// The headers of one connection, for requests whose client is at its other end: while `Host` stays the same, so do
/// they.
#[derive(Debug, Default)]
pub(crate) struct DirectOrigin(OnceLock<(HeaderValue, OriginHeaders)>);

impl DirectOrigin {
    /// As [`Origin::headers`] for a peer that is no trusted proxy. `peer` and `https` must be the same at each call.
    pub(crate) fn headers(&self, peer: SocketAddr, https: bool, host: &HeaderValue) -> OriginHeaders {
        let make = || Origin::direct(peer, https).headers(host.clone());
        let (known_host, known) = self.0.get_or_init(|| (host.clone(), make()));
        if known_host == host { known.clone() } else { make() }
    }
}

/// The origin of a request, beside the host.
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
    /// Finds the origin. `https`: whether this hop came over TLS.
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

    /// The origin of a request whose client is the peer, whatever it says of itself.
    fn direct(peer: SocketAddr, https: bool) -> Self {
        Self { client: peer.ip().to_canonical(), proxies: Vec::new(), https, is_from_proxy: false }
    }

    /// Goes back along the hops, given from the right, as far as they are trusted. `None` is what is no address.
    fn follow(&mut self, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) {
        for ip in hops.map_while(|hop| hop) {
            self.proxies.push(std::mem::replace(&mut self.client, ip));
            if !is_trusted(ip, trusted) {
                break;
            }
        }
        self.proxies.reverse();
    }

    /// The client's address: the right-most hop that is no trusted proxy.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Returns true if the client speaks https, as far as is known.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The host that the client asked for: `host`, the request's `Host`, or what a trusted proxy says instead. Apps
    /// make links from it, so it must be one of theirs, by `is_of_app`.
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

    /// The headers that the app receives, instead of whatever there was.
    pub(crate) fn headers(self, host: HeaderValue) -> OriginHeaders {
        let proto = if self.https { "https" } else { "http" };
        let mut forwarded_for = self.client.to_string();
        let name = host.to_str().unwrap_or_default();
        let (open, close) = if self.client.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let forwarded = ["for=", open, &forwarded_for, close, ";host=\"", name, "\";proto=", proto].concat();
        for proxy in &self.proxies {
            let _ = write!(forwarded_for, ", {proxy}");
        }
        // Addresses are always header values, and so is what was read as one.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        [
            (X_FORWARDED_FOR, value(forwarded_for)),
            (X_FORWARDED_HOST, host),
            (X_FORWARDED_PROTO, HeaderValue::from_static(proto)),
            (header::FORWARDED, value(forwarded)),
        ]
    }
}

/// Returns true if an address is that of a trusted proxy.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The hops that a trusted peer claims, from the right; `None` for what is no address. `X-Forwarded-For` counts where
/// there is one, since most proxies write it and pass a client's `Forwarded` on untouched.
///
/// Each proxy appends what it knows, so the right end is the last proxy's word. What stands left of it may be anything,
/// and must not change how the right end is read.
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

/// The node of the one `for` of an element of `Forwarded` (RFC 7239 section 5.2).
fn forwarded_node(element: &[u8]) -> Option<&[u8]> {
    let mut nodes = rsplit_unquoted(element, b';').filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, node) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        list_field::trim(name).eq_ignore_ascii_case(b"for").then(|| list_field::trim(node))
    });
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    Some(node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node))
}

/// The parts of a text between separators outside of quoted strings (RFC 9110 section 5.6.4), from the right.
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

/// Returns true if the byte there stands behind an odd number of backslashes.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// An address with or without a port, which may be a number or a name (RFC 7239 section 6). The zone of an IPv6 address
/// (RFC 4007 section 11) is left out: it means something on the proxy's machine alone.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        // Several colons are those of an IPv6 address without a port.
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

/// The last member of a list field over all its lines.
fn last_member<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    list_field::of(headers, name).next_back()
}

/// Reads if a scheme is https; `None` for one that says nothing about it. Some proxies name that of a WebSocket.
fn is_https(scheme: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") { Some(true) } else { (is(b"http") || is(b"ws")).then_some(false) }
}

#[cfg(test)]
mod tests;
