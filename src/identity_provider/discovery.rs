//! Finds a provider's endpoints by OpenID Connect Discovery 1.0 section 4, and then by RFC 8414 section 3.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use url::Url;

use crate::config::{self, LogoutMethod, PlainHttp};
use crate::identity_provider::dialect::Dialect;
use crate::identity_provider::discovery_error::DiscoveryError;
use crate::identity_provider::endpoints::{Endpoints, check_url, issuer_url};
use crate::identity_provider::http_client::HttpClient;
use crate::identity_provider::log_text::escaped;
use crate::identity_provider::metadata::Metadata;
use crate::identity_provider::not_ready::SetupError;
use crate::identity_provider::shared_fetch::SharedFetch;

/// The least time between the starts of two attempts. While a provider is down, every login asks for an attempt.
const SPACING: Duration = Duration::from_millis(250);

/// Holds the endpoints, and finds those that are not configured.
#[derive(Debug)]
pub(super) struct Discovery {
    provider: String,
    issuer: String,
    /// The documents to try, in this order. The list is empty for a provider without metadata.
    documents: Vec<Url>,
    plain_http: PlainHttp,
    needs_jwks: bool,
    logout: LogoutMethod,
    request_timeout: Duration,
    http: HttpClient,
    configured: Endpoints,
    known: ArcSwap<Endpoints>,
    /// Tells whether nothing is left to find out. This is also so if the provider has no metadata at all.
    settled: AtomicBool,
    attempts: SharedFetch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The endpoints that the metadata named.
    found: Option<Endpoints>,
    last_start: Option<Instant>,
    last_error: Option<DiscoveryError>,
}

/// Returns the endpoints that are known without a call.
pub(super) fn configured(
    config: &config::IdentityProvider,
    dialect: &dyn Dialect,
) -> Result<Endpoints, SetupError> {
    let known = dialect.endpoints(config, Endpoints::named(config))?;
    known.check(config.plain_http()).map_err(SetupError::Endpoint)?;
    Ok(known)
}

impl Discovery {
    /// Prepares discovery. Makes no connection.
    pub(super) fn new(
        config: &config::IdentityProvider,
        dialect: &dyn Dialect,
        http: HttpClient,
    ) -> Result<Self, SetupError> {
        let configured = configured(config, dialect)?;
        let issuer = issuer_url(&config.issuer);
        let mut documents = issuer.map(|issuer| dialect.metadata(&issuer)).unwrap_or_default();
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
            // All needed endpoints are configured. An issuer that must not be asked is only a name.
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

    /// Takes over the endpoints from the same issuer's metadata, if the configuration does not name them. The metadata
    /// will be fetched again, since the result is not settled.
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

    /// Returns the endpoints that are known now, without I/O and without a lock.
    pub(super) fn endpoints(&self) -> Arc<Endpoints> {
        self.known.load_full()
    }

    /// Tells whether all endpoints that are needed to serve are known.
    pub(super) fn is_complete(&self) -> bool {
        let known = self.known.load();
        known.token.is_some() && (known.jwks.is_some() || !self.needs_jwks)
    }

    /// Tells whether nothing is left to find out.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Returns the reason why the last attempt failed, if it failed.
    pub(super) fn last_error(&self) -> Option<DiscoveryError> {
        self.state().last_error.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the known endpoints. If they do not fit `wanted` yet, makes one attempt to find more.
    pub(super) async fn endpoints_with(
        self: &Arc<Self>,
        wanted: impl Fn(&Endpoints) -> bool,
    ) -> Arc<Endpoints> {
        if !wanted(&self.endpoints()) && !self.is_settled() {
            self.attempt().await;
        }
        self.endpoints()
    }

    /// Makes one attempt, which all callers share that ask for it meanwhile. Returns true if nothing is left to find
    /// out.
    pub(super) async fn attempt(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        self.attempts.join_or_start(|| true, || async move { this.discover().await }).await
    }

    async fn discover(&self) -> bool {
        self.space_out().await;
        let outcome = self.fetch_metadata().await.and_then(|metadata| self.accept(&metadata));
        // A provider may have no metadata if all its needed endpoints are configured. Then its own word that it has
        // none is enough.
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

    /// Returns the first document that is a metadata document. A host that cannot be reached is asked only once.
    async fn fetch_metadata(&self) -> Result<Metadata, DiscoveryError> {
        let mut told = None;
        for url in &self.documents {
            match Metadata::fetch(&self.http, &self.provider, url, self.request_timeout).await {
                Ok(metadata) => return Ok(metadata),
                Err(error @ (DiscoveryError::Unreachable { .. } | DiscoveryError::Proxy { .. })) => {
                    return Err(error);
                }
                // An unclear answer counts more than the answer that there is no document.
                Err(error) => match &told {
                    Some(DiscoveryError::Unclear { .. }) => {}
                    Some(_) if !matches!(error, DiscoveryError::Unclear { .. }) => {}
                    _ => told = Some(error),
                },
            }
        }
        Err(told.unwrap_or_else(|| DiscoveryError::Endpoint(String::from("the issuer is not a URL"))))
    }

    /// Takes over the endpoints of the metadata that the configuration does not name.
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
