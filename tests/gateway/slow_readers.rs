//! A client or an app that reads slowly but steadily loses nothing, however short `timeouts.idle` is. The gateway does
//! not wait for one that reads nothing. Both hold in each direction and for each protocol.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::app::web_socket_accept;
use crate::support::certificates::Authority;
use crate::support::http2::{Call, Http2App, response, write};
use crate::support::http2_client::answer;
use crate::support::listening::Listening;
use crate::support::slow::{MUCH, Slow};
use crate::support::wire::Framing;
use crate::support::{Http2Client, Reply, World, patiently, store_at, wait_for};

/// Far shorter than the time in which a reader makes room in the sender's system.
const IDLE: Duration = Duration::from_secs(2);

const SHORT: &str =
    "[apps.store.timeouts]\nidle = '2s'\nresponse = '2s'\n[server.limits]\nkeep_alive_timeout = '300ms'\n";

/// For what takes its time.
async fn slowly<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(120), future).await;
    outcome.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A store with a large answer at `/open/large`, which is reached with and without TLS.
async fn world(length: usize) -> (Authority, World) {
    let authority = Authority::for_store();
    let builder = World::builder().await.lay_over(&authority.server(&["store"])).lay_over(SHORT);
    for chunked in [false, true] {
        let path = if chunked { "/open/chunked" } else { "/open/large" };
        builder.store.on(path, Reply::Download { length: length as u64, chunked });
    }
    (authority, builder.start().await)
}

async fn tls<S>(authority: &Authority, alpn: &[&[u8]], stream: S) -> tokio_rustls::client::TlsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(std::sync::Arc::new(authority.client(&[&TLS13], alpn)));
    let name = ServerName::try_from("store.localhost").unwrap();
    slowly("a handshake", connector.connect(name, stream)).await.expect("a handshake")
}

/// A connection whose streams have this window, and which has one that never matters.
async fn http2(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, window: u32) -> Http2Client {
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(window).initial_connection_window_size(1 << 30);
    Http2Client::on(stream, &settings).await
}

