//! The rules for access tokens.

use jsonwebtoken::Algorithm;

use crate::access::numbers::ProviderNumber;

/// The rules for the tokens of one app.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// The number of the identity provider.
    pub provider: ProviderNumber,
    /// The issuer. It must be exactly equal to `iss`.
    pub issuer: String,
    /// The app's client.
    pub client_id: String,
    /// The accepted values of `aud`, which must contain one of them. If it is empty, `audience.rs` has a default rule.
    pub audience: Vec<String>,
    /// The accepted values of claims that name the client.
    pub authorized_parties: Vec<String>,
    /// The accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The tolerated clock skew in seconds, for `exp` and `nbf`. For `iat`, at least half a minute is tolerated.
    pub leeway: u64,
    /// The provider builds access tokens like ID tokens, with `at_hash` or `c_hash`.
    pub access_token_is_id_token: bool,
}
