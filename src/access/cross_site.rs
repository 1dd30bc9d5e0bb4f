//! Finds requests that another site made the browser send (OWASP: cross-site request forgery).
//!
//! `SameSite` alone does not help, because apps on sibling hosts are same-site. So every request that changes state or
//! opens a WebSocket with a session, and every login and logout, must come from the app's own origin or from an allowed
//! one. A client that sends neither `Origin` nor `Sec-Fetch-Site` is not a browser, and no site controls it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::syntax::authority::{Authority, default_port};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Tells whether the request comes from another origin that is not in `allowed`. `host` is the request's `Host`.
pub fn is_cross_site(headers: &HeaderMap, host: &str, allowed: &[String]) -> bool {
    let (origin, site) = (Said::of(headers, &header::ORIGIN), Said::of(headers, &SEC_FETCH_SITE));
    match origin {
        Said::Nothing => !matches!(site, Said::Nothing | Said::Once(b"same-origin" | b"none")),
        Said::Once(origin) if is_allowed(origin, allowed) => false,
        // `null` is the origin of a page with `Referrer-Policy: no-referrer`. It is also the origin of a sandboxed
        // frame, of a `data:` page, and of a redirect over another site. `Sec-Fetch-Site` shows the difference, and no
        // page can set it.
        Said::Once(b"null") => !matches!(site, Said::Once(b"same-origin")),
        // `none` means that the user typed the address. A scheme downgrade is `same-site` or `cross-site`, and never
        // `same-origin`.
        Said::Once(origin) if is_own_origin(origin, host) => {
            !matches!(site, Said::Nothing | Said::Once(b"same-origin" | b"none"))
        }
        Said::Once(_) | Said::Twice => true,
    }
}

/// The content of a field that browsers send at most once.
enum Said<'a> {
    Nothing,
    Once(&'a [u8]),
    Twice,
}

impl<'a> Said<'a> {
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::Once(value),
            (Some(_), Some(_)) => Self::Twice,
        }
    }
}

fn is_allowed(origin: &[u8], allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin))
}

/// Tells whether an origin (RFC 6454 section 6.2) is that of the host. Its scheme is not compared, because Portcullis
/// cannot know its own scheme behind a proxy that ends TLS. `Sec-Fetch-Site` shows a different scheme. If `Host` has no
/// port, its port is the default port of the origin's scheme.
fn is_own_origin(origin: &[u8], host: &str) -> bool {
    let Some(end) = memchr::memmem::find(origin, b"://") else { return false };
    let (scheme, rest) = origin.split_at_checked(end).unwrap_or_default();
    let authority = Authority::parse(rest.get(3..).unwrap_or_default());
    let own = Authority::parse(host.as_bytes());
    match (default_port(scheme), authority, own) {
        (Some(port), Some(authority), Some(own)) => authority.is_same(&own, port),
        _ => false,
    }
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

    /// Every `Origin` with every `Sec-Fetch-Site`.
    #[test]
    fn origins_and_fetch_metadata() {
        const SITES: [&[&str]; 9] = [
            &[],
            &["same-origin"],
            &["none"],
            &["same-site"],
            &["cross-site"],
            &[""],
            &["SAME-ORIGIN"],
            &["same-origin", "same-origin"],
            &["same-origin", "cross-site"],
        ];
        let own: &[usize] = &[0, 1, 2];
        for (origins, accepted) in [
            (&[][..], own),
            (&["https://store.example.com"], own),
            (&["https://store.example.com."], own),
            (&["https://store.example.com:443"], own),
            (&["https://www.example.com"], &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
            (&["null"], &[1]),
            (&["Null"], &[]),
            (&[""], &[]),
            (&["https://evil.example"], &[]),
            (&["https://store.example.com:444"], &[]),
            (&["https://store.example.com, null"], &[]),
            (&["null", "null"], &[]),
            (&["https://store.example.com", "https://store.example.com"], &[]),
            (&["https://www.example.com", "https://www.example.com"], &[]),
        ] {
            for (index, sites) in SITES.iter().enumerate() {
                let mut headers = HeaderMap::new();
                for origin in origins {
                    headers.append(header::ORIGIN, HeaderValue::from_static(origin));
                }
                for site in *sites {
                    headers.append(SEC_FETCH_SITE, HeaderValue::from_static(site));
                }
                let allowed = [String::from("https://www.example.com")];
                let refused = is_cross_site(&headers, "store.example.com", &allowed);
                assert_eq!(refused, !accepted.contains(&index), "{origins:?} {sites:?}");
            }
        }
    }

    #[test]
    fn an_origin_that_is_no_text_is_not_null() {
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append(SEC_FETCH_SITE, HeaderValue::from_static("same-origin"));
        assert!(is_cross_site(&headers, "a.example", &[]));
    }
}
