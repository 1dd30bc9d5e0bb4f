//! Reads the session's cookies in a request, and removes them before the app receives it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header};
use memchr::memchr;

use crate::access::cookie_codec::{self, MAX_PARTS};
use crate::syntax::redacted::Redacted;

/// The names of an app's two cookies.
#[derive(Debug, Clone)]
pub struct CookieNames {
    /// The name of the JWT's cookie.
    pub access_token: String,
    /// The name of the refresh token's cookie.
    pub refresh_token: String,
}

/// The number of cookies that a request brought for each token. If a new token needs fewer, the others must be cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presented {
    /// The highest part of the JWT, counted from 1. `0` if there is no part.
    pub access_token: usize,
    /// The highest part of the refresh token.
    pub refresh_token: usize,
}

/// The session's cookies of one request.
#[derive(Debug, Default)]
pub struct SessionCookies<'a> {
    /// The JWT, joined from its parts. `None` if it is absent or incomplete.
    pub access_token: Redacted<Option<Cow<'a, str>>>,
    /// The refresh token.
    pub refresh_token: Redacted<Option<Cow<'a, str>>>,
    /// The number of cookies that came.
    pub presented: Presented,
    /// A session cookie came twice. Somebody has injected one of them, and it is not known which one.
    pub duplicate: bool,
}

impl SessionCookies<'_> {
    /// Tells whether there is neither a JWT nor a refresh token.
    pub fn is_empty(&self) -> bool {
        self.access_token.is_none() && self.refresh_token.is_none()
    }
}

impl CookieNames {
    /// Returns the token and the part of it that a cookie holds.
    fn classify(&self, cookie: &str) -> Option<(bool, usize)> {
        if let Some(part) = cookie_codec::part_number(cookie, &self.access_token) {
            return Some((true, part));
        }
        cookie_codec::part_number(cookie, &self.refresh_token).map(|part| (false, part))
    }

    /// Reads the session's cookies. If a cookie came twice, both tokens stay empty.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> SessionCookies<'a> {
        let mut access_parts = [None; MAX_PARTS];
        let mut refresh_parts = [None; MAX_PARTS];
        let mut cookies = SessionCookies::default();
        let values = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        for pair in values.flat_map(pairs) {
            let Some((name, value)) = split_pair(pair) else { continue };
            let Some((is_access, part)) = self.classify(name) else { continue };
            let (parts, highest) = if is_access {
                (&mut access_parts, &mut cookies.presented.access_token)
            } else {
                (&mut refresh_parts, &mut cookies.presented.refresh_token)
            };
            *highest = (*highest).max(part + 1);
            if let Some(slot) = parts.get_mut(part) {
                cookies.duplicate |= slot.replace(value).is_some();
            }
        }
        if !cookies.duplicate {
            *cookies.access_token = cookie_codec::decode(&access_parts).filter(|token| !token.is_empty());
            *cookies.refresh_token = cookie_codec::decode(&refresh_parts).filter(|token| !token.is_empty());
        }
        cookies
    }

    /// Returns the names of the session's cookies that came at least `at_least` times.
    pub fn names<'a>(&'a self, headers: &'a HeaderMap, at_least: usize) -> Vec<&'a str> {
        let mut names: Vec<_> = self.pairs(headers).filter_map(split_pair).map(|(name, _)| name).collect();
        names.sort_unstable();
        let repeated = names.chunk_by(|one, next| one == next).filter(|same| same.len() >= at_least);
        repeated.filter_map(<[&str]>::first).copied().collect()
    }

    /// Returns the session's cookies as they came, each with its name.
    pub fn pairs<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        let values = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
        let is_ours = |pair: &&[u8]| split_pair(pair).is_some_and(|(name, _)| self.classify(name).is_some());
        values.flat_map(pairs).map(<[u8]>::trim_ascii).filter(is_ours)
    }

    /// Removes the session's cookies from a `Cookie` header. Returns `None` if nothing is left. The bytes of other
    /// cookies do not change.
    pub fn strip(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let mut kept = Vec::new();
        let mut has_ours = false;
        for pair in pairs(value.as_bytes()) {
            let name = memchr(b'=', pair).and_then(|end| pair.get(..end)).unwrap_or(pair).trim_ascii();
            if std::str::from_utf8(name).is_ok_and(|name| self.classify(name).is_some()) {
                has_ours = true;
                continue;
            }
            let pair = pair.trim_ascii();
            if !kept.is_empty() && !pair.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair);
        }
        match (has_ours, kept.is_empty()) {
            (false, _) => Some(value.clone()),
            (true, true) => None,
            (true, false) => HeaderValue::try_from(kept).ok(),
        }
    }

    /// Tells whether an app's `Set-Cookie` would overwrite a session cookie. Browsers match the `__Host-` prefix in any
    /// case (RFC 6265bis section 4.1.3). To be safe, whole names are compared here without regard to case.
    pub fn is_overwritten_by(&self, set_cookie: &HeaderValue) -> bool {
        let bytes = set_cookie.as_bytes();
        // A browser sends a cookie without a name as its value alone. The value then reads like a name.
        let mut parts = bytes.split(|byte| matches!(byte, b'=' | b';')).map(<[u8]>::trim_ascii);
        let name = parts.find(|part| !part.is_empty()).unwrap_or_default();
        [&self.access_token, &self.refresh_token].iter().any(|ours| {
            let ours = ours.as_bytes();
            name.split_at_checked(ours.len()).is_some_and(|(start, rest)| {
                start.eq_ignore_ascii_case(ours) && matches!(rest, [] | [b'.', b'0'..=b'9'])
            })
        })
    }
}

