use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use pingora_core::protocols::GetProxyDigest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::system::name_lookup::{Lookup, LookupError};
use crate::upstream::connect::Evidence;
use crate::upstream::name_lookups::{Name, Names};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An app's socket, and the connector for it.
struct Bench {
    listener: TcpListener,
    address: SocketAddr,
    pool: Arc<Pool>,
    connector: Arc<Connector>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Dialer::to).await
    }

    /// The same at a name.
    async fn named() -> (Self, Arc<Name>) {
        let name = Names::new(Arc::new(Here)).get("shop.test");
        name.look_up().await;
        let evidence = Evidence {
            name: Arc::clone(&name),
            address: Arc::clone(&name.answer().addresses[0]),
            has_certificate: false,
        };
        let bench = Self::with(|address| Arc::new(Dialer::new(address, Some(evidence), None))).await;
        (bench, name)
    }

    async fn with(dialer: impl FnOnce(SocketAddr) -> Arc<Dialer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = Arc::default();
        let peer = HttpPeer::new(address, false, String::new());
        let connector = Arc::new(Connector::new(&peer, dialer(address), &pool));
        Self { listener, address, pool, connector }
    }

    /// A connection as Pingora has it, and the app's end of it.
    async fn connect(&self) -> (PeerStream, TcpStream) {
        let lent = self.borrow(false).await;
        (lent, self.listener.accept().await.unwrap().0)
    }

    /// A connection as Pingora has it.
    async fn borrow(&self, is_kept: bool) -> PeerStream {
        let attempt = Attempt::new(Arc::clone(&self.connector), None);
        let lent = attempt.connect(&PeerAddress::Inet(self.address)).await.unwrap();
        assert_eq!(attempt.was_kept(), is_kept);
        assert!(lent.get_proxy_digest().is_none());
        lent
    }

    /// A connection that was kept.
    fn kept(&self) -> Option<Connection> {
        self.pool.take()
    }
}

/// Every name is this machine's.
#[derive(Debug)]
struct Here;

