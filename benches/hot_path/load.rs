//! 64 keep-alive connections that send the next request when an answer is there, and check every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::backend::BODY_SIZE;
use crate::cases::Request;
use crate::issuer::Error;

const CONNECTIONS: usize = 64;

/// How long a proxy may take to be ready, its provider's keys included.
const START_TIMEOUT: Duration = Duration::from_secs(20);

const WARM_UP: u8 = 0;
const WINDOW: u8 = 1;
const STOPPED: u8 = 2;

/// A load that is running.
pub(crate) struct Load {
    phase: Arc<AtomicU8>,
    thread: JoinHandle<Result<Vec<Duration>, Error>>,
}

impl Load {
    /// Starts sending.
    pub(crate) fn start(proxy: SocketAddr, requests: Arc<[Request]>) -> Self {
        let phase = Arc::new(AtomicU8::new(WARM_UP));
        let thread = thread::spawn({
            let phase = Arc::clone(&phase);
            move || runtime()?.block_on(all_connections(proxy, requests, phase))
        });
        Self { phase, thread }
    }

    /// From now on latencies are kept.
    pub(crate) fn begin_window(&self) {
        self.phase.store(WINDOW, Ordering::Relaxed);
    }

    /// Stops, and returns the latency of every request that was answered in the window.
    pub(crate) fn stop(self) -> Result<Vec<Duration>, Error> {
        self.phase.store(STOPPED, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the load has panicked")?
    }
}

/// Sends the first request until it gets its right answer.
pub(crate) fn wait_until_served(proxy: SocketAddr, requests: &[Request]) -> Result<(), Error> {
    let request = requests.first().ok_or("no requests")?;
    let deadline = Instant::now() + START_TIMEOUT;
    runtime()?.block_on(async {
        loop {
            let attempt = async { Connection::open(proxy).await?.exchange(request).await };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn all_connections(
    proxy: SocketAddr,
    requests: Arc<[Request]>,
    phase: Arc<AtomicU8>,
) -> Result<Vec<Duration>, Error> {
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        connections.spawn(one_connection(proxy, Arc::clone(&requests), Arc::clone(&phase), number));
    }
    let mut latencies = Vec::new();
    while let Some(finished) = connections.join_next().await {
        latencies.extend(finished??);
    }
    Ok(latencies)
}

/// The connections go through the requests out of step, each through all of them.
async fn one_connection(
    proxy: SocketAddr,
    requests: Arc<[Request]>,
    phase: Arc<AtomicU8>,
    number: usize,
) -> Result<Vec<Duration>, Error> {
    let mut latencies = Vec::new();
    let mut connection = Connection::open(proxy).await?;
    let start = number * requests.len() / CONNECTIONS;
    for request in requests.iter().cycle().skip(start) {
        let sent = Instant::now();
        connection.exchange(request).await?;
        match phase.load(Ordering::Relaxed) {
            WARM_UP => {}
            WINDOW => latencies.push(sent.elapsed()),
            _ => break,
        }
    }
    Ok(latencies)
}

struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    async fn open(proxy: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(16 * 1024) })
    }

    async fn exchange(&mut self, request: &Request) -> Result<(), Error> {
        self.stream.write_all(&request.bytes).await?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the proxy has closed a connection".into());
            }
            let Some(head_end) = memmem::find(&self.buffer, b"\r\n\r\n") else { continue };
            let (head, body) = self.buffer.split_at(head_end + 4);
            if !head.starts_with(b"HTTP/1.1 200 ") {
                return Err(format!("not 200: {}", String::from_utf8_lossy(&self.buffer)).into());
            }
            if body.len() < BODY_SIZE {
                continue;
            }
            if body.len() > BODY_SIZE || !body.starts_with(request.expected.as_bytes()) {
                let (expected, body) = (&request.expected, String::from_utf8_lossy(body));
                return Err(format!("the app has not seen `{expected}`: {body}").into());
            }
            self.buffer.advance(head_end + 4 + BODY_SIZE);
            return Ok(());
        }
    }
}