/// Returns the pairs of a `Cookie` header. `memchr` finds the next `;` fast, even after a long JWT.
fn pairs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr(b';', all).unwrap_or(all.len());
        rest = all.get(end + 1..);
        all.get(..end)
    })
}

/// Returns the name and the value of one cookie. A value that is not UTF-8 becomes empty. In a session cookie such a
/// value is not a token, and other cookies reach the app unchanged.
fn split_pair(pair: &[u8]) -> Option<(&str, &str)> {
    let equals = memchr(b'=', pair)?;
    let (name, value) = pair.split_at_checked(equals)?;
    let name = std::str::from_utf8(name.trim_ascii()).ok()?;
    let value = value.get(1..)?.trim_ascii();
    Some((name, std::str::from_utf8(value).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> CookieNames {
        CookieNames { access_token: "__Host-at".into(), refresh_token: "__Host-rt".into() }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let pairs = values.iter().map(|value| (header::COOKIE, HeaderValue::from_str(value).unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn both_tokens_are_read_from_one_or_several_headers() {
        for values in
            [&["a=1; __Host-at=jwt; __Host-rt=opaque"][..], &["__Host-rt=opaque", "a=1;__Host-at=jwt;b"]]
        {
            let headers = headers(values);
            let cookies = names().read(&headers);
            assert_eq!(cookies.access_token.as_deref(), Some("jwt"));
            assert_eq!(cookies.refresh_token.as_deref(), Some("opaque"));
            assert_eq!(cookies.presented, Presented { access_token: 1, refresh_token: 1 });
        }
    }

    #[test]
    fn tokens_are_not_shown() {
        let headers = headers(&["__Host-at=secret-jwt; __Host-rt=secret-token"]);
        let shown = format!("{:?}", names().read(&headers));
        assert!(shown.contains("presented") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_cookie_that_comes_twice_refuses_the_session() {
        let headers = headers(&["__Host-at=one; __Host-rt=x", "__Host-at=one"]);
        let cookies = names().read(&headers);
        assert!(cookies.duplicate);
        assert!(cookies.is_empty());
    }

    #[test]
    fn names_are_compared_exactly() {
        let headers = headers(&["__host-at=x; at=x; __Host-at2=x; __Host-at.9=x; __Host-at.=x"]);
        assert!(names().read(&headers).is_empty());
    }

    #[test]
    fn the_app_sees_its_own_cookies_only() {
        for (before, after) in [
            ("__Host-at=x; __Host-rt=y", None),
            ("a=1; __Host-at=x; b=2", Some("a=1; b=2")),
            ("__Host-at=x; __Host-at.1=y; a=1", Some("a=1")),
            ("a=\"q;r\" ; b", Some("a=\"q;r\" ; b")),
            ("__Host-at", None),
            ("a=1;;__Host-rt=z;", Some("a=1")),
        ] {
            let stripped = names().strip(&HeaderValue::from_str(before).unwrap());
            assert_eq!(stripped.as_ref().map(|value| value.to_str().unwrap()), after, "{before}");
        }
    }

    #[test]
    fn an_app_cannot_overwrite_the_session() {
        for ours in [
            "__Host-at=x",
            "__host-AT=x; Path=/",
            "__Host-rt.1=x",
            "__Host-at",
            " __Host-at =x",
            "=__Host-at=x",
            " = =__Host-rt",
        ] {
            assert!(names().is_overwritten_by(&HeaderValue::from_str(ours).unwrap()), "{ours}");
        }
        for other in ["sid=__Host-at=x", "__Host-at2=x", "x=1; __Host-at=x"] {
            assert!(!names().is_overwritten_by(&HeaderValue::from_str(other).unwrap()), "{other}");
        }
    }
}
