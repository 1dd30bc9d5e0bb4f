//! The configuration as the rest of the program sees it: only valid values, no strings left to parse.
//!
//! [`super::load`] is the only maker of a [`Config`]. What is optional in `gateway.toml` has its default here already.

use crate::syntax::authority::url_host;
use crate::tls::CertificateFiles;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use url::Url;
use zeroize::Zeroizing;

use super::outgoing_proxy::{OutgoingProxy, PlainHttp};
use super::token_parameters::TokenParameter;
use crate::syntax::redacted::{Redacted, SecretText};

/// A whole `gateway.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the file itself says.
    pub outline: super::Outline,
    /// `[server]` and `[server.limits]`.
    pub server: Server,
    /// `[session]`.
    pub session: Session,
    /// `[refresh]`.
    pub refresh: Refresh,
    /// `[identity_providers.*]`, in the file's order. Apps refer to them by index.
    pub identity_providers: Vec<IdentityProvider>,
    /// `[apps.*]`, in the file's order.
    pub apps: Vec<App>,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where browsers connect without TLS. May be empty where `listen_tls` is not.
    pub listen: Vec<SocketAddr>,
    /// Where browsers connect with TLS. Empty: TLS ends elsewhere, or nowhere.
    pub listen_tls: Vec<SocketAddr>,
    /// `[server.tls]`; `None` where `listen_tls` is empty.
    pub tls: Option<Tls>,
    /// `/livez`, `/readyz` and `/metrics`. `None`: `admin_listen = false`.
    pub admin_listen: Option<SocketAddr>,
    /// What a caller of `POST /sessions/revoke` must show; `None`: nobody can call it.
    pub admin_token: Option<Secret>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; default: one for each core.
    pub worker_threads: usize,
    /// Whether the file and those of its secrets are watched, and read again when they change.
    pub watch_config: bool,
    /// Where another process may ask for the listening sockets; `None`: nowhere.
    pub upgrade_socket: Option<PathBuf>,
    /// How long a stop goes on accepting connections while `/readyz` says no.
    pub shutdown_delay: Duration,
    /// How long a stop waits for requests in flight.
    pub shutdown_grace: Duration,
    /// `[server.limits]`.
    pub limits: Limits,
    /// Names by which the admin listener is asked, beside addresses and `localhost`; in lower case.
    pub admin_hosts: Vec<String>,
    /// `[log]`.
    pub log: Log,
    /// `[server.tracing]`; `None`: there are no traces.
    pub tracing: Option<Tracing>,
}

/// `[server.tracing]`: OpenTelemetry traces, over OTLP/HTTP with protobuf.
#[derive(Debug, Clone)]
pub struct Tracing {
    /// Where spans are posted, with the path `/v1/traces`.
    pub endpoint: Url,
    /// How many of the traces that begin here are exported: 0 to 1.
    pub sample_ratio: f64,
    /// `service.name` of the resource.
    pub service_name: String,
    /// What the collector wants to see beside the spans.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Who certifies the collector; `None`: the machine's authorities.
    pub ca: Option<Authorities>,
}

/// `[server.tls]`: what `listen_tls` speaks.
#[derive(Debug, Clone)]
pub struct Tls {
    /// At least one. The first one that is for a name is shown to whoever asks for it.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Requests without TLS are redirected to `https` at this port; `None`: they are served.
    pub redirect_port: Option<u16>,
    /// `max-age` of `Strict-Transport-Security` (RFC 6797); `None`: no such header.
    pub hsts: Option<Duration>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// `[server.log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// A `tracing` filter directive, such as `info` or `portcullis=debug`.
    pub level: String,
    /// Which requests have a line.
    pub access: AccessLog,
}

