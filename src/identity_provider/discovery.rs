//! Finding a provider's endpoints: OpenID Connect Discovery 1.0 section 4, then RFC 8414 section 3.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::config::{self, LogoutMethod, PlainHttp, ProviderKind};
use crate::identity_provider::call_error::CallError;
use crate::identity_provider::classify::is_wrong_url;
use crate::identity_provider::endpoints::{Endpoints, below, check_url, issuer_url};
use crate::identity_provider::http_client::{HttpClient, measured};
use crate::identity_provider::log_text::escaped;
use crate::identity_provider::not_ready::SetupError;
use crate::identity_provider::shared_fetch::SharedFetch;

/// The least time between the starts of two attempts: while a provider is down, every login asks for one.
const SPACING: Duration = Duration::from_millis(250);

/// Knows the endpoints, and how to find those that are not configured.
#[derive(Debug)]
pub(super) struct Discovery {
    provider: String,
    issuer: String,
    /// The documents to try, in this order; empty for a provider that has none.
    documents: Vec<Url>,
    plain_http: PlainHttp,
    needs_jwks: bool,
    logout: LogoutMethod,
    request_timeout: Duration,
    http: HttpClient,
    configured: Endpoints,
    known: ArcSwap<Endpoints>,
    /// Nothing is left to find out, be it that there is no metadata at all.
    settled: AtomicBool,
    attempts: SharedFetch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the metadata said.
    found: Option<Endpoints>,
    last_start: Option<Instant>,
    last_error: Option<DiscoveryError>,
}

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
    const fn hint(&self) -> Option<&'static str> {
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

/// The members of a metadata document that matter here; `grant_types_supported` is not to be trusted.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    jwks_uri: Option<String>,
}

impl Metadata {
    fn endpoints(&self, logout: LogoutMethod) -> Result<Endpoints, DiscoveryError> {
        let parse = |name: &str, text: &Option<String>| {
            text.as_deref()
                .map(Url::parse)
                .transpose()
                .map_err(|error| DiscoveryError::Endpoint(format!("{name} is no URL: {error}")))
        };
        // Where nothing is sent there, a strange one does no harm.
        let end_session = match logout {
            LogoutMethod::EndSession => parse("end_session_endpoint", &self.end_session_endpoint)?,
            LogoutMethod::Revocation => None,
        };
        Ok(Endpoints {
            token: parse("token_endpoint", &self.token_endpoint)?,
            revocation: parse("revocation_endpoint", &self.revocation_endpoint)?,
            end_session,
            jwks: parse("jwks_uri", &self.jwks_uri)?,
            jwt_refresh: None,
        })
    }
}

impl Discovery {
    /// Prepares discovery; makes no connection.
    pub(super) fn new(config: &config::IdentityProvider, http: HttpClient) -> Result<Self, SetupError> {
        let configured = Endpoints::configured(config)?;
        let issuer = issuer_url(&config.issuer);
        let mut documents = match (config.kind, &issuer) {
            (ProviderKind::OAuth2, Some(issuer)) => well_known(issuer),
            _ => Vec::new(),
        };
        let needs_jwks = config.hmac_secret.is_none();
        let complete = configured.token.is_some() && (configured.jwks.is_some() || !needs_jwks);
        if documents.is_empty() && !complete {
            return Err(SetupError::NothingToDiscover(config.issuer.clone()));
        }
        let refused = documents.iter().find_map(|url| check_url(url, config.plain_http()).err());
        if let Some(problem) = refused {
            if !complete {
                return Err(SetupError::Endpoint(format!("issuer {problem}")));
            }
            // All that is needed is configured: an issuer that must not be asked is only a name.
            documents.clear();
        }
        let settled = documents.is_empty() || (complete && configured.logout(config.logout).is_some());
        Ok(Self {
            provider: config.name.clone(),
            issuer: config.issuer.clone(),
            documents,
            plain_http: config.plain_http(),
            needs_jwks,
            logout: config.logout,
            request_timeout: config.request_timeout,
            http,
            known: ArcSwap::from_pointee(configured.clone()),
            configured,
            settled: AtomicBool::new(settled),
            attempts: SharedFetch::default(),
            state: Mutex::default(),
        })
    }

    /// Takes over what the same issuer's metadata said, where the configuration is silent. It is asked for again: not settled.
    pub(super) fn take_over(&self, before: &Self) {
        if self.documents != before.documents {
            return;
        }
        let Some(found) = before.state().found.clone() else { return };
        let known = self.configured.clone().or(found.clone());
        if known.check(self.plain_http).is_ok() {
            self.known.store(Arc::new(known));
            self.state().found = Some(found);
        }
    }

    /// What is known now: no I/O, no lock.
    pub(super) fn endpoints(&self) -> Arc<Endpoints> {
        self.known.load_full()
    }

    /// Whether the endpoints that are needed to serve are known.
    pub(super) fn is_complete(&self) -> bool {
        let known = self.known.load();
        known.token.is_some() && (known.jwks.is_some() || !self.needs_jwks)
    }

    /// Whether asking (again) could find anything.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn last_error(&self) -> Option<DiscoveryError> {
        self.state().last_error.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, after one attempt to find out if `wanted` is not among it yet.
    pub(super) async fn endpoints_with(
        self: &Arc<Self>,
        wanted: impl Fn(&Endpoints) -> bool,
    ) -> Arc<Endpoints> {
        if !wanted(&self.endpoints()) && !self.is_settled() {
            self.attempt().await;
        }
        self.endpoints()
    }

    /// One attempt, shared by all who ask for it meanwhile. Returns whether nothing is left to find out.
    pub(super) async fn attempt(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        self.attempts.join_or_start(|| true, || async move { this.discover().await }).await
    }

