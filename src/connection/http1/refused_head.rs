//! Answers a request whose head is refused, and ends the connection. Pingora never sees such a request, so the answer
//! is written here.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, header};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::date;
use tokio::time::{Instant, timeout};

use super::client_connection::ClientConnection;
use super::close::{LINGER_TIMEOUT, linger, write_all};
use super::head_reader::{Filled, fill};
use crate::answer::problem::Problem;
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::head_refusal::HeadRefusal;
use crate::connection::other_protocols::{Spoken, spoken};
use crate::connection::tls::handshake_failure::Failure;
use crate::telemetry::{access_log, metrics, request_id};

/// Answers a head that is refused, and ends the connection.
pub(super) async fn refuse(
    mut connection: Box<ClientConnection>,
    problem: &Problem,
    settings: &ConnectionSettings,
) {
    let id = request_id::fresh();
    metrics::METRICS.refused_heads.with_label_values(&[problem.reason.as_str()]).inc();
    access_log::write_refused_head(settings.access_log, &id, problem, connection.control.peer().ip());
    let _gone_already = timeout(LINGER_TIMEOUT, answer(&mut connection, problem, &id)).await;
    let _time_is_over = timeout(LINGER_TIMEOUT, linger(&mut connection)).await;
}

/// Ends the connection of a client that does not speak TLS on a port for TLS. If it has sent a request, answers it.
pub(crate) async fn refuse_without_tls(
    stream: Stream,
    settings: &ConnectionSettings,
    until: Instant,
    control: Arc<ExchangeControl>,
) {
    let peer = control.peer();
    let mut connection = Box::new(ClientConnection::new(stream, control));
    while spoken(&connection.incoming) == Spoken::Undecided {
        if !matches!(fill(&mut connection, until, false).await, Filled::Bytes) {
            break;
        }
    }
    match spoken(&connection.incoming) {
        Spoken::Http => refuse(connection, &HeadRefusal::HttpAtTlsPort.problem(), settings).await,
        Spoken::ProxyProtocol => {
            let detail = "it begins with the PROXY protocol, which is not spoken here";
            Failure::NotTls.tell(peer, None, Some(detail));
        }
        Spoken::Tls | Spoken::Undecided | Spoken::Unknown => Failure::NotTls.tell(peer, None, None),
    }
}

/// Writes a problem answer without Pingora, which has never seen this request.
async fn answer(connection: &mut ClientConnection, problem: &Problem, id: &HeaderValue) -> io::Result<()> {
    let body = problem.body(Some(id));
    let (status, reason) = (problem.status.as_str(), problem.status.canonical_reason().unwrap_or_default());
    let mut bytes = BytesMut::from(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    let fields = problem.headers(Some(id), &body).list();
    let ends =
        [(header::DATE, date::get_cached_date()), (header::CONNECTION, HeaderValue::from_static("close"))];
    for (name, value) in fields.into_iter().chain(ends) {
        bytes.extend(spelled(&name));
        for part in [b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    write_all(connection, bytes).await?;
    poll_fn(|context| connection.poll_flush(context)).await
}

/// Spells a name as HTTP/1.1 usually has it: `Content-Type`.
fn spelled(name: &HeaderName) -> impl Iterator<Item = u8> {
    let bytes = name.as_str().bytes();
    let before = std::iter::once(b'-').chain(bytes.clone());
    bytes.zip(before).map(|(byte, before)| if before == b'-' { byte.to_ascii_uppercase() } else { byte })
}
