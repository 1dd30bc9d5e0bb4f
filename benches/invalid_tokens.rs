//! The effect of a flood of invalid tokens, no two alike, on the program's memory: `cargo bench --bench
//! invalid_tokens`.
//!
//! The program runs in a process of its own, and its resident memory is read from `/proc` after each tenth of the
//! flood. `BENCH_REQUESTS` (1,000,000) changes the size. An answer that is not a refusal fails the run.

#[path = "support/invalid_tokens.rs"]
mod invalid_tokens;
#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/port.rs"]
mod port;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use invalid_tokens::invalid;
use issuer::{CLIENT_ID, Error, Issuer};

const CONNECTIONS: usize = 4;
/// Requests that are sent before their answers are read.
const PIPELINED: usize = 8;

/// Ended with its owner.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Gateway {
    fn rss_kib(&self) -> Result<u64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

fn main() -> Result<(), Error> {
    let requests = requests()?;
    let issuer = Issuer::new("EdDSA")?;
    let (provider, jwks_fetches) = serve_provider(issuer.jwks()?.to_string())?;
    let url = format!("http://{provider}");
    // Long expired: its signature is as good as that of any token, and nobody can use it.
    let good = issuer.token(&url, "user", 1_700_000_000)?;
    let (gateway, address) = start_gateway(&url)?;
    flood(address, 0..requests / 10, &good)?;
    let first = gateway.rss_kib()?;
    println!("{:>10} requests: {first:>7} KiB resident", requests / 10);
    let began = Instant::now();
    for tenth in 1..10 {
        flood(address, requests / 10 * tenth..requests / 10 * (tenth + 1), &good)?;
        println!("{:>10} requests: {:>7} KiB resident", requests / 10 * (tenth + 1), gateway.rss_kib()?);
    }
    println!(
        "{:.1} s, {} fetches of the JWKS",
        began.elapsed().as_secs_f64(),
        jwks_fetches.load(Ordering::SeqCst)
    );
    Ok(())
}

fn requests() -> Result<usize, Error> {
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration file")]
    if let Ok(given) = std::env::var("BENCH_REQUESTS") {
        return Ok(given.parse()?);
    }
    // Cargo passes `--bench` for a benchmark, and not when it only tests that benchmarks run.
    Ok(if std::env::args().any(|argument| argument == "--bench") { 1_000_000 } else { 1000 })
}

/// An identity provider that has metadata and keys, and nothing else.
fn serve_provider(jwks: String) -> Result<(SocketAddr, Arc<AtomicUsize>), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let fetches = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&fetches);
    thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let body = if head.get(..read).is_some_and(|head| head.starts_with(b"GET /jwks")) {
                counter.fetch_add(1, Ordering::SeqCst);
                jwks.clone()
            } else {
                format!(
                    r#"{{"issuer":"http://{address}","token_endpoint":"http://{address}/token","jwks_uri":"http://{address}/jwks"}}"#
                )
            };
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let _gone =
                stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
        }
    });
    Ok((address, fetches))
}

fn start_gateway(issuer: &str) -> Result<(Gateway, SocketAddr), Error> {
    let ((_public, address), (_admin, admin)) = (port::reserve()?, port::reserve()?);
    let config = format!(
        r#"
        server = {{ listen = ["{address}"], admin_listen = "{admin}" }}
        [identity_providers.main]
        issuer = "{issuer}"
        algorithms = ["EdDSA"]
        [apps.store]
        hosts = ["store.localhost"]
        upstreams = ["http://127.0.0.1:9"]
        client_id = "{CLIENT_ID}"
        client_secret = "of no consequence here"
        "#
    );
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("invalid_tokens.toml");
    std::fs::write(&path, config)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("run").arg("--config").arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
    let gateway = Gateway(command.spawn()?);
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(50));
        let Ok(mut stream) = TcpStream::connect(admin) else { continue };
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok((gateway, address));
        }
    }
    Err("the gateway does not become ready".into())
}

/// Sends one request for each number, over several connections.
fn flood(address: SocketAddr, numbers: std::ops::Range<usize>, good: &str) -> Result<(), Error> {
    thread::scope(|scope| {
        let share = numbers.len().div_ceil(CONNECTIONS);
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let start = numbers.start + connection * share;
                let part = start..(start + share).min(numbers.end);
                scope.spawn(move || send(address, part, good))
            })
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a sender panicked")?)
    })
}

fn send(address: SocketAddr, numbers: std::ops::Range<usize>, good: &str) -> Result<(), Error> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0; 64 * 1024];
    let numbers: Vec<usize> = numbers.collect();
    for batch in numbers.chunks(PIPELINED) {
        let requests = batch.iter().map(|number| {
            let token = invalid(*number, good);
            format!(
                "GET /api HTTP/1.1\r\nHost: store.localhost\r\nCookie: __Host-access_token={token}\r\n\r\n"
            )
        });
        stream.write_all(requests.collect::<String>().as_bytes())?;
        let mut answers = Vec::new();
        // Each answer ends with its body, and only bodies have this.
        while count(&answers, b"\"}") < batch.len() {
            match stream.read(&mut buffer)? {
                0 => return Err("the gateway has closed".into()),
                read => answers.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
        let refusals = [b"HTTP/1.1 401 ".as_slice(), b"\"code\":\"not_logged_in\""];
        if refusals.iter().any(|part| count(&answers, part) != batch.len()) {
            return Err("an answer is no refusal".into());
        }
    }
    Ok(())
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| window == &part).count()
}
