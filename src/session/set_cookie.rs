//! The `Set-Cookie` headers that give, replace and take a session.

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::HeaderValue;

use crate::access::cookie_codec::{self, MAX_PARTS, TooLarge};
use crate::access::cookies::Presented;
use crate::config;

/// Writes an app's cookies.
#[derive(Debug, Clone)]
pub struct CookieWriter {
    settings: config::Cookies,
}

impl CookieWriter {
    /// A writer with an app's settings.
    pub fn new(settings: config::Cookies) -> Self {
        Self { settings }
    }

    /// The cookies of a new access token, and those that clear what an older, longer one left behind.
    pub fn access_token(&self, token: &str, presented: Presented) -> Result<Vec<HeaderValue>, TooLarge> {
        self.write(&self.settings.access_token, token, presented.access_token)
    }

    /// The same for a refresh token.
    pub fn refresh_token(&self, token: &str, presented: Presented) -> Result<Vec<HeaderValue>, TooLarge> {
        self.write(&self.settings.refresh_token, token, presented.refresh_token)
    }

    /// Clears the refresh token alone: the provider gave none this time.
    pub fn clear_refresh_token(&self, presented: Presented) -> Vec<HeaderValue> {
        (0..presented.refresh_token)
            .filter_map(|part| self.removal(&self.settings.refresh_token, part))
            .collect()
    }

    /// Clears both tokens, with all parts that the request brought.
    pub fn clear(&self, presented: Presented) -> Vec<HeaderValue> {
        let access = (0..presented.access_token.clamp(1, MAX_PARTS))
            .filter_map(|part| self.removal(&self.settings.access_token, part));
        let refresh = (0..presented.refresh_token.clamp(1, MAX_PARTS))
            .filter_map(|part| self.removal(&self.settings.refresh_token, part));
        access.chain(refresh).collect()
    }

    fn write(&self, name: &str, token: &str, presented: usize) -> Result<Vec<HeaderValue>, TooLarge> {
        let overhead = self.cookie(name, "", self.lifetime()).to_string().len();
        let values = cookie_codec::encode(token, overhead)?;
        let leftovers = values.len()..presented;
        let written = values.iter().enumerate().filter_map(|(part, value)| {
            let name = cookie_codec::part_name(name, part);
            let cookie = self.cookie(&name, value, self.lifetime());
            HeaderValue::from_str(&cookie.to_string()).ok()
        });
        Ok(written.chain(leftovers.filter_map(|part| self.removal(name, part))).collect())
    }

    /// Both cookies live as long as the refresh token: an expired JWT still says whose session it is.
    fn lifetime(&self) -> Option<Duration> {
        let lifetime = self.settings.refresh_token_lifetime?;
        Duration::try_from(lifetime).ok()
    }

    fn removal(&self, name: &str, part: usize) -> Option<HeaderValue> {
        let name = cookie_codec::part_name(name, part);
        let mut cookie = self.cookie(&name, "", Some(Duration::ZERO));
        // For clients that know `Expires` only (RFC 6265 section 4.1.2.2).
        cookie.set_expires(cookie::time::OffsetDateTime::UNIX_EPOCH);
        HeaderValue::from_str(&cookie.to_string()).ok()
    }

    fn cookie<'a>(&self, name: &'a str, value: &'a str, max_age: Option<Duration>) -> Cookie<'a> {
        let same_site = match self.settings.same_site {
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::None => SameSite::None,
        };
        let mut cookie = Cookie::new(name, value);
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_secure(self.settings.secure);
        cookie.set_same_site(same_site);
        if let Some(domain) = &self.settings.domain {
            cookie.set_domain(domain.clone());
        }
        if let Some(max_age) = max_age {
            cookie.set_max_age(max_age);
        }
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(lifetime: Option<u64>) -> CookieWriter {
        CookieWriter::new(config::Cookies {
            access_token: "__Host-access_token".into(),
            refresh_token: "__Host-refresh_token".into(),
            same_site: config::SameSite::Lax,
            secure: true,
            domain: None,
            refresh_token_lifetime: lifetime.map(std::time::Duration::from_secs),
        })
    }

    fn texts(values: &[HeaderValue]) -> Vec<String> {
        values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn attributes() {
        let cookies = texts(&writer(None).access_token("jwt", Presented::default()).unwrap());
        assert_eq!(cookies, ["__Host-access_token=jwt; HttpOnly; SameSite=Lax; Secure; Path=/"]);
        let cookies = texts(&writer(Some(60)).refresh_token("opaque", Presented::default()).unwrap());
        assert_eq!(
            cookies,
            ["__Host-refresh_token=opaque; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60"]
        );
    }

    #[test]
    fn a_long_token_is_split_within_the_browsers_limit() {
        let cookies = texts(&writer(Some(60)).access_token(&"a".repeat(6000), Presented::default()).unwrap());
        assert_eq!(cookies.len(), 2);
        assert!(cookies.iter().all(|cookie| cookie.len() <= 4096), "{:?}", cookies.iter().map(String::len));
        assert!(cookies[1].starts_with("__Host-access_token.1=a"));
    }

    #[test]
    fn leftovers_of_a_longer_token_are_cleared() {
        let presented = Presented { access_token: 3, refresh_token: 0 };
        let cookies = texts(&writer(None).access_token("jwt", presented).unwrap());
        assert_eq!(cookies.len(), 3);
        assert!(cookies[1].starts_with("__Host-access_token.1=;") && cookies[1].contains("Max-Age=0"));
        assert!(cookies[2].starts_with("__Host-access_token.2=;"));
    }

    #[test]
    fn clearing_names_both_tokens_always() {
        let cookies = texts(&writer(None).clear(Presented::default()));
        assert_eq!(cookies.len(), 2);
        assert!(
            cookies
                .iter()
                .all(|cookie| cookie.contains("Max-Age=0") && cookie.contains("Expires=Thu, 01 Jan 1970"))
        );
    }
}
