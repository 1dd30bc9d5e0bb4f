//! The client of HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use rustls::version::TLS13;

use super::play::{End, Outcome, Play};
use super::stage::Stage;
use crate::support::certificates::connect;
use crate::support::http2::read;

/// Plays a request and returns its outcome, unless the stream ends before an answer or the client leaves.
pub(super) async fn send(stage: &Stage, play: &Play, id: &str) -> Option<Outcome> {
    let config = stage.authority.client(&[&TLS13], &[b"h2"]);
    let stream = connect(config, stage.world.gateway.tls.unwrap(), "store.localhost").await.ok()?;
    let (mut requests, connection) = h2::client::handshake(stream).await.ok()?;
    let connection = tokio::spawn(connection);
    let (response, mut sending) = requests.send_request(request(play, id), !play.has_body()).ok()?;
    let mut response = std::pin::pin!(response);
    let mut early = None;
    if play.waits_for_answer() && play.has_body() {
        early = Some(response.as_mut().await);
    }
    send_body(&mut sending, play).await;
    let answered = match early {
        Some(answered) => answered,
        None => response.await,
    };
    let outcome = match answered {
        Ok(answer) => Some(outcome(answer).await),
        Err(_) => None,
    };
    connection.abort();
    outcome.filter(|_| !play.is_aborted())
}

fn request(play: &Play, id: &str) -> http::Request<()> {
    let mut request = http::Request::builder()
        .method(play.method)
        .version(http::Version::HTTP_2)
        .uri(format!("https://{}{}", play.host(), play.target(id)));
    if play.has_body() && play.has_length {
        request = request.header("content-length", play.body().concat().len());
    }
    request.body(()).unwrap()
}

/// Sends the body in its pieces until its end, or until the client leaves.
async fn send_body(sending: &mut h2::SendStream<Bytes>, play: &Play) {
    let body = play.body();
    for (index, piece) in body.iter().enumerate() {
        let is_last = index + 1 == body.len();
        if is_last && play.end == End::Abort {
            sending.send_reset(h2::Reason::CANCEL);
            break;
        }
        let ends = is_last && play.end == End::WithTheLastBytes;
        if send_piece(sending, Bytes::copy_from_slice(piece), ends).await.is_err() {
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
}

/// Sends a piece as the other side takes it. An empty piece is a frame as well.
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

async fn outcome(answer: Response<h2::RecvStream>) -> Outcome {
    let (head, mut body) = answer.into_parts();
    let mut outcome = Outcome { status: head.status.as_u16(), ..Outcome::default() };
    outcome.id = head.headers.get("x-id").map(|id| id.to_str().unwrap().to_owned());
    if let Ok(bytes) = read(&mut body).await {
        (outcome.body, outcome.is_whole) = (bytes, true);
    }
    outcome
}
