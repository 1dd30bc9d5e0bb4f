//! The reasons why a provider's endpoints are not known, with the change that helps.

use crate::system::explained::Explained;

/// The reason why the endpoints are not known.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum DiscoveryError {
    /// The provider could not be asked now.
    #[error("discovery at {url}: {reason}")]
    Unreachable {
        /// The metadata document.
        url: String,
        /// The fault.
        reason: Explained,
    },
    /// The proxy in between does not let us ask the provider.
    #[error("discovery at {url}: {reason}")]
    Proxy {
        /// The metadata document.
        url: String,
        /// The fault.
        reason: String,
    },
    /// The provider says that there is no such document.
    #[error("discovery at {url}: {reason}")]
    NoMetadata {
        /// The metadata document.
        url: String,
        /// The provider's words for that.
        reason: String,
    },
    /// The answer is no metadata, and perhaps not the provider's. It may be the page of a firewall, a sign-in or a
    /// maintenance.
    #[error("discovery at {url}: {reason}")]
    Unclear {
        /// The metadata document.
        url: String,
        /// The answer.
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
    /// Returns advice for the configuration, if a change is likely to help and the error does not name it itself.
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

impl From<DiscoveryError> for Explained {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::Unreachable { url, reason } => reason.after(&format!("discovery at {url}: ")),
            other => Self::from(other.to_string()),
        }
    }
}
