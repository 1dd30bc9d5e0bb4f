//! HTTP/1.1 by hand, for both ends: raw bytes stay visible, and nothing is normalised on the way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time that a test waits for what must happen. It is generous, so that it never decides on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Waits, but not for ever.
pub(crate) async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until something has come true.
pub(crate) async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    patiently(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A request's or a response's head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// Every byte, up to and including the empty line.
    pub(crate) raw: Vec<u8>,
    /// The request line or status line.
    pub(crate) first_line: String,
    /// In the order of the wire, names as written.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
            })
            .collect();
        Self { raw, first_line, headers }
    }

    /// Every value of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "`{name}` occurs {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// The nth word of the first line.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or_default()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    fn is_chunked(&self) -> bool {
        self.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Option<u64> {
        self.all("content-length").first().and_then(|value| value.parse().ok())
    }

    /// Returns how the body of a request is delimited.
    pub(crate) fn request_framing(&self) -> Framing {
        if self.is_chunked() { Framing::Chunked } else { Framing::Length(self.length().unwrap_or(0)) }
    }

    /// Returns how the body of the response to `method` is delimited.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            _ if method == "HEAD" => Framing::Length(0),
            100..=199 | 204 | 304 => Framing::Length(0),
            _ if self.is_chunked() => Framing::Chunked,
            _ => self.length().map_or(Framing::UntilClose, Framing::Length),
        }
    }
}

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length`, 0 where there is no body.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A body that has been read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    /// The first bytes, at most `kept` of them.
    pub(crate) bytes: Vec<u8>,
    /// All of them, counted.
    pub(crate) length: u64,
    /// The trailer section.
    pub(crate) trailers: Vec<(String, String)>,
}

/// One connection and what has been read from it but not used.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: Vec<u8>,
    /// The server at this end has gone down: what comes from now on is not read.
    is_down: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self::of(stream, Arc::default())
    }

    /// The same for a server that may go down.
    pub(crate) fn of(stream: TcpStream, is_down: Arc<AtomicBool>) -> Self {
        stream.set_nodelay(true).expect("a live socket");
        Self { stream, buffer: Vec::new(), is_down }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Reads once more; false at the end of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(64 * 1024);
        let has_come = self.stream.read_buf(&mut self.buffer).await? > 0;
        // The task of a server that goes down ends when it next waits. On a busy machine that may be late.
        if self.is_down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(has_come)
    }

    async fn take_until(&mut self, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(Some(self.buffer.drain(..at + end.len()).collect()));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut_off()) };
            }
        }
    }

    /// The next head; `None` if the peer closed before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        Ok(self.take_until(b"\r\n\r\n").await?.map(Head::parse))
    }

    async fn count_down(&mut self, mut left: u64, kept: usize, body: &mut Body) -> io::Result<()> {
        while left > 0 {
            if self.buffer.is_empty() && !self.fill().await? {
                return Err(cut_off());
            }
            let count = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let room = kept.saturating_sub(body.bytes.len()).min(count);
            body.bytes.extend_from_slice(&self.buffer[..room]);
            self.buffer.drain(..count);
            body.length += count as u64;
            left -= count as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.take_until(b"\r\n").await?.ok_or_else(cut_off)?;
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    /// One chunk; `None` for the last one, whose trailers are then in `body`.
    pub(crate) async fn chunk(&mut self, kept: usize, body: &mut Body) -> io::Result<Option<u64>> {
        let line = self.line().await?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
        if size > 0 {
            self.count_down(size, kept, body).await?;
            self.line().await?;
            return Ok(Some(size));
        }
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(None) };
            body.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// A whole body, of which only `kept` bytes are held.
    pub(crate) async fn body(&mut self, framing: Framing, kept: usize) -> io::Result<Body> {
        let mut body = Body::default();
        match framing {
            Framing::Length(length) => self.count_down(length, kept, &mut body).await?,
            Framing::Chunked => while self.chunk(kept, &mut body).await?.is_some() {},
            Framing::UntilClose => loop {
                let count = self.buffer.len() as u64;
                self.count_down(count, kept, &mut body).await?;
                if !self.fill().await? {
                    break;
                }
            },
        }
        Ok(body)
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("a live socket");
        drop(self);
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in the middle of a message")
}
