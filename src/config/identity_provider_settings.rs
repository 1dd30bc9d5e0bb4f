//! The settings of an identity provider, as other modules see them. `identity_provider.rs` reads them.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

use crate::config::certificate_authorities::Authorities;
use crate::config::outgoing_proxy::{OutgoingProxy, PlainHttp};
use crate::config::provider_kind::ProviderKind;
use crate::config::secret::Secret;
use crate::config::token_parameters::TokenParameter;

/// The least time for which a refresh's answer is read, from the start of the refresh. It is at least as long as a
/// request waits. Otherwise a rotated refresh token would be lost with the answer.
pub const REFRESH_READ_LIMIT: Duration = Duration::from_secs(20);

/// `[identity_providers.NAME]`.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The table's name.
    pub name: String,
    /// The kind of provider, which determines its dialect.
    pub kind: ProviderKind,
    /// The issuer, which must be exactly equal to the claim `iss`. It is a URL, or for some kinds a free text.
    pub issuer: String,
    /// The `scope` of the password grant. With `None`, no `scope` is sent.
    pub scope: Option<String>,
    /// The parameters of the password and refresh grants. Those of each app are in `App::token_parameters`.
    pub token_parameters: Vec<TokenParameter>,
    /// The client's authentication at the token endpoint.
    pub client_auth: ClientAuthentication,
    /// The client's authentication at the revocation endpoint. The default is that of the token endpoint.
    pub revocation_client_auth: ClientAuthentication,
    /// The only algorithms whose signatures are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The secret for HS256, HS384 and HS512. These algorithms are accepted only if it is set. Then no others are
    /// accepted.
    pub hmac_secret: Option<Secret>,
    /// If true, its access tokens may have `at_hash` or `c_hash`, as ID tokens have.
    pub access_token_is_id_token: bool,
    /// The allowed clock difference for `exp`, `nbf` and `iat`.
    pub leeway: Duration,
    /// The token endpoint. `None` means that it is discovered.
    pub token_endpoint: Option<Url>,
    /// The revocation endpoint. `None` means that it is discovered. If discovery finds none either, a logout revokes
    /// nothing.
    pub revocation_endpoint: Option<Url>,
    /// The way in which a logout reaches the provider.
    pub logout: LogoutMethod,
    /// The end-session endpoint. `None` means that it is discovered. It is used only with [`LogoutMethod::EndSession`].
    pub end_session_endpoint: Option<Url>,
    /// The URL of the keys. `None` means that it is discovered.
    pub jwks_uri: Option<Url>,
    /// The longest time for the TCP and TLS handshakes.
    pub connect_timeout: Duration,
    /// The longest time for a whole call while a request waits for it.
    pub request_timeout: Duration,
    /// The time between two fetches of the JWKS in the background.
    pub jwks_refresh: Duration,
    /// The least time between two fetches that unknown key ids cause.
    pub jwks_cooldown: Duration,
    /// The time for which the provider takes a replaced refresh token once more. It is zero if the provider does not, or
    /// if nobody knows. Only the replicas of a fleet use it.
    pub refresh_grace: Duration,
    /// If true, plain http to other machines is allowed.
    pub allow_insecure_http: bool,
    /// The authorities that certify the provider. `None` means the machine's authorities.
    pub ca: Option<Authorities>,
    /// The proxy for every call. `None` means that calls go directly to the provider.
    pub proxy: Option<OutgoingProxy>,
}

impl IdentityProvider {
    /// If the owner of a claim is gone, another replica repeats the refresh only while the claim is younger than
    /// `refresh_grace` less this time. The call itself needs time, too.
    pub const GRACE_MARGIN: Duration = Duration::from_secs(2);

    /// Returns the time for which a refresh's answer is read.
    pub fn refresh_read_limit(&self) -> Duration {
        REFRESH_READ_LIMIT.max(self.request_timeout)
    }

    /// Returns the machines that may be asked over plain http.
    pub fn plain_http(&self) -> PlainHttp {
        PlainHttp::new(self.allow_insecure_http, self.proxy.as_ref().map(|proxy| &proxy.url))
    }
}

/// `identity_providers.NAME.logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutMethod {
    /// Portcullis revokes the refresh token (RFC 7009).
    Revocation,
    /// Portcullis sends the refresh token to the provider's `end_session_endpoint`, in the way that Keycloak
    /// understands. The provider ends its session and tells the session's other clients.
    EndSession,
}

/// The way in which a client authenticates (RFC 6749 section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// HTTP Basic with form-encoded id and secret, as RFC 6749 requires.
    Basic,
    /// HTTP Basic with id and secret as they are, as some providers require.
    BasicRaw,
    /// `client_id` and `client_secret` in the body.
    Post,
    /// A public client sends only its `client_id`, in the body.
    None,
}
