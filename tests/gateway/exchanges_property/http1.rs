//! The client of HTTP/1.1.

use std::time::Duration;

use super::play::{End, Expected, Outcome, Play};
use super::stage::Stage;
use crate::support::wire::{Head, Wire};

/// Plays a request and returns its outcome, unless the connection ends before an answer or the client leaves.
pub(super) async fn send(stage: &Stage, play: &Play, id: &str) -> Option<Outcome> {
    let mut wire = stage.world.browser().open().await;
    wire.send(head(play, id)).await.ok()?;
    let mut early = None;
    if play.waits_for_answer() || play.expects && play.has_body() {
        early = match leave_to_go_on(&mut wire, play).await? {
            Leave::GoOn => None,
            Leave::Answered(outcome) => Some(outcome),
        };
    }
    send_body(&mut wire, play).await;
    if play.is_aborted() {
        return None;
    }
    if early.is_some() {
        return early;
    }
    let head = final_head(&mut wire).await?;
    let outcome = rest(&mut wire, head, play.method).await;
    if outcome.is_whole && play.expected != Expected::Early {
        assert_alone(&mut wire).await;
    }
    Some(outcome)
}

fn head(play: &Play, id: &str) -> String {
    let framing = match (play.has_body(), play.has_length) {
        (false, _) => String::new(),
        (true, true) => format!("Content-Length: {}\r\n", play.body().concat().len()),
        (true, false) => "Transfer-Encoding: chunked\r\n".into(),
    };
    let expect = if play.expects && play.has_body() { "Expect: 100-continue\r\n" } else { "" };
    let (method, target, host) = (play.method, play.target(id), play.host());
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{framing}{expect}\r\n")
}

/// The answer to a client that waits before it sends the body.
enum Leave {
    GoOn,
    /// A final answer instead of 100. It is one for the whole request.
    Answered(Outcome),
}

async fn leave_to_go_on(wire: &mut Wire, play: &Play) -> Option<Leave> {
    loop {
        let head = wire.head().await.ok().flatten()?;
        if head.status() >= 200 {
            return Some(Leave::Answered(rest(wire, head, play.method).await));
        }
        if head.status() == 100 && !play.waits_for_answer() {
            return Some(Leave::GoOn);
        }
    }
}

/// Sends the body in its pieces until its end, or until the client leaves.
async fn send_body(wire: &mut Wire, play: &Play) {
    let body = play.body();
    for (index, piece) in body.iter().enumerate() {
        let coded = match (play.has_length, piece.is_empty()) {
            (true, _) => piece.clone(),
            (false, true) => Vec::new(),
            (false, false) => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
        };
        let is_last = index + 1 == body.len();
        if is_last && play.end == End::Abort {
            let _ = wire.send(&coded[..coded.len() / 2]).await;
            return;
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
    let ends_apart = play.end != End::WithTheLastBytes || body.is_empty();
    if play.has_body() && ends_apart && !play.is_aborted() {
        let _ = wire.send(end_of(play)).await;
    }
}

fn end_of(play: &Play) -> &'static str {
    match (play.has_length, play.end) {
        (true, _) => "",
        (false, End::Trailers) => "0\r\nX-Auth-User: root\r\n\r\n",
        (false, _) => "0\r\n\r\n",
    }
}

/// Returns the head of the final answer, after any interim ones.
async fn final_head(wire: &mut Wire) -> Option<Head> {
    loop {
        let head = wire.head().await.ok().flatten()?;
        if head.status() >= 200 {
            return Some(head);
        }
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

/// Asserts that nothing follows the answer: it would not be for this client.
async fn assert_alone(wire: &mut Wire) {
    let more = tokio::time::timeout(Duration::from_millis(1), wire.fill()).await;
    assert!(!matches!(more, Ok(Ok(true))) && wire.buffer.is_empty(), "{}", wire.buffer.escape_ascii());
}
