//! The only place that talks to an identity provider over HTTP. It follows no redirects, uses only a configured proxy,
//! and limits the total time and the size of an answer.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, redirect};
use url::Url;
use zeroize::Zeroizing;

use crate::config::{self, Authorities, OutgoingProxy};
use crate::identity_provider::call_error::{ASKS_FOR_CREDENTIALS, CallError, describe};
use crate::identity_provider::client_authentication::basic;
use crate::identity_provider::form_body::{Form, ZeroizingBytes};
use crate::identity_provider::provider_answer::Answer;
use crate::telemetry::metrics::ProviderCall;
use crate::telemetry::traces::{self, CallSpan};

/// The time for which an idle connection is kept. It is below the 5 s after which Node closes a connection by default.
/// A refresh that is sent into a closing connection may be lost. It must not be repeated if refresh tokens rotate.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The client of one identity provider.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    /// The proxy that every call goes through.
    proxy: Option<Url>,
}

impl HttpClient {
    /// Builds the client. Makes no connection.
    ///
    /// With `ca`, only certificates of that authority are trusted, for the provider and for a proxy. Without it, the
    /// certificates that the machine trusts are trusted. The environment's proxies are not used.
    pub(super) fn new(config: &config::IdentityProvider) -> Result<Self, String> {
        let proxy = config.proxy.as_ref();
        let through = proxy.map(outgoing_proxy).transpose()?;
        let builder = || {
            let builder = reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .connect_timeout(config.connect_timeout)
                .pool_idle_timeout(IDLE_CONNECTION)
                .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
            match &through {
                Some(proxy) => builder.proxy(proxy.clone()),
                None => builder,
            }
        };
        let proxy = proxy.map(|proxy| proxy.url.clone());
        if let Some(Authorities(certificates)) = &config.ca {
            let certificates: Result<Vec<_>, _> =
                certificates.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
            let client = certificates.and_then(|certificates| builder().tls_certs_only(certificates).build());
            return client.map(|client| Self { client, proxy }).map_err(described);
        }
        let client = builder().build().or_else(|error| {
            // A bare image has no root certificates, which a provider on a loopback address does not need.
            let error = described(error);
            tracing::warn!(%error, "no root certificates: an identity provider over https cannot be verified");
            builder().tls_certs_only([]).build()
        });
        client.map(|client| Self { client, proxy }).map_err(described)
    }

    /// Fetches a JSON document.
    pub(super) async fn get(&self, url: &Url, limit: Duration) -> Result<Answer, CallError> {
        self.call(self.client.get(url.clone()), limit).await
    }

    /// Posts a form, with the client's `Authorization` if there is one.
    pub(super) async fn post_form(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        form: Form,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into_bytes());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        self.call(request, limit).await
    }

    /// Posts a JSON text.
    pub(super) async fn post_json(
        &self,
        url: &Url,
        json: Zeroizing<Vec<u8>>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let body = Bytes::from_owner(ZeroizingBytes(json));
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        self.call(request, limit).await
    }

    /// Posts an empty body. Everything is in the query, which is added to the query of the URL.
    pub(super) async fn post_query(
        &self,
        url: &Url,
        pairs: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let mut url = url.clone();
        url.query_pairs_mut().extend_pairs(pairs);
        self.call(self.client.post(url).body(Bytes::new()), limit).await
    }

    /// Sends a request and reads the whole answer, all within `limit`.
    async fn call(&self, request: RequestBuilder, limit: Duration) -> Result<Answer, CallError> {
        let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
        let exchange = async {
            let (client, request) = request.build_split();
            let proxy = self.proxy.as_ref();
            let failed = |error| CallError::of(error, proxy);
            let mut request = request.map_err(failed)?;
            traces::propagate(&mut request);
            let response = client.execute(request).await.map_err(failed)?;
            if let Some(proxy) = proxy.filter(|_| response.status().as_u16() == ASKS_FOR_CREDENTIALS) {
                return Err(CallError::proxy_wants_credentials(proxy));
            }
            Answer::read(response).await
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(CallError::TimedOut(limit)))
    }
}

fn outgoing_proxy(proxy: &OutgoingProxy) -> Result<reqwest::Proxy, String> {
    let through = reqwest::Proxy::all(proxy.url.clone()).map_err(described)?;
    let credentials = proxy.credentials.as_ref();
    let header = credentials.and_then(|known| basic(&known.username, known.password.expose()));
    Ok(match header {
        Some(header) => through.custom_http_auth(header),
        None => through,
    })
}

fn described(error: reqwest::Error) -> String {
    describe(error).to_string()
}

/// Counts a call and the time that it takes, even if the caller gives it up.
pub(super) async fn measured(
    provider: &str,
    endpoint: &'static str,
    call: impl Future<Output = Result<Answer, CallError>>,
) -> Result<Answer, CallError> {
    let mut measure = ProviderCall::start(provider, endpoint);
    let status = |answer: &Result<Answer, CallError>| answer.as_ref().ok().map(|answer| answer.status);
    let answer = match CallSpan::start(provider, endpoint) {
        Some(span) => span.around(call, status).await,
        None => call.await,
    };
    measure.status = status(&answer);
    answer
}
