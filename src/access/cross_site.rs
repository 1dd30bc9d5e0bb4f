//! Requests that another site made the browser send (OWASP: cross-site request forgery).
//!
//! `SameSite` alone does not help: apps on sibling hosts are same-site. So every request that changes state or opens a
//! WebSocket with a session, and every login and logout, must come from the app's own origin or from an allowed one.
//! Clients that send neither `Origin` nor `Sec-Fetch-Site` are no browsers, and are not told to do anything by a site.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers by which many frameworks let a request have another method than the one it says.
const METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Whether a method may change state (RFC 9110 section 9.2.1).
pub fn changes_state(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request may have any method, whatever it says of itself.
pub fn overrides_method(headers: &HeaderMap) -> bool {
    METHOD_OVERRIDES.iter().any(|name| headers.contains_key(name))
}

/// Whether the request comes from another origin that is not in `allowed`. `host` is the request's `Host`.
pub fn is_cross_site(headers: &HeaderMap, host: &str, allowed: &[String]) -> bool {
    if headers.get_all(header::ORIGIN).iter().nth(1).is_some() {
        return true;
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    if let Some(origin) = origin {
        if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return false;
        }
        if !is_own_origin(origin, host) {
            return true;
        }
    }
    // `none`: typed by the user. A scheme downgrade is `same-site` or `cross-site`, never `same-origin`.
    let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    !headers.get_all(SEC_FETCH_SITE).iter().all(is_own)
}

/// Whether an origin (RFC 6454 section 6.2) is that of the host. Its scheme is not compared: behind a proxy that ends
/// TLS we cannot know ours, and `Sec-Fetch-Site` tells.
fn is_own_origin(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let without_default =
        |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    without_default(authority) == without_default(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_tell_a_browser_what_to_do() {
        let allowed = [String::from("https://www.example.com")];
        for (origin, fetch_site, host, refused) in [
            (None, None, "store.example.com", false),
            (Some("https://store.example.com"), None, "store.example.com", false),
            (Some("https://store.example.com"), Some("same-origin"), "store.example.com", false),
            (Some("https://STORE.example.com"), None, "Store.Example.com", false),
            (Some("https://store.example.com"), None, "store.example.com:443", false),
            (Some("http://store.localhost:8080"), None, "store.localhost:8080", false),
            (None, Some("none"), "store.example.com", false),
            (Some("https://www.example.com"), Some("same-site"), "store.example.com", false),
            (Some("https://forums.example.com"), Some("same-site"), "store.example.com", true),
            (Some("https://forums.example.com"), None, "store.example.com", true),
            (Some("https://evil.example"), Some("same-origin"), "store.example.com", true),
            (Some("http://store.example.com"), Some("cross-site"), "store.example.com", true),
            (Some("http://store.localhost:9090"), None, "store.localhost:8080", true),
            (Some("https://store.example.com.evil.example"), None, "store.example.com", true),
            (Some("null"), None, "store.example.com", true),
            (Some(""), None, "store.example.com", true),
            (Some("store.example.com"), None, "store.example.com", true),
            (Some("file://store.example.com"), None, "store.example.com", true),
            (None, Some("cross-site"), "store.example.com", true),
            (None, Some("same-site"), "store.example.com", true),
            (None, Some("anything"), "store.example.com", true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            if let Some(site) = fetch_site {
                headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            }
            assert_eq!(is_cross_site(&headers, host, &allowed), refused, "{origin:?} {fetch_site:?} {host}");
        }
    }

    #[test]
    fn every_fetch_site_counts() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_FETCH_SITE, HeaderValue::from_static("same-origin"));
        assert!(!is_cross_site(&headers, "a.example", &[]));
        headers.append(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"));
        assert!(is_cross_site(&headers, "a.example", &[]));
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        assert!(is_cross_site(&headers, "a.example", &[]));
    }
}
