//! Keep-alive connections that send the next request when an answer is there, and check every answer.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::issuer::Error;

/// The time that a proxy may take to be ready, its provider's keys included.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const WARM_UP: u8 = 0;
const WINDOW: u8 = 1;
const STOPPED: u8 = 2;

/// A request, and what its answer must be.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The whole request.
    pub(crate) bytes: Vec<u8>,
    /// The answer that it must get.
    pub(crate) answer: Answer,
}

/// The answer that a request must get.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status line up to the status.
    pub(crate) status: &'static str,
    /// Somewhere in the head.
    pub(crate) in_head: &'static str,
    /// The beginning of the body.
    pub(crate) body: String,
    /// The body's length, where it is known.
    pub(crate) body_length: Option<usize>,
}

/// The requests that a load sends.
pub(crate) trait Requests: Send + Sync {
    /// The number of requests before they repeat, in what matters to a proxy.
    fn distinct(&self) -> usize;

    /// The request with this number, from 0 and without end.
    fn get(&self, number: usize) -> Cow<'_, Request>;
}

impl Requests for Vec<Request> {
    fn distinct(&self) -> usize {
        self.len()
    }

    fn get(&self, number: usize) -> Cow<'_, Request> {
        #[expect(
            clippy::indexing_slicing,
            reason = "the remainder is below the length; an empty load is a bug"
        )]
        Cow::Borrowed(&self[number % self.len()])
    }
}

/// A load that is running.
pub(crate) struct Load {
    phase: Arc<AtomicU8>,
    answered: Arc<AtomicUsize>,
    thread: JoinHandle<Result<Vec<Duration>, Error>>,
}

impl Load {
    /// Starts sending.
    pub(crate) fn start(proxy: SocketAddr, requests: Arc<dyn Requests>, connections: usize) -> Self {
        let phase = Arc::new(AtomicU8::new(WARM_UP));
        let answered = Arc::new(AtomicUsize::new(0));
        let all = All { proxy, requests, phase: Arc::clone(&phase), answered: Arc::clone(&answered) };
        let thread = thread::spawn(move || runtime()?.block_on(all_connections(Arc::new(all), connections)));
        Self { phase, answered, thread }
    }

    /// Requests that have been answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// `false`: it has failed, and [`Self::stop`] says how.
    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// From now on latencies are kept.
    pub(crate) fn begin_window(&self) {
        self.phase.store(WINDOW, Ordering::Relaxed);
    }

    /// Stops, and returns the latency of every request that was answered in the window or under way at its end.
    pub(crate) fn stop(self) -> Result<Vec<Duration>, Error> {
        self.phase.store(STOPPED, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the load has panicked")?
    }
}

/// Sends the first request until it gets its right answer.
pub(crate) fn wait_until_served(proxy: SocketAddr, requests: &dyn Requests) -> Result<(), Error> {
    let deadline = Instant::now() + START_TIMEOUT;
    runtime()?.block_on(async {
        loop {
            let request = requests.get(0);
            let attempt = async { Connection::open(proxy).await?.exchange(&request).await };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
}

/// One thread, and nothing else on it.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The state that the connections of a load share.
struct All {
    proxy: SocketAddr,
    requests: Arc<dyn Requests>,
    phase: Arc<AtomicU8>,
    answered: Arc<AtomicUsize>,
}

async fn all_connections(all: Arc<All>, count: usize) -> Result<Vec<Duration>, Error> {
    let mut connections = JoinSet::new();
    for number in 0..count {
        // One after the other: a listener's queue has an end.
        let connection = Connection::open(all.proxy).await?;
        // They go through the requests out of step, each through all of them.
        let start = number * all.requests.distinct() / count;
        connections.spawn(one_connection(Arc::clone(&all), connection, start));
    }
    let mut latencies = Vec::new();
    while let Some(finished) = connections.join_next().await {
        latencies.extend(finished??);
    }
    Ok(latencies)
}

async fn one_connection(
    all: Arc<All>,
    mut connection: Connection,
    start: usize,
) -> Result<Vec<Duration>, Error> {
    let mut latencies = Vec::new();
    for number in start.. {
        let request = all.requests.get(number);
        let sent = Instant::now();
        connection.exchange(&request).await?;
        all.answered.fetch_add(1, Ordering::Relaxed);
        match all.phase.load(Ordering::Relaxed) {
            WARM_UP => {}
            WINDOW => latencies.push(sent.elapsed()),
            _ => {
                // Begun in the window: a proxy that passes a connection over must not gain by it.
                latencies.push(sent.elapsed());
                break;
            }
        }
    }
    Ok(latencies)
}

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(proxy: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(4 * 1024) })
    }

    /// Sends a request, and checks its answer.
    pub(crate) async fn exchange(&mut self, request: &Request) -> Result<(), Error> {
        self.stream.write_all(&request.bytes).await?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the proxy has closed a connection".into());
            }
            let Some(head_end) = memmem::find(&self.buffer, b"\r\n\r\n") else { continue };
            let (head, body) = self.buffer.split_at(head_end + 4);
            let length = content_length(head)?;
            if body.len() < length {
                continue;
            }
            request.answer.check(head, body, length)?;
            self.buffer.advance(head_end + 4 + length);
            return Ok(());
        }
    }
}

impl Answer {
    fn check(&self, head: &[u8], body: &[u8], length: usize) -> Result<(), Error> {
        let is_right = head.starts_with(self.status.as_bytes())
            && memmem::find(head, self.in_head.as_bytes()).is_some()
            && body.starts_with(self.body.as_bytes())
            && body.len() == length
            && self.body_length.is_none_or(|expected| expected == length);
        if is_right {
            return Ok(());
        }
        let (head, body) = (String::from_utf8_lossy(head), String::from_utf8_lossy(body));
        Err(format!("not the answer that was expected, {self:?}, but\n{head}{body}").into())
    }
}

fn content_length(head: &[u8]) -> Result<usize, Error> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head)?;
    let value = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    match value {
        Some(header) => Ok(std::str::from_utf8(header.value)?.parse()?),
        None => Err(format!("no Content-Length: {}", String::from_utf8_lossy(head)).into()),
    }
}
