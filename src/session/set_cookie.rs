//! The `Set-Cookie` headers that set, replace and clear the cookies of a session.

use std::net::IpAddr;
use std::ops::Range;

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::HeaderValue;

use crate::access::cookie_codec::{self, MAX_PARTS, TooLarge};
use crate::access::cookies::Presented;
use crate::config;

/// The largest number of cookies of other domains and paths that one answer clears. Proxies in front of Portcullis
/// limit the size of an answer's head.
const MAX_CLEARED_ELSEWHERE: usize = 24;

/// Writes an app's cookies.
#[derive(Debug, Clone)]
pub struct CookieWriter {
    settings: config::Cookies,
}

impl CookieWriter {
    /// Creates a writer with an app's settings.
    pub fn new(settings: config::Cookies) -> Self {
        Self { settings }
    }

    /// Tells whether browsers keep the cookies if they reach `host` by plain http.
    pub fn is_kept_over_http(&self, host: &str) -> bool {
        self.settings.are_kept_over_http(host)
    }

    /// Returns the cookies of a new access token. They also clear the remaining cookies of a longer, older one.
    pub fn access_token(&self, token: &str, presented: Presented) -> Result<Vec<HeaderValue>, TooLarge> {
        self.write(&self.settings.access_token, token, presented.access_token)
    }

    /// Returns the cookies of a new refresh token. They also clear the remaining cookies of a longer, older one.
    pub fn refresh_token(&self, token: &str, presented: Presented) -> Result<Vec<HeaderValue>, TooLarge> {
        self.write(&self.settings.refresh_token, token, presented.refresh_token)
    }

    /// Clears the refresh token alone, because the provider gave none this time.
    pub fn clear_refresh_token(&self, presented: Presented) -> Vec<HeaderValue> {
        self.removals(&self.settings.refresh_token, 0..presented.refresh_token).collect()
    }

    /// Clears both tokens, with all parts that the request brought.
    pub fn clear(&self, presented: Presented) -> Vec<HeaderValue> {
        let tokens = [
            (&self.settings.access_token, presented.access_token),
            (&self.settings.refresh_token, presented.refresh_token),
        ];
        tokens
            .into_iter()
            .flat_map(|(name, parts)| self.removals(name, 0..parts.clamp(1, MAX_PARTS)))
            .collect()
    }

    /// Clears cookies with these names in other domains and paths, if a browser sends them to this host and path. They
    /// may be older than a change of `domain`, or a sibling host may have set them. A name with `__Host-` cannot have
    /// such cookies.
    pub fn clear_elsewhere(&self, names: &[&str], host: &str, path: &str) -> Vec<HeaderValue> {
        let domains = domains_of(host);
        let domains = std::iter::once(None).chain(domains.map(Some));
        let scopes: Vec<_> = paths_of(path)
            .flat_map(|path| domains.clone().map(move |domain| Scope { domain, path }))
            .filter(|scope| !self.own_scopes().any(|own| own == *scope))
            .collect();
        let names = || names.iter().filter(|name| !name.starts_with("__Host-"));
        let removals = scopes.iter().flat_map(|scope| {
            names().filter_map(|name| HeaderValue::from_str(&self.removal(name, *scope)).ok())
        });
        removals.take(MAX_CLEARED_ELSEWHERE).collect()
    }

    fn write(&self, name: &str, token: &str, presented: usize) -> Result<Vec<HeaderValue>, TooLarge> {
        let scope = self.scope();
        let overhead = self.cookie(name, "", scope, self.lifetime()).to_string().len();
        let values = cookie_codec::encode(token, overhead)?;
        let parts = values.len();
        let written = values.iter().enumerate().filter_map(|(part, value)| {
            let name = cookie_codec::part_name(name, part);
            let cookie = self.cookie(&name, value, scope, self.lifetime());
            HeaderValue::from_str(&cookie.to_string()).ok()
        });
        // A host-only cookie from the time before `domain` was set would come beside the new one.
        let host_only = self
            .own_scopes()
            .skip(1)
            .flat_map(|scope| (0..parts).filter_map(move |part| self.removal_of(name, part, scope)));
        Ok(written.chain(host_only).chain(self.removals(name, parts..presented)).collect())
    }