#[async_trait]
impl Lookup for Here {
    async fn addresses(&self, _: &str) -> std::result::Result<Vec<IpAddr>, LookupError> {
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

/// One request and its answer.
async fn exchange(lent: &mut PeerStream, app: &mut TcpStream) {
    lent.write_all(GET.as_bytes()).await.unwrap();
    app.write_all(OK.as_bytes()).await.unwrap();
    assert_eq!(read_to_end(lent).await, OK.as_bytes());
}

/// Reads as Pingora does: to the answer's end, then once more before it would keep the connection.
async fn read_to_end(lent: &mut PeerStream) -> Vec<u8> {
    let mut answer = Vec::new();
    while lent.read_buf(&mut answer).await.unwrap_or(0) > 0 {}
    answer
}

#[tokio::test]
async fn a_connection_is_kept_where_both_ends_were_clean() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n{OK}");
    let surplus = format!("{OK}HTTP/1.1 200 OK\r\n\r\n");
    let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    let coded = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (request, answer, is_kept) in [
        (GET.to_owned(), OK, true),
        (GET.to_owned(), chunked, true),
        (GET.to_owned(), hints.as_str(), true),
        (GET.to_owned(), "HTTP/1.1 204 No\r\n\r\n", true),
        (GET.to_owned(), "HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", true),
        (format!("{post}hello"), OK, true),
        (format!("{coded}5\r\nhello\r\n0\r\n\r\n"), OK, true),
        ("HEAD / HTTP/1.1\r\n\r\n".into(), "HTTP/1.1 200 OK\r\n\r\n", true),
        // The request has no end.
        (format!("{post}hell"), OK, false),
        (format!("{coded}5\r\nhello\r\n"), OK, false),
        (format!("{coded}5\r\nhello\r\n0\r\n"), OK, false),
        // The answer has more than one, or says that it is the last.
        (GET.to_owned(), surplus.as_str(), false),
        (GET.to_owned(), "HTTP/1.1 204 No\r\n\r\nbody", false),
        (GET.to_owned(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx", false),
        (GET.to_owned(), "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", false),
        ("HEAD / HTTP/1.1\r\n\r\n".into(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false),
        (GET.to_owned(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
        (GET.to_owned(), "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", false),
    ] {
        let bench = Bench::new().await;
        let (mut lent, mut app) = bench.connect().await;
        lent.write_all(request.as_bytes()).await.unwrap();
        app.write_all(answer.as_bytes()).await.unwrap();
        read_to_end(&mut lent).await;
        drop(lent);
        assert_eq!(bench.kept().is_some(), is_kept, "{request:?} {answer:?}");
        assert!(bench.kept().is_none(), "there is one at most");
    }
}

#[tokio::test]
async fn an_answer_before_the_request_s_end_is_the_last_and_nothing_is_written_after_it() {
    for head in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let bench = Bench::new().await;
        let (mut lent, mut app) = bench.connect().await;
        lent.write_all(format!("POST / HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        app.write_all(OK.as_bytes()).await.unwrap();
        let mut answer = vec![0; OK.len()];
        lent.read_exact(&mut answer).await.unwrap();
        let late = lent.write_all(b"5\r\nhello\r\n0\r\n\r\n").await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::BrokenPipe, "{head}");
        read_to_end(&mut lent).await;
        drop(lent);
        assert!(bench.kept().is_none(), "{head}");
        let mut rest = Vec::new();
        app.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"\r\n\r\n"), "only the head has come: {}", rest.escape_ascii());
    }
}

#[tokio::test]
async fn only_one_message_can_be_written() {
    let coded = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (request, surplus) in
        [(GET, GET), (coded, "0\r\n\r\n"), ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "y")]
    {
        let bench = Bench::new().await;
        let (mut lent, mut app) = bench.connect().await;
        lent.write_all(request.as_bytes()).await.unwrap();
        assert!(lent.write_all(surplus.as_bytes()).await.is_err(), "{request:?}");
        app.write_all(OK.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut lent).await, OK.as_bytes(), "the answer is heard all the same");
        drop(lent);
        assert!(bench.kept().is_none());
        let mut seen = Vec::new();
        app.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, request.as_bytes());
    }
}

#[tokio::test]
async fn what_was_not_read_to_its_end_is_not_kept() {
    let bench = Bench::new().await;
    for (answer, read) in [(OK, 0), (OK, OK.len() - 1), (OK, OK.len())] {
        let (mut lent, mut app) = bench.connect().await;
        lent.write_all(GET.as_bytes()).await.unwrap();
        app.write_all(answer.as_bytes()).await.unwrap();
        lent.read_exact(&mut vec![0; read]).await.unwrap();
        // Also where all has been read: Pingora does not want to keep it.
        drop(lent);
        assert!(bench.kept().is_none());
    }
}

#[tokio::test]
async fn a_kept_connection_on_which_something_happens_is_not_used() {
    for what in ["nothing", "bytes", "end"] {
        let bench = Bench::new().await;
        let (mut lent, mut app) = bench.connect().await;
        exchange(&mut lent, &mut app).await;
        drop(lent);
        match what {
            "bytes" => app.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap(),
            "end" => app.shutdown().await.unwrap(),
            _ => {}
        }
        // No turn for the runtime in between: the system is asked.
        assert_eq!(bench.kept().is_some(), what == "nothing", "{what}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_when_they_are_over() {
    let (bench, name) = Bench::named().await;
    let serve = async |(mut lent, mut app): (PeerStream, TcpStream), head: &str| {
        lent.write_all(GET.as_bytes()).await.unwrap();
        app.write_all(format!("HTTP/1.1 204 No\r\n{head}\r\n").as_bytes()).await.unwrap();
        read_to_end(&mut lent).await;
        app
    };
    let (first, second, third) = (bench.connect().await, bench.connect().await, bench.connect().await);
    let mut living = serve(first, "Keep-Alive: timeout=60\r\n").await;
    let closed = serve(second, "").await;
    // The app may close it while a request is on its way.
    drop(serve(third, "Keep-Alive: timeout=1\r\n").await);
    assert_eq!((bench.pool.len(), name.doubts()), (2, 1), "the third is none to keep");
    drop(closed);
    bench.pool.sweep();
    // The runtime has not had the time to tell.
    assert_eq!((bench.pool.len(), name.doubts()), (1, 2), "without the one that was closed");
    let kept = bench.kept().expect("the one that lives");
    assert!(bench.kept().is_none());
    drop(kept);
    assert_eq!(living.read_to_end(&mut Vec::new()).await.unwrap(), GET.len());
}

#[tokio::test]
async fn the_end_of_an_idle_connection_is_told_to_its_name_at_once() {
    for what in ["bytes", "end", "reset"] {
        let (bench, name) = Bench::named().await;
        let (mut lent, mut app) = bench.connect().await;
        exchange(&mut lent, &mut app).await;
        drop(lent);
        assert_eq!((bench.pool.len(), name.doubts()), (1, 0));
        match what {
            "bytes" => app.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap(),
            "end" => app.shutdown().await.unwrap(),
            _ => {
                rustix::net::sockopt::set_socket_linger(&app, Some(Duration::ZERO)).unwrap();
                drop(app);
            }
        }
        // Nobody looks at it.
        while name.doubts() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.pool.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn an_answer_is_no_end_but_giving_a_connection_up_is_one() {
    let (bench, name) = Bench::named().await;
    let (mut lent, mut app) = bench.connect().await;
    exchange(&mut lent, &mut app).await;
    for _ in 0..3 {
        drop(lent);
        lent = bench.borrow(true).await;
        lent.write_all(GET.as_bytes()).await.unwrap();
        app.write_all(OK.as_bytes()).await.unwrap();
        // It is there before anybody reads.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(read_to_end(&mut lent).await, OK.as_bytes());
    }
    assert_eq!(name.doubts(), 0);
    lent.write_all(GET.as_bytes()).await.unwrap_err();
    drop(lent);
    assert_eq!((bench.pool.len(), name.doubts()), (0, 1));
}

#[tokio::test]
async fn a_task_that_has_had_its_turn_may_give_a_connection_back() {
    let (bench, name) = Bench::named().await;
    let (mut lent, mut app) = bench.connect().await;
    exchange(&mut lent, &mut app).await;
    let mut lent = Some(lent);
    std::future::poll_fn(|context| {
        // Whatever it asks the runtime for from now on is to come later.
        while std::pin::pin!(tokio::task::consume_budget()).poll(context).is_ready() {}
        drop(lent.take());
        Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
    assert_eq!((bench.pool.len(), name.doubts()), (1, 0));
    app.shutdown().await.unwrap();
    while name.doubts() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn connections_go_with_their_address() {
    let (bench, name) = Bench::named().await;
    let (mut idle, mut app_of_idle) = bench.connect().await;
    let (mut lent, mut app_of_lent) = bench.connect().await;
    exchange(&mut idle, &mut app_of_idle).await;
    drop(idle);
    let Bench { pool, connector, .. } = bench;
    // A request under way may still know who lends.
    drop(pool);
    let mut seen = Vec::new();
    app_of_idle.read_to_end(&mut seen).await.unwrap();
    assert_eq!(name.doubts(), 0, "that we close it says nothing about the app");
    exchange(&mut lent, &mut app_of_lent).await;
    drop(lent);
    app_of_lent.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, GET.repeat(2).as_bytes());
    assert!(connector.pool.upgrade().is_none());
}

#[tokio::test]
async fn an_app_that_takes_no_more_is_heard() {
    let bench = Bench::new().await;
    let (mut lent, mut app) = bench.connect().await;
    lent.write_all(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n").await.unwrap();
    let body = vec![0; 100_000_000];
    let (written, ()) = tokio::join!(lent.write_all(&body), async {
        // Once there is no more room in between.
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.write_all(OK.as_bytes()).await.unwrap();
    });
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(read_to_end(&mut lent).await, OK.as_bytes());
    drop(lent);
    assert!(bench.kept().is_none());
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_is_written() {
    // Beyond what the sockets hold: each side must be read while it is written.
    const SIZE: usize = 200_000;
    let bench = Bench::new().await;
    let (mut lent, app) = bench.connect().await;
    let (mut app_reads, mut app_writes) = app.into_split();
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n{}", "a".repeat(SIZE));
    let expected = answer.clone();
    let echoing = tokio::spawn(async move {
        app_writes.write_all(answer.as_bytes().split_at(answer.len() - 1).0).await.unwrap();
        let mut body = vec![0; head.len() + SIZE];
        app_reads.read_exact(&mut body).await.unwrap();
        app_writes.write_all(b"a").await.unwrap();
        (app_reads, app_writes)
    });
    lent.write_all(format!("POST / HTTP/1.1\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
    lent.write_all(&vec![b'b'; SIZE]).await.unwrap();
    assert_eq!(read_to_end(&mut lent).await, expected.as_bytes());
    drop(lent);
    assert!(bench.kept().is_some());
    echoing.await.unwrap();
}
