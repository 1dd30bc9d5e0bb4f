//! Serves one HTTP/1.x connection, request by request. Each request is checked before Pingora sees it.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use tokio::time::Instant;

use super::client_connection::ClientConnection;
use super::close::close;
use super::exchange::Exchange;
use super::head_reader::{Received, read_head};
use super::pingora_stream::{PingoraStream, Returned, Slot};
use super::refused_head::refuse;
use super::request_head::{RequestHead, check};
use crate::connection::connection_settings::ConnectionSettings;
use crate::connection::exchange_control::ExchangeControl;
use crate::connection::head_refusal::HeadRefusal;

/// The time that a body which nobody wants may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one connection to its end. A stop reaches it through [`ExchangeControl::close_when_idle`].
pub(crate) async fn serve<A>(
    stream: Stream,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    control: Arc<ExchangeControl>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let slot = Arc::new(Slot::default());
    // Pingora looks at this channel for every request. One channel for all connections would be a lock that all workers
    // share.
    let (_, never) = tokio::sync::watch::channel(false);
    let mut connection = Box::new(ClientConnection::new(stream, control));
    let mut idle_timeout = settings.header_timeout;
    loop {
        let checked = match read_head(&mut connection, settings, idle_timeout).await {
            Received::Head(raw) => {
                check(&raw).map(|head| (head.rewrite(raw), head)).map_err(HeadRefusal::problem)
            }
            Received::Refused(problem) => Err(problem),
            Received::Closed => return,
        };
        let (raw, head) = match checked {
            Ok(accepted) => accepted,
            Err(problem) => return refuse(connection, &problem, settings).await,
        };
        match exchange(connection, raw, &head, app, settings, &slot, &never).await {
            Some(kept) => connection = kept,
            None => return,
        }
        idle_timeout = settings.keep_alive_timeout;
        connection.control.begin_waiting(Instant::now());
    }
}

/// Lets Pingora serve one request. Returns the connection if another request may follow.
async fn exchange<A>(
    connection: Box<ClientConnection>,
    raw_head: BytesMut,
    head: &RequestHead,
    app: &Arc<A>,
    settings: &ConnectionSettings,
    slot: &Arc<Slot>,
    shutdown: &ShutdownWatch,
) -> Option<Box<ClientConnection>>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let control = Arc::clone(&connection.control);
    control.begin_exchange();
    let exchange = Exchange::new(head, settings.body_min_rate);
    let mut session =
        ServerSession::new_http1(Box::new(PingoraStream::new(connection, exchange, Arc::clone(slot))));
    session.set_pipelined_prefix(raw_head);
    session.set_connection_user_context(Some(Box::new(Arc::clone(&control))));
    // Pingora's time-out restarts on every read, and would end a quiet WebSocket. The control has the deadlines.
    session.set_read_timeout(None);
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    session.set_close_on_response_before_downstream_finish(!head.is_drained());

    let is_reusable = control.unless_cut_off(app.process_new_http(session, shutdown)).await;
    let Returned { connection, exchange } = slot.take()?;
    let ended = control.finish_exchange();
    let is_reusable = is_reusable || control.continues_after_failure();
    if is_reusable && !head.closes && exchange.is_complete() && ended.is_none() {
        return Some(connection);
    }
    close(connection, &exchange, ended).await;
    None
}

#[cfg(test)]
mod tests;
