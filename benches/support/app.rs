//! The app behind the proxies, which says what it saw.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::issuer::Error;

/// Bytes of the app's answers.
pub(crate) const BODY_SIZE: usize = 1024;

/// Proxies that open thousands of connections at once must not wait for SYNs to be sent again.
const BACKLOG: u32 = 4096;

/// The beginning of an answer's body: the identity and the cookies that reached the app. The latter as a length and the
/// last bytes, so that the line stays short.
pub(crate) fn first_line(identity: Option<&str>, cookies: &str) -> String {
    let tail = cookies.get(cookies.len().saturating_sub(16)..).unwrap_or_default();
    format!("identity={} cookies={}:{tail}\n", identity.unwrap_or("-"), cookies.len())
}

/// Starts the app on a thread of its own.
pub(crate) fn start() -> Result<SocketAddr, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _in_runtime = runtime.enter();
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.listen(BACKLOG)?
    };
    let address = listener.local_addr()?;
    thread::Builder::new().name("app".into()).spawn(move || -> Result<(), Error> {
        runtime.block_on(async {
            loop {
                let (stream, _) = listener.accept().await?;
                // A proxy that goes away ends its connections in any way it likes.
                tokio::spawn(async move { serve(stream).await.unwrap_or_default() });
            }
        })
    })?;
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let mut answer = Vec::with_capacity(2 * BODY_SIZE);
    while stream.read_buf(&mut buffer).await? > 0 {
        while let Some(length) = answer_one(&buffer, &mut answer)? {
            buffer.advance(length);
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// Writes the answer to the first whole request in `buffer`, and returns that request's length.
fn answer_one(buffer: &[u8], answer: &mut Vec<u8>) -> Result<Option<usize>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(buffer)? else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let body: usize = header("content-length").map_or(Ok(0), str::parse)?;
    if buffer.len() < length + body {
        return Ok(None);
    }
    let line = first_line(header("x-auth-user"), header("cookie").unwrap_or_default());
    answer.clear();
    write!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_SIZE}\r\n\r\n{line}"
    )?;
    answer.resize(answer.len() + BODY_SIZE - line.len(), b'.');
    Ok(Some(length + body))
}
