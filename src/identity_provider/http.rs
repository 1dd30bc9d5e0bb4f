//! The only place that talks to an identity provider over HTTP: no redirects, no proxy but a configured one, total time-outs,
//! bounded answers.

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

use super::form::{Form, ZeroizingBytes, basic};
use crate::config::{self, Authorities, OutgoingProxy};
use crate::system::unreachable::{Side, Unreachable};
use crate::telemetry::metrics::ProviderCall;
use crate::telemetry::traces::{self, CallSpan};

/// The most that is read of an answer, in bytes: far more than any token answer, metadata or JWKS needs.
const MAX_ANSWER: usize = 1024 * 1024;

/// How long an idle connection is kept. Below the 5 s after which Node closes one by default: a refresh that is
/// sent into a closing connection may be lost, and must not be repeated where refresh tokens rotate.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// The client of one identity provider.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: reqwest::Client,
    /// The proxy that every call goes through.
    proxy: Option<Url>,
}

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
    /// The proxy in between has not let us talk to the provider.
    #[error("the proxy {proxy}: {reason}")]
    Proxy {
        /// Its scheme, host and port.
        proxy: String,
        /// What went wrong.
        reason: String,
    },
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
    /// With `ca` only what that certifies is trusted, be it the provider or a proxy, else what the machine trusts. The
    /// environment's proxies are not used.
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
            return client.map(|client| Self { client, proxy }).map_err(describe);
        }
        let client = builder().build().or_else(|error| {
            // A bare image has no root certificates, which a provider on a loopback address does not need.
            let error = describe(error);
            tracing::warn!(%error, "no root certificates: an identity provider over https cannot be verified");
            builder().tls_certs_only([]).build()
        });
        client.map(|client| Self { client, proxy }).map_err(describe)
    }

    /// Fetches a JSON document.
    pub(super) async fn get(&self, url: &Url, limit: Duration) -> Result<Answer, CallError> {
        self.call(self.client.get(url.clone()), limit).await
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

    /// Posts nothing: everything is in the URL.
    pub(super) async fn post_empty(&self, url: &Url, limit: Duration) -> Result<Answer, CallError> {
        self.call(self.client.post(url.clone()).body(Bytes::new()), limit).await
    }

    /// Sends a request and reads the whole answer, all within `limit`.
    async fn call(&self, request: RequestBuilder, limit: Duration) -> Result<Answer, CallError> {
        let request = request.header(ACCEPT, "application/json").header(ACCEPT_ENCODING, "identity");
        let exchange = async {
            let (client, request) = request.build_split();
            let mut request = request.map_err(|error| self.failed(error))?;
            traces::propagate(&mut request);
            let response = client.execute(request).await.map_err(|error| self.failed(error))?;
            if let Some(proxy) =
                self.proxy.as_ref().filter(|_| response.status().as_u16() == ASKS_FOR_CREDENTIALS)
            {
                return Err(of_proxy(proxy, String::from(WANTS_CREDENTIALS)));
            }
            read(response).await
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(CallError::TimedOut(limit)))
    }

    /// Whose fault it is that there is no connection. Over plain http only the proxy is connected to; to an https provider
    /// there is a tunnel, in which TLS begins (RFC 9110 section 9.3.6).
    fn failed(&self, error: reqwest::Error) -> CallError {
        let Some(proxy) = self.proxy.as_ref().filter(|_| error.is_connect()) else {
            return CallError::Connection(describe(error));
        };
        let is_plain = error.url().is_some_and(|url| url.scheme() == "http");
        let is_timeout = error.is_timeout();
        let words = words_of(error);
        let Some((_, tunnel)) = words.split_once(TUNNEL).filter(|_| !is_plain) else {
            return match () {
                () if is_plain => of_proxy(proxy, meaning(&words).unwrap_or(words)),
                // The time may have passed on either way.
                () if is_timeout => of_proxy(proxy, format!("no connection through it in time: {words}")),
                () => CallError::Connection(explained(words)),
            };
        };
        of_proxy(
            proxy,
            match tunnel {
                "proxy authorization required" => String::from(WANTS_CREDENTIALS),
                "unsuccessful" => String::from("it refuses a tunnel (CONNECT) to the provider"),
                other => meaning(other)
                    .unwrap_or_else(|| format!("there is no tunnel (CONNECT) to the provider: {other}")),
            },
        )
    }
}

/// How errors of tunnels begin, which have no public type.
const TUNNEL: &str = "tunnel error: ";

/// RFC 9110 section 15.5.8.
const ASKS_FOR_CREDENTIALS: u16 = 407;

const WANTS_CREDENTIALS: &str = "it wants to know who we are (407): see `proxy_credentials`";

fn of_proxy(proxy: &Url, reason: String) -> CallError {
    CallError::Proxy { proxy: proxy.origin().ascii_serialization(), reason }
}

fn outgoing_proxy(proxy: &OutgoingProxy) -> Result<reqwest::Proxy, String> {
    let through = reqwest::Proxy::all(proxy.url.clone()).map_err(describe)?;
    let credentials = proxy.credentials.as_ref();
    let header = credentials.and_then(|known| basic(&known.username, known.password.expose()));
    Ok(match header {
        Some(header) => through.custom_http_auth(header),
        None => through,
    })
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
fn words_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What an error's words mean at a proxy. What helps against a provider that cannot be reached does not help there.
fn meaning(words: &str) -> Option<String> {
    Unreachable::of(words, Side::IdentityProvider).map(|known| known.to_string())
}

/// What an error's words mean, and what to do about it, as far as that is known.
fn explained(words: String) -> String {
    Unreachable::of(&words, Side::IdentityProvider).map_or(words, |known| known.with_hint())
}

fn describe(error: reqwest::Error) -> String {
    explained(words_of(error))
}
