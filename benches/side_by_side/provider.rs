//! The identity provider: it grants every login and every refresh, with tokens that were signed before, and counts
//! them.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded;

use crate::issuer::Error;
use crate::load::runtime;

/// The prefix of a session's number in user names.
pub(crate) const USER: &str = "user-";

/// The prefix of a session's number in refresh tokens.
pub(crate) const REFRESH_TOKEN: &str = "refresh-";

/// Calls that it has answered.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Password grants.
    pub(crate) logins: AtomicUsize,
    /// Refresh grants.
    pub(crate) refreshes: AtomicUsize,
}

struct Provider {
    metadata: String,
    jwks: String,
    /// The JWT of each session.
    tokens: Vec<String>,
    delay: Duration,
    calls: Arc<Calls>,
}

/// Its future URL: tokens name it.
pub(crate) fn bind() -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Starts it on a thread of its own. It gives session N the Nth of the tokens, and answers a grant after `delay`.
pub(crate) fn start(
    listener: TcpListener,
    jwks: &Value,
    tokens: Vec<String>,
    delay: Duration,
) -> Result<Arc<Calls>, Error> {
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let metadata = json!({
        "issuer": url,
        "token_endpoint": format!("{url}/token"),
        "revocation_endpoint": format!("{url}/revoke"),
        "jwks_uri": format!("{url}/jwks"),
    });
    let calls = Arc::new(Calls::default());
    let provider = Provider {
        metadata: metadata.to_string(),
        jwks: jwks.to_string(),
        tokens,
        delay,
        calls: Arc::clone(&calls),
    };
    let provider = Arc::new(provider);
    thread::Builder::new().name("provider".into()).spawn(move || -> Result<(), Error> {
        runtime()?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.serve(stream).await.unwrap_or_default() });
            }
        })
    })?;
    Ok(calls)
}

impl Provider {
    async fn serve(&self, mut stream: TcpStream) -> Result<(), Error> {
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::with_capacity(4096);
        while stream.read_buf(&mut buffer).await? > 0 {
            while let Some(request) = Request::read(&buffer)? {
                let answer = self.answer(&request).await;
                let length = request.length;
                stream.write_all(&answer).await?;
                buffer.advance(length);
            }
        }
        Ok(())
    }

    async fn answer(&self, request: &Request<'_>) -> Vec<u8> {
        match (request.method, request.path) {
            ("GET", "/jwks") => json_answer("200 OK", &self.jwks),
            ("GET", _) => json_answer("200 OK", &self.metadata),
            ("POST", "/token") => match self.grant(request.body) {
                Some(tokens) => {
                    if !self.delay.is_zero() {
                        tokio::time::sleep(self.delay).await;
                    }
                    json_answer("200 OK", &tokens)
                }
                None => json_answer("400 Bad Request", r#"{"error":"invalid_grant"}"#),
            },
            _ => json_answer("200 OK", "{}"),
        }
    }

    /// The token answer to a grant; `None`: it is of no session that there is.
    fn grant(&self, form: &[u8]) -> Option<String> {
        let field = |wanted: &str| {
            form_urlencoded::parse(form).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let (session, count) = match field("grant_type")?.as_str() {
            "password" => (number(&field("username")?, USER)?, &self.calls.logins),
            "refresh_token" => (number(&field("refresh_token")?, REFRESH_TOKEN)?, &self.calls.refreshes),
            _ => return None,
        };
        let token = self.tokens.get(session)?;
        let serial = count.fetch_add(1, Ordering::Relaxed);
        // Rotated: another one each time.
        let refresh_token = format!("{REFRESH_TOKEN}{session:08}-rotated-{serial:012}");
        Some(format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":86400,"refresh_token":"{refresh_token}"}}"#
        ))
    }
}

/// The number after a prefix, up to a dash.
fn number(text: &str, prefix: &str) -> Option<usize> {
    text.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

struct Request<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a [u8],
    /// Of head and body.
    length: usize,
}

impl<'a> Request<'a> {
    /// The first request, if it is there as a whole.
    fn read(buffer: &'a [u8]) -> Result<Option<Self>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(body_start) = head.parse(buffer)? else { return Ok(None) };
        let declared = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let body_length: usize = match declared {
            Some(header) => std::str::from_utf8(header.value)?.parse()?,
            None => 0,
        };
        let length = body_start + body_length;
        let Some(body) = buffer.get(body_start..length) else { return Ok(None) };
        let (method, path) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
        Ok(Some(Self { method, path, body, length }))
    }
}

fn json_answer(status: &str, body: &str) -> Vec<u8> {
    let mut answer = Vec::with_capacity(256 + body.len());
    let _always_fits = write!(
        answer,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    answer
}
