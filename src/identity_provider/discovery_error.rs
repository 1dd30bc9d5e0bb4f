//! Why a provider's endpoints are not known, and what to change then.

/// Why the endpoints are not known.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DiscoveryError {
    /// The provider could not be asked now.
    #[error("discovery at {url}: {reason}")]
    Unreachable {
        /// The metadata document.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The proxy in between does not let us ask it.
    #[error("discovery at {url}: {reason}")]
    Proxy {
        /// The metadata document.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The provider says that there is no such document.
    #[error("discovery at {url}: {reason}")]
    NoMetadata {
        /// The metadata document.
        url: String,
        /// How it says so.
        reason: String,
    },
    /// What came is no metadata, and perhaps not the provider's: a page of a firewall, a sign-in, a maintenance.
    #[error("discovery at {url}: {reason}")]
    Unclear {
        /// The metadata document.
        url: String,
        /// What came.
        reason: String,
    },
    /// The metadata is another issuer's (OpenID Connect Discovery 1.0 section 4.3).
    #[error("the provider calls itself {found:?}, the configured issuer is {configured:?}")]
    OtherIssuer {
        /// The metadata's `issuer`.
        found: String,
        /// The configured `issuer`.
        configured: String,
    },
    /// An endpoint in the metadata is missing or not acceptable.
    #[error("the provider's metadata: {0}")]
    Endpoint(String),
}

impl DiscoveryError {
    /// What to change in the configuration, where that is likely and the error does not say it itself.
    pub(super) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OtherIssuer { .. } => Some("set `issuer` to what the provider calls itself, byte by byte"),
            Self::NoMetadata { .. } => Some(
                "correct the host, the port or the path (such as the realm) of `issuer`; of a provider without metadata set \
                 `token_endpoint` and `jwks_uri`",
            ),
            Self::Unclear { .. } => Some(
                "this address must answer with the provider's metadata as JSON: correct `issuer`, or look what answers there \
                 instead (a proxy, a sign-in page, a redirect to https)",
            ),
            Self::Endpoint(_) => Some("correct it at the provider, or set the endpoint in the configuration"),
            Self::Unreachable { .. } | Self::Proxy { .. } => None,
        }
    }
}
