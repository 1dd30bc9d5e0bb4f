//! Where a provider's endpoints are: set explicitly, derived (FusionAuth), or discovered.

use url::Url;

use crate::config::{self, LogoutMethod, PlainHttp, ProviderKind};
use crate::identity_provider::not_ready::SetupError;

/// A provider's endpoints, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    /// Password grant and refresh grant.
    pub(super) token: Option<Url>,
    /// RFC 7009; for FusionAuth its logout API.
    pub(super) revocation: Option<Url>,
    /// Where a session ends by its refresh token; known only where logouts go there.
    pub(super) end_session: Option<Url>,
    /// The JWKS.
    pub(super) jwks: Option<Url>,
    /// FusionAuth's `POST /api/jwt/refresh`.
    pub(super) jwt_refresh: Option<Url>,
}

impl Endpoints {
    /// What is known without asking anyone.
    pub(super) fn configured(config: &config::IdentityProvider) -> Result<Self, SetupError> {
        let explicit = Self {
            token: config.token_endpoint.clone(),
            revocation: config.revocation_endpoint.clone(),
            end_session: config.end_session_endpoint.clone(),
            jwks: config.jwks_uri.clone(),
            jwt_refresh: None,
        };
        let known = match config.kind {
            ProviderKind::OAuth2 => explicit,
            ProviderKind::FusionAuth { .. } => {
                let base =
                    fusionauth_base(config).ok_or_else(|| SetupError::NoBase(config.issuer.clone()))?;
                explicit.or(Self {
                    token: Some(below(&base, "oauth2/token")),
                    revocation: Some(below(&base, "api/logout")),
                    end_session: None,
                    jwks: Some(below(&base, ".well-known/jwks.json")),
                    jwt_refresh: Some(below(&base, "api/jwt/refresh")),
                })
            }
        };
        known.check(config.plain_http()).map_err(SetupError::Endpoint)?;
        Ok(known)
    }

    /// Where logouts go.
    pub(super) fn logout(&self, method: LogoutMethod) -> Option<&Url> {
        match method {
            LogoutMethod::Revocation => self.revocation.as_ref(),
            LogoutMethod::EndSession => self.end_session.as_ref(),
        }
    }

    /// Fills the gaps with what `other` knows.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            token: self.token.or(other.token),
            revocation: self.revocation.or(other.revocation),
            end_session: self.end_session.or(other.end_session),
            jwks: self.jwks.or(other.jwks),
            jwt_refresh: self.jwt_refresh.or(other.jwt_refresh),
        }
    }

    /// Refuses an endpoint to which secrets would travel unprotected.
    pub(super) fn check(&self, plain_http: PlainHttp) -> Result<(), String> {
        let named = [
            ("token_endpoint", &self.token),
            ("revocation_endpoint", &self.revocation),
            ("end_session_endpoint", &self.end_session),
            ("jwks_uri", &self.jwks),
            ("the refresh API", &self.jwt_refresh),
        ];
        for (name, url) in named {
            if let Some(url) = url {
                check_url(url, plain_http).map_err(|problem| format!("{name} {problem}"))?;
            }
        }
        Ok(())
    }
}

/// https, or http to a loopback host, or http where that is allowed on purpose; no credentials in it, no fragment.
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

/// An http(s) URL out of an issuer, which may be a free text. One with a query or a fragment is nothing to discover from
/// (OpenID Connect Discovery 1.0 section 3).
pub(super) fn issuer_url(issuer: &str) -> Option<Url> {
    let is_address = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(issuer).ok().filter(is_address)
}

/// Where FusionAuth is: its `token_endpoint` says so better than an issuer, which is a free text there.
fn fusionauth_base(config: &config::IdentityProvider) -> Option<Url> {
    let Some(token) = &config.token_endpoint else { return issuer_url(&config.issuer) };
    let Some(path) = token.path().strip_suffix("/oauth2/token") else {
        // An issuer that must not be asked is only a name.
        let asked = issuer_url(&config.issuer).filter(|url| check_url(url, config.plain_http()).is_ok());
        return asked.or_else(|| token.join("/").ok());
    };
    let mut base = token.clone();
    base.set_path(path);
    base.set_query(None);
    Some(base)
}

/// `path` below `base`, whether or not that ends with a slash.
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
    use crate::config::RefreshApi;
    use crate::identity_provider::testing;

    fn text(url: Option<&Url>) -> &str {
        url.map_or("", Url::as_str)
    }

    #[test]
    fn fusionauth_needs_no_discovery() {
        let kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::Jwt };
        let cases = [
            ("https://login.acme.com", None, "https://login.acme.com/"),
            ("https://login.acme.com/auth/", None, "https://login.acme.com/auth/"),
            ("acme.com", Some("http://localhost:9011/oauth2/token"), "http://localhost:9011/"),
            ("https://acme.com", Some("https://fa.acme.com/x/oauth2/token"), "https://fa.acme.com/x/"),
            // A name, since it must not be asked.
            ("http://acme.com", Some("https://fa.acme.com/oauth2/token"), "https://fa.acme.com/"),
        ];
        for (issuer, token_endpoint, base) in cases {
            let mut config = testing::config("http://127.0.0.1:1");
            (config.kind, config.issuer) = (kind, issuer.to_owned());
            config.token_endpoint = token_endpoint.map(|url| url.parse().unwrap());
            let endpoints = Endpoints::configured(&config).unwrap();
            assert_eq!(text(endpoints.token.as_ref()), format!("{base}oauth2/token"));
            assert_eq!(text(endpoints.jwks.as_ref()), format!("{base}.well-known/jwks.json"));
            assert_eq!(text(endpoints.jwt_refresh.as_ref()), format!("{base}api/jwt/refresh"));
            assert_eq!(text(endpoints.revocation.as_ref()), format!("{base}api/logout"));
        }
    }

    #[test]
    fn fusionauth_behind_another_path_is_where_its_token_endpoint_is_unless_the_issuer_may_be_asked() {
        for (issuer, revocation) in [
            ("https://acme.com", "https://acme.com/api/logout"),
            ("http://localhost:9011", "http://localhost:9011/api/logout"),
            ("http://acme.com", "https://fa.acme.com/api/logout"),
            ("acme.com", "https://fa.acme.com/api/logout"),
            ("https://acme.com?tenant=a", "https://fa.acme.com/api/logout"),
        ] {
            let mut config = testing::config(issuer);
            config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
            config.token_endpoint = Some("https://fa.acme.com/token".parse().unwrap());
            config.jwks_uri = Some("https://fa.acme.com/jwks".parse().unwrap());
            let endpoints = Endpoints::configured(&config).unwrap();
            assert_eq!(text(endpoints.revocation.as_ref()), revocation, "{issuer}");
        }
    }

    #[test]
    fn fusionauth_with_a_free_text_issuer_needs_a_token_endpoint() {
        let mut config = testing::config("acme.com");
        config.kind = ProviderKind::FusionAuth { refresh_api: RefreshApi::OAuth2 };
        assert_eq!(Endpoints::configured(&config), Err(SetupError::NoBase(String::from("acme.com"))));
    }

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