/// Which requests the access log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those that were answered with a problem.
    Refused,
    /// All.
    All,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[server.limits]`: every one has a default, none can be 0.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the whole request head, from its first byte (also: for a fresh connection's first byte).
    pub header_timeout: Duration,
    /// Bytes per second that an upload must reach, averaged over 10 s.
    pub body_min_rate: u64,
    /// How long a connection may stay idle between two requests.
    pub keep_alive_timeout: Duration,
    /// Bytes of a request head; beyond it: 431.
    pub max_header_size: usize,
    /// Connections at once. Beyond it, one that waits for its next request makes room; where none does, the fresh one is closed.
    pub max_connections: usize,
    /// For a login's whole body.
    pub login_body_timeout: Duration,
    /// Bytes of a login's body; beyond it: 413.
    pub max_login_body_size: usize,
    /// Verified tokens that are remembered, over all apps. Should exceed the number of live sessions.
    pub verified_tokens: usize,
    /// Logins of one user name that may wait for each other; beyond it: 429.
    pub max_waiting_logins: usize,
    /// Failed logins of one user name from one address, beyond which each further one has to wait: 429.
    pub failed_logins_per_name: u32,
    /// The same for one address, over all user names.
    pub failed_logins_per_address: u32,
}

/// `[session]`.
#[derive(Debug, Clone)]
pub struct Session {
    /// Seal the refresh token's cookie: the first one seals, all of them open. Empty: it is not sealed.
    pub seal_keys: Vec<SealKey>,
    /// Refresh only together with the JWT of the same session; default: where cookies are sealed.
    pub bind_refresh: bool,
    /// From the login on; `None`: as long as the provider refreshes.
    pub absolute_lifetime: Option<Duration>,
    /// From the last request on; `None`: no limit.
    pub idle_lifetime: Option<Duration>,
    /// How long a revocation of a session or a subject is kept. Should exceed the lifetime of refresh tokens.
    pub revocation_lifetime: Duration,
}

/// A key that seals cookies: never shown, zeroised on drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealKey(Redacted<Zeroizing<[u8; Self::LENGTH]>>);

impl SealKey {
    /// Bytes of a key (AES-256).
    pub const LENGTH: usize = 32;

    /// Takes a key.
    pub fn new(key: [u8; Self::LENGTH]) -> Self {
        Self(Redacted(Zeroizing::new(key)))
    }

    /// The key, for the one place that uses it.
    pub fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// `[refresh]`.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// A JWT that expires within this time is refreshed early, but never before three quarters of its lifetime.
    pub ahead: Duration,
    /// How long the outcome of a refresh answers requests that still bring the old refresh token.
    pub replay_window: Duration,
}

/// `[identity_providers.NAME]`.
#[derive(Debug, Clone)]
pub struct IdentityProvider {
    /// The table's name.
    pub name: String,
    /// Which dialect it speaks.
    pub kind: ProviderKind,
    /// Compared exactly with the claim `iss`. A free text for FusionAuth, else a URL.
    pub issuer: String,
    /// Requested at the password grant; `None` sends no `scope`.
    pub scope: Option<String>,
    /// Sent with the password and refresh grants; those of each app are in [`App::token_parameters`].
    pub token_parameters: Vec<TokenParameter>,
    /// How a client authenticates at the token endpoint.
    pub client_auth: ClientAuthentication,
    /// How a client authenticates at the revocation endpoint; default: as at the token endpoint.
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
    /// How a logout reaches the provider.
    pub logout: LogoutMethod,
    /// `None`: discovered. Only with [`LogoutMethod::EndSession`].
    pub end_session_endpoint: Option<Url>,
    /// `None`: discovered.
    pub jwks_uri: Option<Url>,
    /// For the TCP and TLS handshakes.
    pub connect_timeout: Duration,
    /// For a whole call, as long as a request waits for it.
    pub request_timeout: Duration,
    /// How often the JWKS is fetched in the background.
    pub jwks_refresh: Duration,
    /// The least time between two fetches caused by unknown key ids.
    pub jwks_cooldown: Duration,
    /// Permits plain http to hosts that are not loopback.
    pub allow_insecure_http: bool,
    /// Who certifies it; `None`: the machine's authorities.
    pub ca: Option<Authorities>,
    /// What every call goes through; `None`: straight to it.
    pub proxy: Option<OutgoingProxy>,
}

impl IdentityProvider {
    /// To whom it may be asked over plain http.
    pub fn plain_http(&self) -> PlainHttp {
        PlainHttp::new(self.allow_insecure_http, self.proxy.as_ref().map(|proxy| &proxy.url))
    }
}

/// `identity_providers.NAME.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// Any OpenID Connect or OAuth 2 provider.
    OAuth2,
    /// FusionAuth: its endpoints, its logout, its challenges.
    FusionAuth {
        /// Which of its two refresh APIs is used.
        refresh_api: RefreshApi,
    },
}

