//! The rule, over requests of all kinds at once: an app sees exactly the messages that were sent, each whole or visibly cut,
//! and no client ever gets an answer that is not its own, however clients and apps behave and whoever shares the connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rustls::version::TLS13;
use tokio::runtime::Runtime;

use crate::support::certificates::{Authority, connect, terminator_for};
use crate::support::http2::{Call, Http2App, read};
use crate::support::strict::{POISON, StrictApp, digest, parameter};
use crate::support::wire::{Head, Wire};
use crate::support::{World, patiently};

/// How the app answers, and what a client that has sent its request may expect of that.
const PLAYS: [(&str, Expected); 24] = [
    ("echo", Expected::Own),
    ("echo", Expected::Own),
    ("slow", Expected::Own),
    ("chunked", Expected::Own),
    ("interim", Expected::Own),
    ("meanwhile", Expected::Own),
    ("close", Expected::Own),
    ("close-listed", Expected::Own),
    ("http-1.0", Expected::Own),
    ("short-lived", Expected::Own),
    ("until-close", Expected::Own),
    ("surplus", Expected::Own),
    ("surplus-chunked", Expected::Own),
    ("tiny-chunks", Expected::Tiny),
    ("no-content", Expected::Nothing),
    ("not-modified", Expected::Nothing),
    ("no-content-body", Expected::Nothing),
    ("not-modified-body", Expected::Nothing),
    ("head-body", Expected::Own),
    ("early", Expected::Early),
    ("early-stay", Expected::Early),
    ("early-close", Expected::Early),
    ("cut", Expected::Failure),
    ("never", Expected::Failure),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// What it has sent, by its digest.
    Own,
    Tiny,
    Nothing,
    /// A refusal, from the head alone.
    Early,
    /// No answer, or none that is whole.
    Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As the framing says, together with the last bytes.
    WithTheLastBytes,
    /// On its own.
    Apart,
    Trailers,
    /// The client leaves in the middle.
    Abort,
}

/// One request.
#[derive(Debug, Clone)]
struct Play {
    over_http2: bool,
    to_http2: bool,
    method: &'static str,
    kind: &'static str,
    expected: Expected,
    has_length: bool,
    pieces: Vec<usize>,
    pauses: bool,
    end: End,
    expects: bool,
}

impl Play {
    fn has_body(&self) -> bool {
        self.method == "POST"
    }

    fn body(&self) -> Vec<Vec<u8>> {
        let piece = |(index, size): (usize, &usize)| {
            (0..*size).map(|at| b"0123456789abcdef\r\n"[(at + index) % 18]).collect()
        };
        if self.has_body() { self.pieces.iter().enumerate().map(piece).collect() } else { Vec::new() }
    }

    fn target(&self, id: &str) -> String {
        format!("/open/play?id={id}&play={}", self.kind)
    }

    fn host(&self) -> &'static str {
        if self.to_http2 { "forums.localhost" } else { "store.localhost" }
    }

    /// The client leaves in the middle.
    fn is_aborted(&self) -> bool {
        self.end == End::Abort && self.has_body()
    }

    /// So that what the app gets is not all of it.
    fn is_cut(&self) -> bool {
        self.is_aborted() && (!self.has_length || self.pieces.last().is_some_and(|last| *last > 0))
    }

    /// The body is held back until the answer is there: such an app takes it for a request.
    fn waits_for_answer(&self) -> bool {
        self.kind == "early-stay"
    }
}

prop_compose! {
    fn plays()(
        over_http2 in any::<bool>(),
        to_http2 in prop::bool::weighted(0.3),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "POST", "POST", "POST"]),
        (kind, expected) in prop::sample::select(PLAYS.to_vec()),
        has_length in any::<bool>(),
        pieces in prop::collection::vec(prop::sample::select(vec![0, 1, 5, 100, 3000, 70_000]), 0..6),
        pauses in any::<bool>(),
        end in prop::sample::select(vec![End::WithTheLastBytes, End::WithTheLastBytes, End::Apart, End::Apart, End::Trailers, End::Abort]),
        expects in prop::bool::weighted(0.3),
    ) -> Play {
        Play { over_http2, to_http2, method, kind, expected, has_length, pieces, pauses, end, expects }
    }
}