/// All that comes until the end, with head.
async fn download(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = slowly("the answer", stream.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    if path == "/open/chunked" {
        assert!(answer.ends_with(b"\r\n0\r\n\r\n"), "cut after {}", answer.len());
    }
    answer.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer() {
    let (authority, world) = world(MUCH).await;
    let plain = async |path| download(Slow::connect(world.gateway.address).await, path).await;
    let secure = async || {
        let stream = Slow::connect(world.gateway.tls.unwrap()).await;
        download(tls(&authority, &[], stream).await, "/open/large").await
    };
    let lengths = tokio::join!(plain("/open/large"), plain("/open/chunked"), secure());
    assert!(lengths.0 > MUCH && lengths.1 > MUCH && lengths.2 > MUCH, "{lengths:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http2_that_reads_slowly_but_steadily_gets_all_of_its_answers() {
    let (authority, world) = world(MUCH / 2).await;
    let stream = tls(&authority, &[b"h2"], Slow::connect(world.gateway.tls.unwrap()).await).await;
    let mut client = http2(stream, 1 << 30).await;
    let mut answers = Vec::new();
    for path in ["/open/large", "/open/chunked"] {
        let request = client.request("GET", path).body(()).unwrap();
        let (response, _) = client.requests.send_request(request, true).expect("an open connection");
        answers.push(tokio::spawn(async move {
            let (_, mut body) = slowly("a head", response).await.expect("a head").into_parts();
            let mut length = 0;
            while let Some(bytes) = slowly("the body", body.data()).await {
                length += bytes.expect("all of it").len();
            }
            length
        }));
    }
    for answer in answers {
        assert_eq!(answer.await.expect("an answer"), MUCH / 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    let (authority, world) = world(256 << 20).await;
    let request = b"GET /open/large HTTP/1.1\r\nHost: store.localhost\r\n\r\n";
    for is_secure in [false, true] {
        let started = Instant::now();
        let _held: Box<dyn Send> = if is_secure {
            let stream = TcpStream::connect(world.gateway.tls.unwrap()).await.unwrap();
            let mut stream = tls(&authority, &[], stream).await;
            stream.write_all(request).await.unwrap();
            Box::new(stream)
        } else {
            let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
            stream.write_all(request).await.unwrap();
            Box::new(stream)
        };
        wait_for("the request at the app", || world.store.listening().open() > 0).await;
        wait_for("the end of the answer", || world.store.listening().open() == 0).await;
        assert!(started.elapsed() >= IDLE, "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_nothing_is_ended_beside_one_that_does() {
    let (authority, world) = world(8 << 20).await;
    let stream =
        tls(&authority, &[b"h2"], TcpStream::connect(world.gateway.tls.unwrap()).await.unwrap()).await;
    let mut client = http2(stream, 64 * 1024).await;
    let get = |client: &mut Http2Client| {
        let request = client.request("GET", "/open/large").body(()).unwrap();
        client.requests.send_request(request, true).expect("an open connection").0
    };
    let started = Instant::now();
    let (_, mut untaken) = patiently("a head", get(&mut client)).await.expect("a head").into_parts();
    let mut cut = false;
    while !cut {
        // Its window stays full; what the others take is no sign of it.
        assert_eq!(
            answer(get(&mut client)).await.expect("an answer").body.expect("all of it").len(),
            8 << 20
        );
        cut = patiently("what there is", async {
            loop {
                match tokio::time::timeout(Duration::from_millis(10), untaken.data()).await {
                    Ok(Some(Ok(_))) => {}
                    Ok(Some(Err(_))) => break true,
                    Ok(None) => panic!("all of it"),
                    Err(_) => break false,
                }
            }
        })
        .await;
        assert!(started.elapsed() < Duration::from_secs(60), "it is never ended");
    }
    assert!(started.elapsed() >= IDLE, "{:?}", started.elapsed());
}

/// An app that takes an upload slowly but steadily, or not at all, and answers with its length.
async fn slow_app(takes: bool) -> Listening {
    Listening::start(move |mut wire, _| async move {
        let Ok(Some(head)) = wire.head().await else { return };
        let Framing::Length(length) = head.request_framing() else { return };
        if !takes {
            std::future::pending::<()>().await;
        }
        let mut count = std::mem::take(&mut wire.buffer).len();
        let mut slow = Slow::new(wire.stream);
        let mut bytes = vec![0; 64 * 1024];
        while (count as u64) < length {
            match slow.read(&mut bytes).await {
                Ok(read @ 1..) => count += read,
                _ => return,
            }
        }
        let text = count.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let _gone_already = slow.write_all(answer.as_bytes()).await;
        std::future::pending::<()>().await;
    })
    .await
}

/// The answer to an upload.
async fn upload(world: &World, length: usize) -> String {
    let mut stream = TcpStream::connect(world.gateway.address).await.unwrap();
    let head = format!(
        "POST /open/up HTTP/1.1\r\nHost: store.localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let sending = async {
        let piece = vec![b'u'; 64 * 1024];
        for _ in 0..length / piece.len() {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
    };
    let _cut_or_whole =
        slowly("the answer", async { tokio::join!(sending, reader.read_to_end(&mut answer)).1 }).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_reads_slowly_but_steadily_loses_no_upload() {
    let app = slow_app(true).await;
    let world = World::with(&(store_at(&format!("http://{}", app.address())) + SHORT)).await;
    let answer = upload(&world, MUCH).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&MUCH.to_string()), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_takes_nothing_of_an_upload_is_not_waited_for() {
    let app = slow_app(false).await;
    // The head may come late, but what is sent must be taken.
    let toml = format!(
        "[apps.store]\nupstreams = ['http://{}']\n[apps.store.timeouts]\nidle = '2s'\nresponse = '10m'\n",
        app.address()
    );
    let world = World::with(&toml).await;
    let started = Instant::now();
    let answer = upload(&world, 64 << 20).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(started.elapsed() >= IDLE, "{:?}", started.elapsed());
}

/// The same over HTTP/2, far more slowly: it gives a small window back bit by bit, or not at all.
async fn slow_http2_app(takes: bool) -> Http2App {
    let mut settings = h2::server::Builder::new();
    settings.initial_window_size(8 * 1024);
    Http2App::with(settings, move |mut call: Call| async move {
        let mut count = 0;
        while let Some(Ok(bytes)) = call.body.data().await {
            count += bytes.len();
            if !takes {
                std::future::pending::<()>().await;
            }
            // What comes before its window is known, 64 KiB, counts against it (RFC 9113 section 6.9.2): to take it is
            // one step, and must not last for the time in which there has to be one.
            tokio::time::sleep(Duration::from_millis(bytes.len() as u64 / 128)).await;
            let _ = call.body.flow_control().release_capacity(bytes.len());
        }
        let Ok(mut stream) = call.respond.send_response(response(200), false) else { return };
        let _ = write(&mut stream, Bytes::from(count.to_string())).await;
        let _ = stream.send_data(Bytes::new(), true);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_of_http2_that_reads_slowly_but_steadily_loses_no_upload() {
    let app = slow_http2_app(true).await;
    let world = World::with(&(store_at(&app.url()) + SHORT)).await;
    let answer = upload(&world, MUCH / 4).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&(MUCH / 4).to_string()), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_of_http2_that_takes_nothing_of_an_upload_is_not_waited_for() {
    let app = slow_http2_app(false).await;
    let toml = format!(
        "[apps.store]\nupstreams = ['{}']\n[apps.store.timeouts]\nidle = '2s'\nresponse = '10m'\n",
        app.url()
    );
    let world = World::with(&toml).await;
    let started = Instant::now();
    let answer = upload(&world, 64 << 20).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(started.elapsed() >= IDLE, "{:?}", started.elapsed());
}

/// After a WebSocket's handshake the app reads this slowly, or the client does; the other one has long sent everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_whose_one_side_reads_slowly_but_steadily_is_not_idle() {
    const WELL: &[u8] = b"\x81\x04well";
    let app = Listening::start(|mut wire, _| async move {
        let Ok(Some(head)) = wire.head().await else { return };
        let accept = web_socket_accept(head.get("sec-websocket-key").unwrap_or_default());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        wire.send(response).await.unwrap();
        let mut bytes = vec![0; 64 * 1024];
        if head.word(1) == "/open/down" {
            // A binary message of this length (RFC 6455 section 5.2).
            let message = [&[0x82, 127][..], &(MUCH as u64).to_be_bytes(), &vec![0; MUCH]].concat();
            let _gone_already = wire.send(message).await;
            let _ended = wire.stream.read(&mut bytes).await;
            return;
        }
        let mut count = std::mem::take(&mut wire.buffer).len();
        let mut slow = Slow::new(wire.stream);
        while count < MUCH {
            match slow.read(&mut bytes).await {
                Ok(read @ 1..) => count += read,
                _ => return,
            }
        }
        let _gone_already = slow.write_all(WELL).await;
        let _ended = slow.read(&mut bytes).await;
    })
    .await;
    let world = World::with(&(store_at(&format!("http://{}", app.address())) + SHORT)).await;
    let head = |path| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: store.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let up = async {
        let mut wire = world.browser().open().await;
        wire.send(head("/open/up")).await.unwrap();
        assert_eq!(patiently("the handshake", wire.head()).await.unwrap().expect("a head").status(), 101);
        slowly("room", wire.send(vec![b'u'; MUCH])).await.expect("an open connection");
        let mut said = vec![0; WELL.len()];
        slowly("what the app says", wire.stream.read_exact(&mut said)).await.expect("an open connection");
        assert_eq!(said, WELL);
    };
    let down = async {
        let mut stream = Slow::connect(world.gateway.address).await;
        stream.write_all(head("/open/down").as_bytes()).await.unwrap();
        let mut all = Vec::new();
        let _ended = slowly("the end", stream.read_to_end(&mut all)).await;
        let close = all.split_off(all.len() - 8);
        assert!(all.len() > MUCH, "{}", all.len());
        assert_eq!(&close[..4], b"\x88\x06\x03\xe9", "closed with 1001 in the end");
    };
    tokio::join!(up, down);
}
