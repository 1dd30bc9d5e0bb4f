//! The reasons why a provider cannot serve: its configuration, or something that is not known yet.

/// The reason why an identity provider cannot be set up as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
    /// The configuration names an endpoint that must not be used.
    #[error("{0}")]
    Endpoint(String),
    /// The endpoints follow from the provider's address, and no address is known.
    #[error("the issuer {issuer:?} is not a URL: {hint}")]
    NoBase {
        /// The configured issuer.
        issuer: String,
        /// The operator's remedy.
        hint: &'static str,
    },
    /// The endpoints are not configured, and discovery cannot find them.
    #[error("the issuer {0:?} is not a URL to discover from: set `token_endpoint` and `jwks_uri`")]
    NothingToDiscover(String),
}

/// The reason why an identity provider cannot serve (yet).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The endpoints are not known.
    #[error("the endpoints are not known: {0}")]
    NoEndpoints(String),
    /// There is no key to verify a token with.
    #[error("no JWKS has been loaded: {0}")]
    NoKeys(String),
}