/// What became of a request at its client.
#[derive(Debug, Default)]
struct Outcome {
    status: u16,
    id: Option<String>,
    body: Vec<u8>,
    is_whole: bool,
}

struct Stage {
    authority: Authority,
    world: World,
    store: StrictApp,
    forums: Http2App,
    forums_saw: Seen,
}

/// What the app of HTTP/2 got: ids and bodies, `None` where they were cut.
type Seen = Arc<std::sync::Mutex<Vec<(String, Option<Vec<u8>>)>>>;

impl Stage {
    async fn set(over_tls: bool) -> Self {
        let authority = Authority::new();
        authority.certify("gateway", &["store.localhost", "forums.localhost"]);
        authority.certify("app", &["app.internal"]);
        let store = StrictApp::start().await;
        let forums_saw = Seen::default();
        let seen = forums_saw.clone();
        let forums = Http2App::start(move |call| answer_over_http2(call, seen.clone())).await;
        let server = authority.server(&["gateway"]);
        let upstream = if over_tls {
            let address = terminator_for(&authority, "app", &[b"http/1.1"], store.address()).await;
            let ca = authority.ca();
            format!(
                "upstreams = ['https://{address}']\nupstream_tls = {{ ca = '{ca}', server_name = 'app.internal' }}"
            )
        } else {
            format!("upstreams = ['{}']", store.url())
        };
        let toml =
            format!("{server}[apps.store]\n{upstream}\n[apps.forums]\nupstreams = ['{}']\n", forums.url());
        let world = World::with(&toml).await;
        Self { authority, world, store, forums, forums_saw }
    }

    async fn send(&self, play: &Play, id: &str) -> Outcome {
        let sending = async {
            if play.over_http2 {
                self.send_over_http2(play, id).await
            } else {
                self.send_over_http1(play, id).await
            }
        };
        if play.kind == "never" {
            // The client does not wait for it.
            let outcome = tokio::time::timeout(Duration::from_millis(20), sending).await;
            return outcome.ok().flatten().unwrap_or_default();
        }
        patiently("an outcome", sending).await.unwrap_or_default()
    }

