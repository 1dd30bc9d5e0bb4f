//! A provider's metadata document (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3).

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::config::LogoutMethod;
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::discovery_error::DiscoveryError;
use crate::identity_provider::endpoints::Endpoints;
use crate::identity_provider::http_client::{HttpClient, measured};
use crate::identity_provider::provider_answer::is_wrong_url;

/// The members of a metadata document that matter here. `grant_types_supported` is not among them, because it is not
/// reliable.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    jwks_uri: Option<String>,
}

impl Metadata {
    /// Returns the endpoints that the document names.
    pub(super) fn endpoints(&self, logout: LogoutMethod) -> Result<Endpoints, DiscoveryError> {
        let parse = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(Url::parse)
                .transpose()
                .map_err(|error| DiscoveryError::Endpoint(format!("{name} is no URL: {error}")))
        };
        // A strange endpoint does no harm if nothing is sent to it.
        let end_session = match logout {
            LogoutMethod::EndSession => parse("end_session_endpoint", &self.end_session_endpoint)?,
            LogoutMethod::Revocation => None,
        };
        Ok(Endpoints {
            token: parse("token_endpoint", &self.token_endpoint)?,
            refresh: None,
            revocation: parse("revocation_endpoint", &self.revocation_endpoint)?,
            end_session,
            jwks: parse("jwks_uri", &self.jwks_uri)?,
        })
    }
    /// Fetches one document.
    pub(super) async fn fetch(
        http: &HttpClient,
        provider: &str,
        url: &Url,
        limit: Duration,
    ) -> Result<Self, DiscoveryError> {
        let unreachable = |reason| DiscoveryError::Unreachable { url: url.to_string(), reason };
        let no_metadata = |reason| DiscoveryError::NoMetadata { url: url.to_string(), reason };
        let unclear = |reason| DiscoveryError::Unclear { url: url.to_string(), reason };
        let answer = match measured(provider, "discovery", http.get(url, limit)).await {
            Ok(answer) => answer,
            Err(error @ (CallError::TooLarge | CallError::Encoded)) => {
                return Err(unclear(error.to_string()));
            }
            Err(error @ CallError::Proxy { .. }) => {
                return Err(DiscoveryError::Proxy { url: url.to_string(), reason: error.to_string() });
            }
            Err(error) => return Err(unreachable(error.into())),
        };
        match answer.status {
            200 => serde_json::from_slice(answer.json()).map_err(|error| unclear(error.to_string())),
            status @ (300..=399) => Err(unclear(format!("a redirect ({status}), which is not followed"))),
            status @ (408 | 425 | 429 | 500..) => Err(unreachable(format!("status {status}").into())),
            status if is_wrong_url(status) => Err(no_metadata(format!("status {status}"))),
            status => Err(unclear(format!("status {status}"))),
        }
    }
}
