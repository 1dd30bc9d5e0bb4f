//! Where a request comes from, as the app is told: `X-Forwarded-*` and `Forwarded` (RFC 7239).
//!
//! What a client says of itself is dropped. What a trusted proxy says is believed as far as its chain is trusted: the
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

/// The headers of one connection, for requests whose client is at its other end: while `Host` stays the same, so do they.
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

/// What an app is told about a request's origin, beside the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    client: IpAddr,
    /// The trusted proxies that the request came through, the last one last.
    proxies: Vec<IpAddr>,
    https: bool,
    /// Whether the peer is a trusted proxy.
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

    /// Whether the client speaks https, as far as is known.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The host that the client asked for: `host`, the request's `Host`, or what a trusted proxy says instead. Apps make
    /// links from it, so it must be one of theirs, by `is_of_app`.
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

/// Whether an address is that of a trusted proxy.
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

/// Whether the byte there stands behind an odd number of backslashes.
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

/// Whether a scheme is https; `None` for one that says nothing about it. Some proxies name that of a WebSocket.
fn is_https(scheme: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| scheme.eq_ignore_ascii_case(name);
    if is(b"https") || is(b"wss") { Some(true) } else { (is(b"http") || is(b"ws")).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `X-Forwarded-For`, `-Host`, `-Proto` and `Forwarded` for the app of `shop.example.com`.
    fn origin(peer: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
        let bytes: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        origin_of_bytes(peer, &bytes)
    }

    fn origin_of_bytes(peer: &str, headers: &[(&'static str, &[u8])]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let host = HeaderValue::from_static("store.example.com:8080");
        let origin = Origin::new(&map, peer.parse().unwrap(), false, &trusted);
        let host = origin.host(&map, &host, |claimed| claimed == "shop.example.com");
        origin.headers(host).iter().map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
    }

    /// What the app learns of the chain behind a trusted peer.
    fn chain(name: &'static str, lines: &[&[u8]]) -> String {
        let headers: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        origin_of_bytes("10.0.0.1:5000", &headers).swap_remove(0)
    }

    #[test]
    fn a_client_says_nothing_about_itself() {
        let spoofed =
            [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        assert_eq!(
            origin("192.0.2.1:5000", &spoofed),
            [
                "192.0.2.1",
                "store.example.com:8080",
                "http",
                "for=192.0.2.1;host=\"store.example.com:8080\";proto=http"
            ]
        );
    }

    #[test]
    fn a_connection_remembers_its_headers_for_one_host_only() {
        let (direct, peer) = (DirectOrigin::default(), "192.0.2.1:5000".parse().unwrap());
        for host in ["store.example.com", "forums.example.com", "store.example.com"] {
            let host = HeaderValue::from_static(host);
            let anew = Origin::new(&HeaderMap::new(), peer, true, &[]).headers(host.clone());
            assert_eq!(direct.headers(peer, true, &host), anew);
        }
    }

    #[test]
    fn a_trusted_chain_is_believed_up_to_the_first_stranger() {
        let headers = [
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example.com"),
        ];
        assert_eq!(
            origin("10.0.0.1:5000", &headers),
            [
                "192.0.2.7, 10.0.0.9, 10.0.0.1",
                "shop.example.com",
                "https",
                "for=192.0.2.7;host=\"shop.example.com\";proto=https"
            ]
        );
    }

    #[test]
    fn forwarded_counts_where_there_is_no_x_forwarded_for() {
        let headers = [("forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:4711\";proto=https, For=10.0.0.9")];
        assert_eq!(origin("10.0.0.1:5000", &headers)[0], "2001:db8::1, 10.0.0.9, 10.0.0.1");
    }

    #[test]
    fn a_chain_is_read_from_the_right_one_element_after_the_other() {
        for (lines, expected) in [
            // What stands left of the client is a stranger's word, whatever it is made of.
            (&[&b"\xff, 203.0.113.5"[..]][..], "203.0.113.5, 10.0.0.1"),
            (&[b"\x80\xfe", b"203.0.113.5"], "203.0.113.5, 10.0.0.1"),
            (&[b"<script>, 203.0.113.5, 10.0.0.9"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
            (&[b"\", 203.0.113.5"], "203.0.113.5, 10.0.0.1"),
            // Empty elements are none (RFC 9110 section 5.6.1).
            (&[b"203.0.113.5, , 10.0.0.9,"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5", b"", b" ,\t"], "203.0.113.5, 10.0.0.1"),
            (&[b""], "10.0.0.1"),
            // Every way to write an address.
            (&[b"203.0.113.5:4711"], "203.0.113.5, 10.0.0.1"),
            (&[b"2001:db8::1"], "2001:db8::1, 10.0.0.1"),
            (&[b"[2001:db8::1]"], "2001:db8::1, 10.0.0.1"),
            (&[b"[2001:db8::1]:4711"], "2001:db8::1, 10.0.0.1"),
            (&[b"2001:DB8:0::1"], "2001:db8::1, 10.0.0.1"),
            (&[b"::ffff:203.0.113.5, 10.0.0.9:80"], "203.0.113.5, 10.0.0.9, 10.0.0.1"),
            (&[b"fe80::1%eth0, 10.0.0.9"], "fe80::1, 10.0.0.9, 10.0.0.1"),
            (&[b"[fe80::1%25eth0]:4711"], "fe80::1, 10.0.0.1"),
            (&[b"203.0.113.5, fe80::1%"], "10.0.0.1"),
            (&[b"203.0.113.5, 1.2.3.4%eth0"], "10.0.0.1"),
            // What is no address ends the chain: it is not skipped, or its left neighbour would be believed.
            (&[b"203.0.113.5, unknown"], "10.0.0.1"),
            (&[b"203.0.113.5, \xff, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, _hidden, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, 1.2.3, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, 1.2.3.4:x, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, [::1, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, [::1]x, 10.0.0.9"], "10.0.0.9, 10.0.0.1"),
            (&[b"203.0.113.5, 198.51.100.1 10.0.0.9"], "10.0.0.1"),
        ] {
            let shown: Vec<_> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
            assert_eq!(chain("x-forwarded-for", lines), expected, "{shown:?}");
        }
    }

    #[test]
    fn so_is_forwarded() {
        for (lines, expected) in [
            (&[&b"for=\xff, for=203.0.113.5"[..]][..], "203.0.113.5, 10.0.0.1"),
            (&[b"for=\", for=203.0.113.5;proto=https"], "203.0.113.5, 10.0.0.1"),
            (&[b"for=6.6.6.6", b", For=\"203.0.113.5:80\" ;by=x,"], "203.0.113.5, 10.0.0.1"),
            (&[b"for=6.6.6.6, by=\"a,b\";for=203.0.113.5"], "203.0.113.5, 10.0.0.1"),
            (&[b"for=203.0.113.5;by=\"a\\\",b;for=6.6.6.6\""], "203.0.113.5, 10.0.0.1"),
            (&[b"for=\"[2001:db8::1]:_port\""], "2001:db8::1, 10.0.0.1"),
            (&[b"for=[2001:db8::1]"], "2001:db8::1, 10.0.0.1"),
            (&[b"for=6.6.6.6, for=unknown"], "10.0.0.1"),
            (&[b"for=6.6.6.6, by=10.0.0.7"], "10.0.0.1"),
            (&[b"for=6.6.6.6;for=203.0.113.5"], "10.0.0.1"),
        ] {
            let shown: Vec<_> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
            assert_eq!(chain("forwarded", lines), expected, "{shown:?}");
        }
    }

    #[test]
    fn the_host_is_one_of_the_apps_or_that_of_the_request() {
        for (lines, expected) in [
            (&[&b"shop.example.com"[..]][..], "shop.example.com"),
            (&[b"evil.example, shop.example.com"], "shop.example.com"),
            (&[b"\xff, shop.example.com ,"], "shop.example.com"),
            (&[b"shop.example.com, evil.example"], "store.example.com:8080"),
            (&[b"shop.example.com", b"evil.example"], "store.example.com:8080"),
            (&[b"a\"b"], "store.example.com:8080"),
            (&[b"\xff"], "store.example.com:8080"),
            (&[b""], "store.example.com:8080"),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-host", *line)).collect();
            assert_eq!(origin_of_bytes("10.0.0.1:1", &headers)[1], expected);
            assert_eq!(origin_of_bytes("192.0.2.1:1", &headers)[1], "store.example.com:8080");
        }
    }

    #[test]
    fn the_scheme_is_http_or_https() {
        for (lines, expected) in [
            (&[&b"https"[..]][..], "https"),
            (&[b"HTTPS"], "https"),
            (&[b"http, https"], "https"),
            (&[b"https, http"], "http"),
            (&[b"\xff, https,"], "https"),
            // Some proxies name the scheme of a WebSocket (RFC 6455 section 3).
            (&[b"wss"], "https"),
            (&[b"ws"], "http"),
            // Nothing is known of these, so the connection counts.
            (&[b"javascript"], "http"),
            (&[b""], "http"),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-proto", *line)).collect();
            assert_eq!(origin_of_bytes("10.0.0.1:1", &headers)[2], expected);
        }
    }
}
