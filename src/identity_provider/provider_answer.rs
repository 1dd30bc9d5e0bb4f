//! An answer of a provider as it came: its status, the header fields that matter, and its body up to a limit.

use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER, WWW_AUTHENTICATE};
use zeroize::Zeroizing;

use crate::identity_provider::call_error::{CallError, MAX_ANSWER};

/// The answer of a provider, with any status.
#[derive(Default)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// `Content-Type` without parameters, in lower case. It is empty if there is none.
    pub(super) media_type: String,
    /// `Date`, as received.
    pub(super) date: Option<String>,
    /// `Retry-After`, as received.
    pub(super) retry_after: Option<String>,
    /// The scheme of `WWW-Authenticate`, if the answer asks for credentials.
    pub(super) asks_for: Option<String>,
    /// The whole body. It may contain tokens.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Returns the body without a byte order mark. Some providers put one in front of JSON, and readers may ignore it
    /// (RFC 8259 section 8.1).
    pub(super) fn json(&self) -> &[u8] {
        self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body)
    }

    /// Reads the whole answer, up to a limit.
    pub(super) async fn read(mut response: Response) -> Result<Self, CallError> {
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
        while let Some(chunk) = response.chunk().await.map_err(|error| CallError::of(error, None))? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(CallError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, media_type, date, retry_after, asks_for, body })
    }
}

/// Tells whether a status means that the URL or the way of the call is wrong.
pub(super) const fn is_wrong_url(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 415)
}
