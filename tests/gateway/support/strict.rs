//! An app that takes every connection at its word. It writes down whatever is no request, byte by byte, and hangs up.
//! The target of a request says how the app answers: `/open/play?id=17&play=echo`.

mod answers;
mod notes;

use std::collections::BTreeMap;
use std::time::Duration;

use self::answers::{After, CHUNKED, answer, chunk};
use self::notes::{Note, Notes, Received};
use super::listening::Listening;
use super::wire::{Framing, Head, Wire};

/// In what no client must ever see.
pub(crate) const POISON: &str = "POISON";

/// Bytes of an answer in chunks of one byte.
pub(crate) const TINY: usize = 50_000;

/// The app.
pub(crate) struct StrictApp {
    listening: Listening,
    notes: Notes,
}

impl StrictApp {
    pub(crate) async fn start() -> Self {
        let notes = Notes::default();
        let shared = notes.clone();
        let listening = Listening::start(move |wire, number| serve(wire, number, shared.clone())).await;
        Self { listening, notes }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.listening.address()
    }

    /// Every message whose head came.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.notes.lock().unwrap().received.clone()
    }

    /// The message with this id, once it is there.
    pub(crate) fn find(&self, id: &str) -> Option<Received> {
        self.received().into_iter().find(|received| received.id == id)
    }

    /// Returns everything that came and was no request, or came where none may come.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.notes.lock().unwrap().faults.clone()
    }
}

/// Returns the digest of a body, by which an app tells the client what it got.
pub(crate) fn digest(body: &[u8]) -> String {
    let sum = body.iter().fold(17_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{}:{sum:x}", body.len())
}

/// Returns the value of `name=` in a target's query.
pub(crate) fn parameter(target: &str, name: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    pairs.get(name).copied().unwrap_or_default().to_owned()
}

/// Returns the reason why this is no request head, if there is one.
fn objection(head: &Head) -> Option<String> {
    let words: Vec<_> = head.first_line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words.as_slice() else {
        return Some(format!("no request line: {:?}", head.first_line));
    };
    let is_token =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) || method.is_empty() || !target.starts_with('/')
    {
        return Some(format!("no request line: {:?}", head.first_line));
    }
    if head.headers.iter().any(|(name, _)| !is_token(name)) {
        return Some(format!("no header: {:?}", head.headers));
    }
    let framings = head.all("content-length").len() + head.all("transfer-encoding").len();
    if framings > 1 {
        return Some("two framings".into());
    }
    (head.get("expect").is_some()).then(|| "Expect is the gateway's to answer".into())
}

async fn serve(mut wire: Wire, connection: usize, notes: Notes) {
    let mut is_over = false;
    loop {
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            // Cut within a head, which is no request: nobody writes half a head.
            Err(_) => {
                let rest = wire.buffer.escape_ascii().to_string();
                if !rest.is_empty() {
                    notes.lock().unwrap().fault(connection, format!("stray bytes: {rest:?}"));
                }
                return;
            }
        };
        let objection = objection(&head).or_else(|| is_over.then(|| "used again though it was over".into()));
        if let Some(objection) = objection {
            notes.lock().unwrap().fault(connection, objection);
            let refusal = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\n{POISON}");
            let _ = wire.send(refusal).await;
            return;
        }
        match exchange(&mut wire, head, connection, &notes).await {
            Some(After::Open) => {}
            Some(After::Over) => is_over = true,
            None => return,
        }
    }
}

/// Reads a body as far as it comes, and notes it.
async fn read_body(wire: &mut Wire, head: &Head, note: &Note) -> Option<Vec<u8>> {
    match head.request_framing() {
        Framing::Chunked => return read_chunks(wire, note).await,
        Framing::Length(length) => read_length(wire, usize::try_from(length).unwrap(), note).await?,
        Framing::UntilClose => unreachable!("not a request's"),
    }
    Some(note.finish())
}

/// Reads so many bytes, and notes them as they come.
async fn read_length(wire: &mut Wire, mut left: usize, note: &Note) -> Option<()> {
    while left > 0 {
        if wire.buffer.is_empty() && !wire.fill().await.unwrap_or(false) {
            return None;
        }
        let count = wire.buffer.len().min(left);
        note.add(&wire.buffer.drain(..count).collect::<Vec<_>>());
        left -= count;
    }
    Some(())
}