/// `identity_providers.NAME.logout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogoutMethod {
    /// The refresh token is revoked (RFC 7009).
    Revocation,
    /// The refresh token is sent to the provider's `end_session_endpoint`, as Keycloak understands it: its session ends, and
    /// its other clients are told.
    EndSession,
}

/// `refresh_api` of a FusionAuth provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshApi {
    /// The refresh grant at `/oauth2/token`.
    OAuth2,
    /// `POST /api/jwt/refresh`.
    Jwt,
}

/// How a client proves who it is (RFC 6749 section 2.3.1).
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

/// `[apps.NAME]`.
#[derive(Debug, Clone)]
pub struct App {
    /// The table's name.
    pub name: String,
    /// Lower-case host names without a port; IPv6 addresses without brackets, in canonical form.
    pub hosts: Vec<String>,
    /// At least one.
    pub upstreams: Vec<Upstream>,
    /// Index into [`Config::identity_providers`].
    pub identity_provider: usize,
    /// The client at the provider.
    pub client_id: String,
    /// `None` for a public client.
    pub client_secret: Option<Secret>,
    /// Any of these must be in `aud`. Empty: the default rule of design.md section 3.
    pub audience: Vec<String>,
    /// Whose tokens are taken, by `azp` or `client_id`.
    pub authorized_parties: Vec<String>,
    /// Where the roles are.
    pub roles_claim: ClaimPath,
    /// Sent with its password and refresh grants: the provider's, and its own.
    pub token_parameters: Vec<TokenParameter>,
    /// `[apps.NAME.login]`.
    pub login: Login,
    /// `[apps.NAME.user]`.
    pub user: User,
    /// `[apps.NAME.logout]`.
    pub logout: Logout,
    /// `[apps.NAME.backchannel_logout]`; `None`: there is no such endpoint.
    pub backchannel_logout: Option<BackchannelLogout>,
    /// `[apps.NAME.fusionauth_webhook]`; `None`: there is no such endpoint. Only with FusionAuth.
    pub fusionauth_webhook: Option<FusionAuthWebhook>,
    /// `[apps.NAME.cookies]`.
    pub cookies: Cookies,
    /// `[apps.NAME.identity_headers]`, in the file's order.
    pub identity_headers: Vec<IdentityHeader>,
    /// Bytes of one identity header; a longer one is left out.
    pub max_identity_header_size: usize,
    /// Adds `Authorization: Bearer <JWT>` to what is forwarded.
    pub forward_access_token: bool,
    /// Origins other than the app's own that may send state-changing requests, as `scheme://host[:port]`, lower-case.
    pub allowed_origins: Vec<String>,
    /// `[[apps.NAME.routes]]`; the first match wins.
    pub routes: Vec<Route>,
    /// `[apps.NAME.upstream_tls]`: how `https` upstreams are verified.
    pub upstream_tls: UpstreamTls,
    /// How often the host names of the upstreams are looked up without a cause.
    pub resolve_interval: Duration,
    /// `[apps.NAME.timeouts]`.
    pub timeouts: Timeouts,
    /// `[apps.NAME.health_check]`.
    pub health_check: HealthCheck,
}

/// `[apps.NAME.upstream_tls]`. There is no setting that verifies nothing.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// Who certifies the upstreams; `None`: the machine's authorities.
    pub ca: Option<Authorities>,
    /// The name that their certificates are for; `None`: the host of the upstream's URL.
    pub server_name: Option<String>,
    /// Whether they are offered HTTP/2 by ALPN (RFC 9113 section 3.2).
    pub http2: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, server_name: None, http2: true }
    }
}

/// Certificates of authorities, in DER, at least one. What they sign is trusted, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(pub Vec<Vec<u8>>);

impl fmt::Debug for Authorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Authorities").field(&self.0.len()).finish()
    }
}

/// One address of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// A host name or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Whether it is spoken to in HTTP/2 without TLS, with prior knowledge (RFC 9113 section 3.3). Never together with
    /// `tls`.
    pub h2c: bool,
}

impl fmt::Display for Upstream {
    /// The URL, as the file writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self {
            Self { tls: true, .. } => "https",
            Self { h2c: true, .. } => "h2c",
            _ => "http",
        };
        write!(formatter, "{scheme}://{}:{}", url_host(&self.host), self.port)
    }
}

/// `[apps.NAME.login]`.
#[derive(Debug, Clone)]
pub struct Login {
    /// Exact path.
    pub path: String,
    /// Name of the field with the user name.
    pub username_field: String,
    /// Name of the field with the password.
    pub password_field: String,
}

