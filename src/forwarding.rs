//! Where a request comes from, as the app is told: `X-Forwarded-*` and `Forwarded` (RFC 7239).
//!
//! What a client says of itself is dropped. What a trusted proxy says is believed as far as its chain is trusted: the
//! client is the right-most hop that is no trusted proxy, and everything left of it could be made up.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

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
        let make = || Origin::direct(peer, https, host).headers();
        let (known_host, known) = self.0.get_or_init(|| (host.clone(), make()));
        if known_host == host { known.clone() } else { make() }
    }
}

/// What an app is told about a request's origin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    client: IpAddr,
    /// The trusted proxies that the request came through, the last one last.
    proxies: Vec<IpAddr>,
    https: bool,
    host: HeaderValue,
}

impl Origin {
    /// Finds the origin. `host` is the request's `Host`; `https` whether this hop came over TLS.
    pub(crate) fn new(
        headers: &HeaderMap,
        peer: SocketAddr,
        https: bool,
        host: &HeaderValue,
        trusted: &[IpNet],
    ) -> Self {
        let mut client = peer.ip().to_canonical();
        let mut proxies = Vec::new();
        if !is_trusted(client, trusted) {
            return Self::direct(peer, https, host);
        }
        for claimed in claimed_hops(headers).into_iter().rev() {
            let Some(ip) = claimed else { break };
            proxies.push(std::mem::replace(&mut client, ip));
            if !is_trusted(ip, trusted) {
                break;
            }
        }
        proxies.reverse();
        let claimed_host = last_token(headers, &X_FORWARDED_HOST).filter(|host| is_host(host));
        Self {
            client,
            proxies,
            https: last_token(headers, &X_FORWARDED_PROTO)
                .map_or(https, |proto| proto.eq_ignore_ascii_case("https")),
            host: claimed_host.and_then(|host| HeaderValue::from_str(host).ok()).unwrap_or(host.clone()),
        }
    }

    /// The origin of a request whose client is the peer, whatever it says of itself.
    fn direct(peer: SocketAddr, https: bool, host: &HeaderValue) -> Self {
        Self { client: peer.ip().to_canonical(), proxies: Vec::new(), https, host: host.clone() }
    }

    /// The client's address: the right-most hop that is no trusted proxy.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether the client speaks https, as far as is known.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The headers that the app receives, instead of whatever there was.
    pub(crate) fn headers(self) -> OriginHeaders {
        let proto = if self.https { "https" } else { "http" };
        let mut forwarded_for = self.client.to_string();
        let host = self.host.to_str().unwrap_or_default();
        let (open, close) = if self.client.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let forwarded = ["for=", open, &forwarded_for, close, ";host=\"", host, "\";proto=", proto].concat();
        for proxy in &self.proxies {
            let _ = write!(forwarded_for, ", {proxy}");
        }
        // Addresses are always header values, and so is what was read as one.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        [
            (X_FORWARDED_FOR, value(forwarded_for)),
            (X_FORWARDED_HOST, self.host),
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

/// The hops that a trusted peer claims, left to right; `None` for what is no address. `X-Forwarded-For` counts where
/// there is one, since most proxies write it and pass a client's `Forwarded` on untouched.
fn claimed_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let tokens = |name: &HeaderName| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|token| token.trim().to_owned()).collect()
    };
    if headers.contains_key(&X_FORWARDED_FOR) {
        return tokens(&X_FORWARDED_FOR).iter().map(|token| address(token)).collect();
    }
    let elements = tokens(&header::FORWARDED);
    let node = |element: &String| {
        let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
        let mut nodes =
            pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, node)| node);
        address(nodes.next()?.trim().trim_matches('"'))
    };
    elements.iter().map(node).collect()
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|ip| ip.to_canonical())
}

fn last_token<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim).filter(|token| !token.is_empty())
}

fn is_host(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let host = HeaderValue::from_static("store.example.com:8080");
        let origin = Origin::new(&map, peer.parse().unwrap(), false, &host, &trusted);
        origin.headers().iter().map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
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
            let anew = Origin::new(&HeaderMap::new(), peer, true, &host, &[]).headers();
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
    fn what_is_no_address_ends_the_chain() {
        for garbage in ["unknown", "_hidden", "1.2.3", "", "<script>"] {
            let chain = format!("192.0.2.7, {garbage}, 10.0.0.9");
            assert_eq!(
                origin("10.0.0.1:1", &[("x-forwarded-for", &chain)])[0],
                "10.0.0.9, 10.0.0.1",
                "{garbage}"
            );
        }
    }

    #[test]
    fn a_strange_host_is_not_passed_on() {
        assert_eq!(origin("10.0.0.1:1", &[("x-forwarded-host", "a\"b")])[1], "store.example.com:8080");
    }
}