    /// Returns the lifetime of both cookies. It is that of the refresh token, because an expired JWT still names the
    /// session's subject.
    fn lifetime(&self) -> Option<Duration> {
        let lifetime = self.settings.refresh_token_lifetime?;
        Duration::try_from(lifetime).ok()
    }

    /// Returns the scope of the cookies.
    fn scope(&self) -> Scope<'_> {
        Scope { domain: self.settings.domain.as_deref(), path: "/" }
    }

    /// Returns the scope of the cookies, and then their scope before `domain` was set.
    fn own_scopes(&self) -> impl Iterator<Item = Scope<'_>> {
        let before = self.settings.domain.is_some().then_some(Scope { domain: None, path: "/" });
        std::iter::once(self.scope()).chain(before)
    }

    fn removals(&self, name: &str, parts: Range<usize>) -> impl Iterator<Item = HeaderValue> {
        parts.flat_map(move |part| {
            self.own_scopes().filter_map(move |scope| self.removal_of(name, part, scope))
        })
    }

    fn removal_of(&self, name: &str, part: usize, scope: Scope<'_>) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.removal(&cookie_codec::part_name(name, part), scope)).ok()
    }

    fn removal(&self, name: &str, scope: Scope<'_>) -> String {
        let mut cookie = self.cookie(name, "", scope, Some(Duration::ZERO));
        // Some clients only know `Expires` (RFC 6265 section 4.1.2.2).
        cookie.set_expires(cookie::time::OffsetDateTime::UNIX_EPOCH);
        cookie.to_string()
    }

    fn cookie<'a>(
        &self,
        name: &'a str,
        value: &'a str,
        scope: Scope<'_>,
        max_age: Option<Duration>,
    ) -> Cookie<'a> {
        let same_site = match self.settings.same_site {
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::None => SameSite::None,
        };
        let mut cookie = Cookie::new(name, value);
        cookie.set_path(scope.path.to_owned());
        cookie.set_http_only(true);
        cookie.set_secure(self.settings.secure);
        cookie.set_same_site(same_site);
        if let Some(domain) = scope.domain {
            cookie.set_domain(domain.to_owned());
        }
        if let Some(max_age) = max_age {
            cookie.set_max_age(max_age);
        }
        cookie
    }
}

/// The scope in which a browser keeps a cookie. A cookie with the same name in another scope is another cookie (RFC
/// 6265 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope<'a> {
    /// The domain. `None` means this host alone.
    domain: Option<&'a str>,
    path: &'a str,
}

/// Returns the domains that a cookie for this host may have. They are the host's own name and its parent domains, down
/// to the domain that can be registered.
fn domains_of(host: &str) -> impl Iterator<Item = &str> + Clone {
    let registrable = if host.parse::<IpAddr>().is_ok() { None } else { psl::domain_str(host) };
    let mut next = registrable.map(|_| host);
    std::iter::from_fn(move || {
        let domain = next?;
        next =
            (Some(domain) != registrable).then(|| domain.split_once('.').map(|(_, above)| above)).flatten();
        Some(domain)
    })
}

/// Returns the paths that a cookie for this path may have, from `/` downwards (RFC 6265 section 5.1.4).
fn paths_of(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.match_indices('/').filter_map(|(at, _)| path.get(..=at));
    let above = path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at));
    let whole = (!path.ends_with('/')).then_some(path);
    let mut paths: Vec<_> = slashes.chain(above).chain(whole).filter(|path| path.starts_with('/')).collect();
    paths.sort_by_key(|path| path.len());
    paths.into_iter()
}

#[cfg(test)]
mod tests;
