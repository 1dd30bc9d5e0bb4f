//! The endpoints of a provider: set explicitly, derived by its dialect, or discovered.

use url::Url;

use crate::config::{self, LogoutMethod, PlainHttp};

/// A provider's endpoints, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// The endpoint of the password grant and the refresh grant.
    pub(super) token: Option<Url>,
    /// The provider's own refresh API.
    pub(super) refresh: Option<Url>,
    /// The revocation endpoint (RFC 7009), or the provider's own logout API.
    pub(super) revocation: Option<Url>,
    /// The endpoint that ends the session of a refresh token. It is known only if logouts go there.
    pub(super) end_session: Option<Url>,
    /// The JWKS.
    pub(super) jwks: Option<Url>,
}

impl Endpoints {
    /// Returns the endpoints that the configuration names.
    pub(super) fn named(config: &config::IdentityProvider) -> Self {
        Self {
            token: config.token_endpoint.clone(),
            refresh: None,
            revocation: config.revocation_endpoint.clone(),
            end_session: config.end_session_endpoint.clone(),
            jwks: config.jwks_uri.clone(),
        }
    }

    /// Returns the endpoint that logouts go to.
    pub(super) fn logout(&self, method: LogoutMethod) -> Option<&Url> {
        match method {
            LogoutMethod::Revocation => self.revocation.as_ref(),
            LogoutMethod::EndSession => self.end_session.as_ref(),
        }
    }

    /// Fills the gaps with the endpoints of `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            token: self.token.or(other.token),
            refresh: self.refresh.or(other.refresh),
            revocation: self.revocation.or(other.revocation),
            end_session: self.end_session.or(other.end_session),
            jwks: self.jwks.or(other.jwks),
        }
    }

    /// Refuses an endpoint to which secrets would travel unprotected.
    pub(super) fn check(&self, plain_http: PlainHttp) -> Result<(), String> {
        let named = [
            ("token_endpoint", &self.token),
            ("revocation_endpoint", &self.revocation),
            ("end_session_endpoint", &self.end_session),
            ("jwks_uri", &self.jwks),
            ("the refresh API", &self.refresh),
        ];
        for (name, url) in named {
            if let Some(url) = url {
                check_url(url, plain_http).map_err(|problem| format!("{name} {problem}"))?;
            }
        }
        Ok(())
    }
}

/// Accepts https, http to a loopback host, and http that the configuration permits. The URL must have no credentials
/// and no fragment.
pub(super) fn check_url(url: &Url, plain_http: PlainHttp) -> Result<(), String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(String::from("has credentials in it"));
    }
    if url.fragment().is_some() {
        return Err(String::from("has a fragment"));
    }
    match url.scheme() {
        "https" | "http" if plain_http.permits(url) => Ok(()),
        "http" if plain_http == PlainHttp::Nobody => Err(String::from(
            "is not https, and a proxy on another machine would read it (see `allow_insecure_http`)",
        )),
        "http" => Err(String::from("is neither https nor on a loopback host (see `allow_insecure_http`)")),
        _ => Err(String::from("is not an https URL")),
    }
}

/// Returns an issuer as an http(s) URL, if it is one. An issuer may be any text. A URL with a query or a fragment
/// cannot be used for discovery (OpenID Connect Discovery 1.0 section 3).
pub(super) fn issuer_url(issuer: &str) -> Option<Url> {
    let is_address = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(issuer).ok().filter(is_address)
}

/// Returns `path` below `base`. A final slash in `base` makes no difference.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let prefix = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{prefix}/{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_hosts() {
        let cases = [
            ("https://idp.example.com/token", true),
            ("http://127.0.0.1:9000/token", true),
            ("http://[::1]/token", true),
            ("http://idp.localhost/token", true),
            ("http://idp.example.com/token", false),
            ("http://localhost.example.com/token", false),
            ("http://128.0.0.1/token", false),
            ("ftp://127.0.0.1/token", false),
            ("https://user:pass@idp.example.com/token", false),
            ("https://idp.example.com/token#x", false),
        ];
        for (url, permitted) in cases {
            assert_eq!(check_url(&url.parse().unwrap(), PlainHttp::ThisMachine).is_ok(), permitted, "{url}");
        }
        assert!(check_url(&"http://idp.example.com/token".parse().unwrap(), PlainHttp::Anybody).is_ok());
    }
}
