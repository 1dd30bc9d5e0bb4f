//! The app behind the gateway's stand-in.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::streams;

/// The parts of one request that the upstream read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body's end came.
    pub(crate) is_complete: bool,
    /// The stream that it became was ended by the other side.
    pub(crate) saw_end: bool,
}

pub(crate) type Record = Arc<Mutex<Vec<Seen>>>;

/// Answers `/slow` never, `/ws` with an upgrade that echoes, what [`streams`] knows with that, all else with the
/// request line and the body's length.
pub(crate) async fn upstream(listener: TcpListener, record: Record, go_on: Arc<Notify>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (record, go_on) = (Arc::clone(&record), Arc::clone(&go_on));
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            while upstream_request(&mut stream, &record, &go_on).await.is_ok() {}
        });
    }
}

async fn upstream_request(
    stream: &mut BufReader<TcpStream>,
    record: &Record,
    go_on: &Notify,
) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let index = {
        let mut record = record.lock().expect("unpoisoned");
        record.push(Seen { head: head.clone(), ..Seen::default() });
        record.len() - 1
    };
    let lower = head.to_ascii_lowercase();
    if lower.contains("\r\nexpect: 100-continue\r\n") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = read_body(stream, &lower, record, index).await?;
    record.lock().expect("unpoisoned")[index].is_complete = true;
    if let Some(streaming) = streams::serve(&head, stream, go_on).await {
        record.lock().expect("unpoisoned")[index].saw_end = true;
        return streaming;
    }
    if head.starts_with("GET /ws") {
        return echo(stream, record, index).await;
    }
    if head.contains(" /slow") {
        std::future::pending::<()>().await;
    }
    let line = head.split("\r\n").next().unwrap_or_default();
    let body = format!("{line} body={length}");
    stream
        .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
        .await
}

/// Reads the body of a request, and returns its length.
async fn read_body(
    stream: &mut BufReader<TcpStream>,
    lower: &str,
    record: &Record,
    index: usize,
) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let (size, is_chunked) = if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            (usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?, true)
        } else {
            let value = lower.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            (value.map_or(0, |digits| digits.parse().expect("digits")), false)
        };
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; left.min(65536)];
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
            length += read;
            let body = &mut record.lock().expect("unpoisoned")[index].body;
            if body.len() < 1_000_000 {
                body.extend_from_slice(&piece[..read]);
            }
        }
        if is_chunked {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            assert_eq!(line, "\r\n");
        }
        if !is_chunked || size == 0 {
            break;
        }
    }
    Ok(length)
}

/// Switches protocols, and sends back what comes.
async fn echo(stream: &mut BufReader<TcpStream>, record: &Record, index: usize) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .await?;
    loop {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        record.lock().expect("unpoisoned")[index].body.extend_from_slice(&bytes[..read]);
        record.lock().expect("unpoisoned")[index].saw_end |= read == 0;
        stream.write_all(&bytes[..read]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
