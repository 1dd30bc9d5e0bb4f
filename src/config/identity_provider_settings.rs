//! The settings of an identity provider, as the rest of the program sees them. `identity_provider.rs` reads them.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

use crate::config::certificate_authorities::Authorities;
use crate::config::outgoing_proxy::{OutgoingProxy, PlainHttp};
use crate::config::provider_kind::ProviderKind;
use crate::config::secret::Secret;
use crate::config::token_parameters::TokenParameter;

/// `[identity_providers.NAME]`.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The table's name.
    pub name: String,
    /// The dialect that it speaks.
    pub kind: ProviderKind,
    /// Compared exactly with the claim `iss`. A URL, or for some kinds a free text.
    pub issuer: String,
    /// Requested at the password grant; `None` sends no `scope`.
    pub scope: Option<String>,
    /// Sent with the password and refresh grants; those of each app are in `App::token_parameters`.
    pub token_parameters: Vec<TokenParameter>,
    /// The client's authentication at the token endpoint.
    pub client_auth: ClientAuthentication,
    /// The client's authentication at the revocation endpoint; default: as at the token endpoint.
    pub revocation_client_auth: ClientAuthentication,
    /// The only algorithms whose signatures are accepted.
    pub algorithms: Vec<Algorithm>,
    /// For HS256/384/512, which are accepted only if this is set, and then alone.
    pub hmac_secret: Option<Secret>,
    /// Its access tokens are built like ID tokens, with `at_hash` or `c_hash`.
    pub access_token_is_id_token: bool,
    /// Clock skew tolerated for `exp`, `nbf`, `iat`.
    pub leeway: Duration,
    /// `None`: discovered.
    pub token_endpoint: Option<Url>,
    /// `None`: discovered; if discovery has none either, logout revokes nothing.
    pub revocation_endpoint: Option<Url>,
    /// The way in which a logout reaches the provider.
    pub logout: LogoutMethod,
    /// `None`: discovered. Only with [`LogoutMethod::EndSession`].
    pub end_session_endpoint: Option<Url>,
    /// `None`: discovered.
    pub jwks_uri: Option<Url>,
    /// For the TCP and TLS handshakes.
    pub connect_timeout: Duration,
    /// For a whole call, as long as a request waits for it.
    pub request_timeout: Duration,
    /// The time between two fetches of the JWKS in the background.
    pub jwks_refresh: Duration,
    /// The least time between two fetches caused by unknown key ids.
    pub jwks_cooldown: Duration,
    /// Permits plain http to hosts that are not loopback.
    pub allow_insecure_http: bool,
    /// The authorities that certify it; `None`: the machine's authorities.
    pub ca: Option<Authorities>,
    /// The proxy that every call goes through; `None`: straight to it.
    pub proxy: Option<OutgoingProxy>,
}

impl IdentityProvider {
    /// To whom it may be asked over plain http.
    pub fn plain_http(&self) -> PlainHttp {
        PlainHttp::new(self.allow_insecure_http, self.proxy.as_ref().map(|proxy| &proxy.url))
    }
}

/// `identity_providers.NAME.logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutMethod {
    /// The refresh token is revoked (RFC 7009).
    Revocation,
    /// The refresh token is sent to the provider's `end_session_endpoint`, as Keycloak understands it: its session
    /// ends, and its other clients are told.
    EndSession,
}

/// The way in which a client proves who it is (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// HTTP Basic with id and secret form-encoded first, as RFC 6749 wants it.
    Basic,
    /// HTTP Basic with id and secret as they are, as some providers want it.
    BasicRaw,
    /// `client_id` and `client_secret` in the body.
    Post,
    /// A public client: `client_id` alone, in the body.
    None,
}