async fn line(wire: &mut Wire) -> Option<String> {
    loop {
        if let Some(end) = wire.buffer.windows(2).position(|window| window == b"\r\n") {
            let line: Vec<u8> = wire.buffer.drain(..end + 2).collect();
            return String::from_utf8(line[..end].to_vec()).ok();
        }
        if !wire.fill().await.unwrap_or(false) {
            return None;
        }
    }
}

/// As the gateway writes it: sizes and data, no extensions, no trailers.
async fn read_chunks(wire: &mut Wire, note: &Note) -> Option<Vec<u8>> {
    loop {
        let size = line(wire).await?;
        let Ok(size) = usize::from_str_radix(&size, 16) else {
            note.fault(format!("no chunk size: {size:?}"));
            return None;
        };
        let is_last = size == 0;
        note.change(|received| received.chunks += usize::from(!is_last));
        read_length(wire, size, note).await?;
        let end = line(wire).await?;
        if !end.is_empty() {
            note.fault(format!("no end of a chunk: {end:?}"));
            return None;
        }
        if is_last {
            return Some(note.finish());
        }
    }
}

/// One request and its answer. `None`: the connection is closed now.
async fn exchange(wire: &mut Wire, head: Head, connection: usize, notes: &Notes) -> Option<After> {
    let note = Note::begin(&head, connection, notes);
    let target = head.word(1).to_owned();
    let (id, play) = (parameter(&target, "id"), parameter(&target, "play"));
    if play.starts_with("early") {
        return answer_early(wire, &head, &note, &id, &play).await;
    }
    if play == "meanwhile" {
        // The answer begins before the body has come and ends after it.
        wire.send(format!("{CHUNKED}\r\n{}", chunk(&format!("id={id} ")))).await.ok()?;
        let rest = digest(&read_body(wire, &head, &note).await?);
        wire.send(chunk(&rest) + "0\r\n\r\n").await.ok()?;
        return Some(After::Open);
    }
    if play == "interim" {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        wire.send(format!("{hints}HTTP/1.1 100 Continue\r\n\r\n{hints}")).await.ok()?;
    }
    let body = read_body(wire, &head, &note).await?;
    match play.as_str() {
        "never" => {
            while wire.fill().await.unwrap_or(false) {}
            note.change(|received| received.was_given_up = true);
            return None;
        }
        "events" => {
            wire.send(format!("{CHUNKED}Content-Type: text/event-stream\r\n\r\n")).await.ok()?;
            for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                tokio::time::sleep(Duration::from_millis(50)).await;
                wire.send(chunk(event)).await.ok()?;
            }
            wire.send("0\r\n\r\n").await.ok()?;
            return Some(After::Open);
        }
        "slow" => tokio::time::sleep(Duration::from_millis(10)).await,
        _ => {}
    }
    let text = format!("id={id} {}", digest(&body));
    let (bytes, after) = answer(&id, &play, head.word(0) == "HEAD", &text);
    wire.send(bytes).await.ok()?;
    if play == "unasked" {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let timed_out = format!("HTTP/1.1 408 Request Timeout\r\nContent-Length: 6\r\n\r\n{POISON}");
        wire.send(timed_out).await.ok()?;
        note.change(|received| received.had_surplus = true);
        return Some(After::Over);
    }
    after
}

/// Answers from the head alone.
async fn answer_early(wire: &mut Wire, head: &Head, note: &Note, id: &str, play: &str) -> Option<After> {
    let text = format!("id={id} early");
    let close = if play == "early-close" { "Connection: close\r\n" } else { "" };
    let length = text.len();
    wire.send(format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\n{close}\r\n{text}"))
        .await
        .ok()?;
    match play {
        // What comes next is taken for a request.
        "early-stay" => Some(After::Open),
        // Nothing is read any more, and the connection stays.
        "early-deaf" => std::future::pending().await,
        "early-close" => {
            // As servers do: what still comes is thrown away for a while, or the answer would be lost.
            let _ = tokio::time::timeout(Duration::from_millis(300), async {
                while wire.fill().await.unwrap_or(false) {
                    wire.buffer.clear();
                }
            })
            .await;
            None
        }
        // The body is read, as it must be.
        _ => {
            read_body(wire, head, note).await?;
            Some(After::Open)
        }
    }
}
