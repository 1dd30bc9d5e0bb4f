//! The only place that talks to an identity provider over HTTP: no redirects, no proxy, total time-outs, bounded answers.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::{RequestBuilder, Response, redirect};
use url::Url;
use zeroize::Zeroizing;

use crate::config::Authorities;

use super::form::{Form, ZeroizingBytes};
use crate::telemetry::metrics::ProviderCall;
use crate::telemetry::traces::{self, CallSpan};
use crate::unreachable::{Side, Unreachable};

/// The most that is read of an answer, in bytes: far more than any token answer, metadata or JWKS needs.
const MAX_ANSWER: usize = 1024 * 1024;

/// How long an idle connection is kept. Below the 5 s after which Node closes one by default: a refresh that is
/// sent into a closing connection may be lost, and must not be repeated where refresh tokens rotate.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The client of one identity provider.
#[derive(Debug, Clone)]
pub(super) struct HttpClient(reqwest::Client);

/// What a provider answered, whatever the status.
#[derive(Default)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// `Content-Type` without parameters, lower-case; empty if there is none.
    pub(super) media_type: String,
    /// `Date`, as received.
    pub(super) date: Option<String>,
    /// `Retry-After`, as received.
    pub(super) retry_after: Option<String>,
    /// The scheme of `WWW-Authenticate`: whoever answers wants us to say who we are.
    pub(super) asks_for: Option<String>,
    /// The whole body; it may hold tokens.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body without the byte order mark that some put in front of JSON (RFC 8259 section 8.1 lets readers ignore it).
    pub(super) fn json(&self) -> &[u8] {
        self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The answer was not complete in time.
    #[error("no complete answer within {0:?} (`request_timeout`)")]
    TimedOut(Duration),
    /// The answer is larger than [`MAX_ANSWER`].
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    /// The answer is compressed although we ask for none, so that its size is not what we count.
    #[error("the answer has a content encoding, which was not asked for")]
    Encoded,
}

impl HttpClient {
    /// Builds the client; makes no connection.
    ///
    /// With `ca` only what that certifies is trusted, else what the machine trusts.
    pub(super) fn new(connect_timeout: Duration, ca: Option<&Authorities>) -> Result<Self, String> {
        let builder = || {
            reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .connect_timeout(connect_timeout)
                .pool_idle_timeout(IDLE_CONNECTION)
                .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        };
        if let Some(Authorities(certificates)) = ca {
            let certificates: Result<Vec<_>, _> =
                certificates.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
            let client = certificates.and_then(|certificates| builder().tls_certs_only(certificates).build());
            return client.map(Self).map_err(describe);
        }
        let client = builder().build().or_else(|error| {
            // A bare image has no root certificates, which a provider on a loopback address does not need.
            let error = describe(error);
            tracing::warn!(%error, "no root certificates: an identity provider over https cannot be verified");
            builder().tls_certs_only([]).build()
        });
        client.map(Self).map_err(describe)
    }

    /// Fetches a JSON document.
    pub(super) async fn get(&self, url: &Url, limit: Duration) -> Result<Answer, CallError> {
        call(self.0.get(url.clone()), limit).await
    }

    /// Posts a form, with the client's `Authorization` where there is one.
    pub(super) async fn post_form(
        &self,
        url: &Url,
        authorization: Option<HeaderValue>,
        form: Form,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let mut request = self
            .0
            .post(url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into_bytes());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        call(request, limit).await
    }

    /// Posts a JSON text.
    pub(super) async fn post_json(
        &self,
        url: &Url,
        json: Zeroizing<Vec<u8>>,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let body = Bytes::from_owner(ZeroizingBytes(json));
        call(self.0.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body), limit).await
    }

    /// Posts nothing: everything is in the URL.
    pub(super) async fn post_empty(&self, url: &Url, limit: Duration) -> Result<Answer, CallError> {
        call(self.0.post(url.clone()).body(Bytes::new()), limit).await
    }
}

/// Counts a call and the time that it takes, also where it is given up.
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

/// Sends a request and reads the whole answer, all within `limit`.
async fn call(request: RequestBuilder, limit: Duration) -> Result<Answer, CallError> {
    let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
    let exchange = async {
        let failed = |error| CallError::Connection(describe(error));
        let (client, request) = request.build_split();
        let mut request = request.map_err(failed)?;
        traces::propagate(&mut request);
        let response = client.execute(request).await.map_err(failed)?;
        read(response).await
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(CallError::TimedOut(limit)))
}

async fn read(mut response: Response) -> Result<Answer, CallError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if header(CONTENT_ENCODING).is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
        return Err(CallError::Encoded);
    }
    let media_type = header(CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default();
    let [date, retry_after] = [DATE, RETRY_AFTER].map(|name| header(name).map(str::to_owned));
    let challenges =
        response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let asks_for = challenges.flat_map(str::split_ascii_whitespace).next().map(str::to_owned);
    let status = response.status().as_u16();
    let announced = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > MAX_ANSWER {
        return Err(CallError::TooLarge);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(chunk) = response.chunk().await.map_err(|error| CallError::Connection(describe(error)))? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, media_type, date, retry_after, asks_for, body })
}

/// An error and its causes, without the URL: FusionAuth's logout has the refresh token in it.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    Unreachable::of(&text, Side::IdentityProvider).map_or(text, |known| known.with_hint())
}