/// `[apps.NAME.user]`.
#[derive(Debug, Clone)]
pub struct User {
    /// Exact path.
    pub path: String,
    /// 404 or 401.
    pub anonymous_status: u16,
    /// What the user object shows.
    pub claims: Vec<ClaimPath>,
}

/// `[apps.NAME.logout]`.
#[derive(Debug, Clone)]
pub struct Logout {
    /// Exact path.
    pub path: String,
}

/// `[apps.NAME.backchannel_logout]`.
#[derive(Debug, Clone)]
pub struct BackchannelLogout {
    /// Exact path.
    pub path: String,
}

/// `[apps.NAME.fusionauth_webhook]`.
#[derive(Debug, Clone)]
pub struct FusionAuthWebhook {
    /// Exact path.
    pub path: String,
    /// `None`: a key of the provider's JWKS signs.
    pub hmac: Option<WebhookSecret>,
}

/// The HMAC key that signs a webhook.
#[derive(Debug, Clone)]
pub struct WebhookSecret {
    /// At least as long as the hash.
    pub secret: Secret,
    /// HS256, HS384 or HS512.
    pub algorithm: Algorithm,
}

/// `[apps.NAME.cookies]`.
#[derive(Debug, Clone)]
pub struct Cookies {
    /// Name of the JWT's cookie.
    pub access_token: String,
    /// Name of the refresh token's cookie.
    pub refresh_token: String,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Secure`.
    pub secure: bool,
    /// `Domain`; `None`: host-only.
    pub domain: Option<String>,
    /// `Max-Age` of both cookies; `None`: browser-session cookies.
    pub refresh_token_lifetime: Option<Duration>,
}

/// `SameSite` (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Lax`.
    Lax,
    /// `Strict`.
    Strict,
    /// `None`; only with `Secure`.
    None,
}

/// One entry of `[apps.NAME.identity_headers]`.
#[derive(Debug, Clone)]
pub struct IdentityHeader {
    /// The header that the app receives.
    pub name: HeaderName,
    /// The header's name as the file writes it, for HTTP/1.1 upstreams that care for case.
    pub display_name: String,
    /// Where its value comes from.
    pub claim: ClaimPath,
}

/// Where a claim is in the JWT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimPath {
    /// The word `roles`: the list found by `roles_claim`.
    Roles,
    /// Names from the outermost object inwards.
    Segments(Vec<String>),
}

impl fmt::Display for ClaimPath {
    /// The path's full name, as it names the property of the user object.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roles => formatter.write_str("roles"),
            Self::Segments(segments) => formatter.write_str(&segments.join(".")),
        }
    }
}

/// One `[[apps.NAME.routes]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What it matches.
    pub path: RoutePath,
    /// Who may pass.
    pub access: Access,
    /// Any of these must be in the roles claim; empty: no role is asked for. Only with [`Access::Required`].
    pub roles: Vec<String>,
}

/// The `path` of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutePath {
    /// The whole path.
    Exact(String),
    /// `"/assets/*"` is the prefix `/assets`, ending at a segment boundary. `"/*"` is the empty prefix.
    Prefix(String),
}

impl fmt::Display for RoutePath {
    /// The path, as the file writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => formatter.write_str(path),
            Self::Prefix(prefix) => write!(formatter, "{prefix}/*"),
        }
    }
}

/// Who may pass a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone; the session is not looked at.
    Public,
    /// Everyone; the identity is added where there is a session.
    Optional,
    /// Only with a session.
    Required,
}

/// `[apps.NAME.timeouts]`.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the TCP and TLS handshakes with an upstream.
    pub connect: Duration,
    /// Until the app's response head.
    pub response: Duration,
    /// Between two reads or writes of a body, an event stream or a WebSocket.
    pub idle: Duration,
}

/// `[apps.NAME.health_check]`: matters where there are several upstreams.
#[derive(Debug, Clone)]
pub struct HealthCheck {
    /// Time between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// `GET` this path and expect 2xx or 3xx; `None`: a TCP connect suffices.
    pub path: Option<String>,
}

/// A secret from the configuration: never shown, zeroised on drop.
#[derive(Debug, Clone)]
pub struct Secret(SecretText);

impl Secret {
    /// Takes a secret's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretText::from(text.into()))
    }

    /// The secret's text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