    async fn send_over_http1(&self, play: &Play, id: &str) -> Option<Outcome> {
        let mut wire = self.world.browser().open().await;
        let body = play.body();
        let framing = match (play.has_body(), play.has_length) {
            (false, _) => String::new(),
            (true, true) => format!("Content-Length: {}\r\n", body.concat().len()),
            (true, false) => "Transfer-Encoding: chunked\r\n".into(),
        };
        let expect = if play.expects && play.has_body() { "Expect: 100-continue\r\n" } else { "" };
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n{framing}{expect}\r\n",
            play.method,
            play.target(id),
            play.host()
        );
        wire.send(head).await.ok()?;
        let mut outcome = None;
        if play.waits_for_answer() || play.expects && play.has_body() {
            // A final answer instead of 100 is one for the whole request.
            loop {
                let head = wire.head().await.ok().flatten()?;
                if head.status() >= 200 {
                    outcome = Some(rest(&mut wire, head, play.method).await);
                    break;
                }
                if head.status() == 100 && !play.waits_for_answer() {
                    break;
                }
            }
        }
        for (index, piece) in body.iter().enumerate() {
            let coded = match (play.has_length, piece.is_empty()) {
                (true, _) => piece.clone(),
                (false, true) => Vec::new(),
                (false, false) => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
            };
            let is_last = index + 1 == body.len();
            if is_last && play.end == End::Abort {
                let _ = wire.send(&coded[..coded.len() / 2]).await;
                break;
            }
            let end = if is_last && play.end == End::WithTheLastBytes { end_of(play) } else { "" };
            // The gateway may have answered and closed by now.
            if wire.send([coded.as_slice(), end.as_bytes()].concat()).await.is_err() {
                break;
            }
            if play.pauses {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if play.is_aborted() {
            return None;
        }
        if play.has_body() && (play.end != End::WithTheLastBytes || body.is_empty()) {
            let _ = wire.send(end_of(play)).await;
        }
        if let Some(outcome) = outcome {
            return Some(outcome);
        }
        loop {
            let head = wire.head().await.ok().flatten()?;
            if head.status() >= 200 {
                let outcome = rest(&mut wire, head, play.method).await;
                if outcome.is_whole && play.expected != Expected::Early {
                    assert_alone(&mut wire).await;
                }
                return Some(outcome);
            }
        }
    }

    async fn send_over_http2(&self, play: &Play, id: &str) -> Option<Outcome> {
        let config = self.authority.client(&[&TLS13], &[b"h2"]);
        let stream = connect(config, self.world.gateway.tls.unwrap(), "store.localhost").await.ok()?;
        let (mut requests, connection) = h2::client::handshake(stream).await.ok()?;
        let connection = tokio::spawn(connection);
        let body = play.body();
        let mut request = http::Request::builder()
            .method(play.method)
            .version(http::Version::HTTP_2)
            .uri(format!("https://{}{}", play.host(), play.target(id)));
        if play.has_body() && play.has_length {
            request = request.header("content-length", body.concat().len());
        }
        let request = request.body(()).unwrap();
        let (response, mut sending) = requests.send_request(request, !play.has_body()).ok()?;
        let mut response = std::pin::pin!(response);
        let mut early = None;
        if play.waits_for_answer() && play.has_body() {
            early = Some(response.as_mut().await);
        }
        for (index, piece) in body.iter().enumerate() {
            let is_last = index + 1 == body.len();
            if is_last && play.end == End::Abort {
                sending.send_reset(h2::Reason::CANCEL);
                break;
            }
            let ends = is_last && play.end == End::WithTheLastBytes;
            if send_piece(&mut sending, Bytes::copy_from_slice(piece), ends).await.is_err() {
                break;
            }
            if play.pauses {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if play.has_body() && (play.end != End::WithTheLastBytes || body.is_empty()) {
            let _ = match play.end {
                End::Trailers => sending.send_trailers(HeaderMap::new()),
                End::Abort => {
                    sending.send_reset(h2::Reason::CANCEL);
                    Ok(())
                }
                _ => sending.send_data(Bytes::new(), true),
            };
        }
        let answered = match early {
            Some(answered) => answered,
            None => response.await,
        };
        let outcome = async {
            let (head, mut body) = answered.ok()?.into_parts();
            let mut outcome = Outcome { status: head.status.as_u16(), ..Outcome::default() };
            outcome.id = head.headers.get("x-id").map(|id| id.to_str().unwrap().to_owned());
            if let Ok(bytes) = read(&mut body).await {
                (outcome.body, outcome.is_whole) = (bytes, true);
            }
            Some(outcome)
        }
        .await;
        connection.abort();
        outcome.filter(|_| !play.is_aborted())
    }
}

/// Sends as the other side takes it; an empty piece is a frame as well.
async fn send_piece(
    sending: &mut h2::SendStream<Bytes>,
    mut piece: Bytes,
    ends: bool,
) -> Result<(), h2::Error> {
    while piece.len() > 1 {
        sending.reserve_capacity(piece.len());
        let capacity = std::future::poll_fn(|context| sending.poll_capacity(context)).await;
        let Some(capacity) = capacity.transpose()? else { return Err(h2::Reason::CANCEL.into()) };
        let size = capacity.min(piece.len());
        let is_last = size == piece.len();
        sending.send_data(piece.split_to(size), is_last && ends)?;
        if is_last {
            return Ok(());
        }
    }
    sending.send_data(piece, ends)
}

fn end_of(play: &Play) -> &'static str {
    match (play.has_length, play.end) {
        (true, _) => "",
        (false, End::Trailers) => "0\r\nX-Auth-User: root\r\n\r\n",
        (false, _) => "0\r\n\r\n",
    }
}

async fn rest(wire: &mut Wire, head: Head, method: &str) -> Outcome {
    let framing = head.response_framing(method);
    let body = wire.body(framing, 1 << 20).await;
    Outcome {
        status: head.status(),
        id: head.get("x-id").map(str::to_owned),
        is_whole: body.is_ok(),
        body: body.unwrap_or_default().bytes,
    }
}

/// Nothing else is in the answer's connection: it is not for this client.
async fn assert_alone(wire: &mut Wire) {
    let more = tokio::time::timeout(Duration::from_millis(1), wire.fill()).await;
    assert!(!matches!(more, Ok(Ok(true))) && wire.buffer.is_empty(), "{}", wire.buffer.escape_ascii());
}

/// The plays, as far as HTTP/2 has them.
async fn answer_over_http2(mut call: Call, seen: Seen) {
    let target = call.head.uri.path_and_query().unwrap().as_str().to_owned();
    let (id, play) = (parameter(&target, "id"), parameter(&target, "play"));
    let head = |status: u16| Response::builder().status(status).header("x-id", &id).body(()).unwrap();
    if play.starts_with("early") {
        let early = format!("id={id} early");
        let Ok(mut sending) = call.respond.send_response(head(403), false) else { return };
        let _ = sending.send_data(early.into(), true);
        if play == "early" {
            let _ = read(&mut call.body).await;
        }
        return;
    }
    let begun = (play == "meanwhile").then(|| call.respond.send_response(head(200), false));
    let body = read(&mut call.body).await;
    seen.lock().unwrap().push((id.clone(), body.as_ref().ok().cloned()));
    let Ok(body) = body else { return };
    let is_head = call.head.method == http::Method::HEAD;
    let text = format!("id={id} {}", digest(&body));
    match play.as_str() {
        "meanwhile" => {
            let Some(Ok(mut sending)) = begun else { return };
            let _ = sending.send_data(text.into(), false);
            let _ = sending.send_data(Bytes::new(), true);
        }
        "no-content" | "no-content-body" => drop(call.respond.send_response(head(204), true)),
        "not-modified" | "not-modified-body" => drop(call.respond.send_response(head(304), true)),
        "never" => std::future::pending().await,
        "cut" => {
            let Ok(mut sending) = call.respond.send_response(head(200), false) else { return };
            let _ = sending.send_data("half".into(), false);
            tokio::time::sleep(Duration::from_millis(5)).await;
            sending.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        _ => {
            let Ok(mut sending) = call.respond.send_response(head(200), is_head) else { return };
            let text = if play == "tiny-chunks" { "x".repeat(crate::support::strict::TINY) } else { text };
            if !is_head {
                let _ = crate::support::http2::write(&mut sending, text.into()).await;
                let _ = sending.send_data(Bytes::new(), true);
            }
        }
    }
}

fn judge(play: &Play, id: &str, outcome: &Outcome) -> Result<(), TestCaseError> {
    let what = format!("{id}: {play:?} {} {:?}", outcome.status, String::from_utf8_lossy(&outcome.body));
    let text = String::from_utf8_lossy(&outcome.body);
    prop_assert!(!text.contains(POISON), "{}", what);
    prop_assert!(outcome.id.as_ref().is_none_or(|own| own == id), "somebody else's answer: {}", what);
    if text.contains("id=") {
        prop_assert!(text.starts_with(&format!("id={id} ")), "somebody else's answer: {}", what);
    }
    if play.is_aborted() {
        return Ok(());
    }
    let has_text = play.method != "HEAD";
    match play.expected {
        Expected::Own | Expected::Tiny => {
            prop_assert!(outcome.status == 200 && outcome.is_whole, "{}", what);
            let own = format!("id={id} {}", digest(&play.body().concat()));
            let expected = match play.expected {
                Expected::Tiny => "x".repeat(crate::support::strict::TINY),
                _ => own,
            };
            prop_assert_eq!(text.as_ref(), if has_text { expected.as_str() } else { "" }, "{}", what);
        }
        Expected::Nothing => {
            prop_assert!(matches!(outcome.status, 204 | 304) && outcome.body.is_empty(), "{}", what);
        }
        Expected::Early => {
            let early = format!("id={id} early");
            // To a HEAD request this app answers with a body; nobody but the one who asked may be hit by that.
            let is_heard = outcome.status == 403 && (text.as_ref() == early || !has_text);
            prop_assert!(is_heard || play.kind == "early-close" && outcome.status != 200, "{}", what);
        }
        Expected::Failure => {
            prop_assert!(outcome.status != 200 || !outcome.is_whole || !has_text, "{}", what);
        }
    }
    Ok(())
}

/// Lets clients play at the same time, and holds the app's notes against what was sent.
async fn perform(stage: &Stage, number: usize, scenes: &[Vec<Play>]) -> Result<(), TestCaseError> {
    let id = |client: usize, index: usize| format!("{number}-{client}-{index}");
    let clients = scenes.iter().enumerate().map(|(client, plays)| async move {
        let mut outcomes = Vec::new();
        for (index, play) in plays.iter().enumerate() {
            outcomes.push(stage.send(play, &format!("{number}-{client}-{index}")).await);
        }
        outcomes
    });
    let outcomes = futures_util::future::join_all(clients).await;
    for (client, (plays, outcomes)) in scenes.iter().zip(&outcomes).enumerate() {
        for (index, (play, outcome)) in plays.iter().zip(outcomes).enumerate() {
            judge(play, &id(client, index), outcome)?;
        }
    }
    prop_assert_eq!(stage.store.faults(), Vec::<String>::new());
    let (received, seen) = (stage.store.received(), stage.forums_saw.lock().unwrap().clone());
    for (client, plays) in scenes.iter().enumerate() {
        for (index, play) in plays.iter().enumerate() {
            let id = id(client, index);
            let sent = play.body().concat();
            let mine: Vec<_> = received.iter().filter(|received| received.id == id).collect();
            prop_assert!(mine.len() <= 1, "{}: seen {} times", id, mine.len());
            for got in mine {
                prop_assert!(sent.starts_with(&got.body), "{}: {:?}", id, play);
                prop_assert!(!got.is_whole || !play.is_cut() && got.body == sent, "{}: {:?}", id, play);
            }
            for (_, body) in seen.iter().filter(|(seen, _)| *seen == id) {
                prop_assert!(body.as_ref().is_none_or(|body| *body == sent), "{}: {:?}", id, play);
            }
        }
    }
    Ok(())
}

fn check(over_tls: bool, cases: u32) {
    let runtime = Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set(over_tls));
    let mut number = 0;
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let scenes = prop::collection::vec(prop::collection::vec(plays(), 1..5), 1..6);
    let number = std::cell::Cell::new(std::mem::take(&mut number));
    let outcome = TestRunner::new(config).run(&scenes, |scenes| {
        number.set(number.get() + 1);
        runtime.block_on(perform(&stage, number.get(), &scenes))
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let connections = stage.store.received().iter().map(|received| received.connection).max().unwrap_or(0);
    assert!(connections < stage.store.received().len(), "some connections serve several requests");
    assert!(!stage.forums.seen().is_empty());
}

#[test]
fn every_request_is_one_message_and_gets_its_own_answer() {
    check(false, 96);
}

#[test]
fn the_same_with_tls_to_the_app() {
    check(true, 32);
}