    async fn discover(&self) -> bool {
        self.space_out().await;
        let outcome = self.fetch_metadata().await.and_then(|metadata| self.accept(&metadata));
        // A provider whose needed endpoints are all configured may well have no metadata. That it says so itself counts.
        let settled = match &outcome {
            Ok(()) => true,
            Err(
                DiscoveryError::Unreachable { .. }
                | DiscoveryError::Proxy { .. }
                | DiscoveryError::Unclear { .. },
            ) => false,
            Err(_) => self.is_complete(),
        };
        match &outcome {
            Ok(()) => tracing::info!(identity_provider = self.provider, "endpoints discovered"),
            Err(error) if self.is_complete() => {
                tracing::info!(identity_provider = self.provider, %error, "no endpoint for logouts discovered");
            }
            Err(error) => {
                let hint = error.hint();
                tracing::warn!(identity_provider = self.provider, %error, hint, "discovery failed");
            }
        }
        if settled && self.logout == LogoutMethod::EndSession && self.known.load().end_session.is_none() {
            let consequence = "no end_session_endpoint is known: logouts end nothing at the provider";
            tracing::error!(identity_provider = self.provider, consequence);
        }
        self.state().last_error = outcome.err();
        self.settled.store(settled, Ordering::Release);
        settled
    }

    async fn space_out(&self) {
        let now = Instant::now();
        let last = { self.state().last_start.replace(now) };
        if let Some(last) = last {
            tokio::time::sleep_until(last + SPACING).await;
        }
    }

    /// The first document that is a metadata document. A host that cannot be reached is asked only once.
    async fn fetch_metadata(&self) -> Result<Metadata, DiscoveryError> {
        let mut told = None;
        for url in &self.documents {
            match self.fetch(url).await {
                Ok(metadata) => return Ok(metadata),
                Err(error @ (DiscoveryError::Unreachable { .. } | DiscoveryError::Proxy { .. })) => {
                    return Err(error);
                }
                // What is unclear counts more than that there is none.
                Err(error) => match &told {
                    Some(DiscoveryError::Unclear { .. }) => {}
                    Some(_) if !matches!(error, DiscoveryError::Unclear { .. }) => {}
                    _ => told = Some(error),
                },
            }
        }
        Err(told.unwrap_or_else(|| DiscoveryError::Endpoint(String::from("the issuer is not a URL"))))
    }

    async fn fetch(&self, url: &Url) -> Result<Metadata, DiscoveryError> {
        let unreachable = |reason| DiscoveryError::Unreachable { url: url.to_string(), reason };
        let no_metadata = |reason| DiscoveryError::NoMetadata { url: url.to_string(), reason };
        let unclear = |reason| DiscoveryError::Unclear { url: url.to_string(), reason };
        let answer =
            match measured(&self.provider, "discovery", self.http.get(url, self.request_timeout)).await {
                Ok(answer) => answer,
                Err(error @ (CallError::TooLarge | CallError::Encoded)) => {
                    return Err(unclear(error.to_string()));
                }
                Err(error @ CallError::Proxy { .. }) => {
                    return Err(DiscoveryError::Proxy { url: url.to_string(), reason: error.to_string() });
                }
                Err(error) => return Err(unreachable(error.to_string())),
            };
        match answer.status {
            200 => serde_json::from_slice(answer.json()).map_err(|error| unclear(error.to_string())),
            status @ (300..=399) => Err(unclear(format!("a redirect ({status}), which is not followed"))),
            status @ (408 | 425 | 429 | 500..) => Err(unreachable(format!("status {status}"))),
            status if is_wrong_url(status) => Err(no_metadata(format!("status {status}"))),
            status => Err(unclear(format!("status {status}"))),
        }
    }

    /// Takes over what the metadata says, where the configuration is silent.
    fn accept(&self, metadata: &Metadata) -> Result<(), DiscoveryError> {
        if metadata.issuer != self.issuer {
            return Err(DiscoveryError::OtherIssuer {
                found: escaped(&metadata.issuer),
                configured: self.issuer.clone(),
            });
        }
        let found = metadata.endpoints(self.logout)?;
        let known = self.configured.clone().or(found.clone());
        known.check(self.plain_http).map_err(DiscoveryError::Endpoint)?;
        if known.token.is_none() {
            return Err(DiscoveryError::Endpoint(String::from("no token_endpoint")));
        }
        if known.jwks.is_none() && self.needs_jwks {
            return Err(DiscoveryError::Endpoint(String::from("no jwks_uri")));
        }
        self.known.store(Arc::new(known));
        self.state().found = Some(found);
        Ok(())
    }
}

/// The metadata documents of an issuer: OpenID Connect appends to its path, RFC 8414 section 3.1 inserts before it.
fn well_known(issuer: &Url) -> Vec<Url> {
    let mut inserted = issuer.clone();
    inserted.set_query(None);
    inserted.set_fragment(None);
    let path = issuer.path().trim_end_matches('/');
    inserted.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    vec![below(issuer, ".well-known/openid-configuration"), inserted]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_may_have_a_path_and_a_trailing_slash() {
        let cases = [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example:8443/realms/shop",
                "https://a.example:8443/realms/shop/.well-known/openid-configuration",
                "https://a.example:8443/.well-known/oauth-authorization-server/realms/shop",
            ),
            (
                "https://a.example/o/",
                "https://a.example/o/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/o",
            ),
        ];
        for (issuer, openid, oauth) in cases {
            let documents = well_known(&issuer.parse().unwrap());
            let texts: Vec<_> = documents.iter().map(Url::as_str).collect();
            assert_eq!(texts, [openid, oauth], "{issuer}");
        }
    }
}
