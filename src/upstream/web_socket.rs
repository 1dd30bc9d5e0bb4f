//! The connection to an app for a WebSocket: one of HTTP/1.1, whatever the app speaks otherwise, and one of its own.
//!
//! Pingora 0.9.1 reads the app's answer and the end of the request's (empty) body in either order. If a fast app's 101
//! comes first, the end of the body is then taken for the end of the WebSocket, and it closes at once
//! (`proxy_handle_upstream` in pingora-proxy's `proxy_h1.rs`). A connection whose first read after a write comes one turn
//! later lets the end of the body, which is there already, always go first.

use std::sync::Arc;
use std::task::Context;

use pingora_core::upstreams::peer::HttpPeer;

use super::http1::{Lender, Loan};
use crate::connection::exchange_control::ExchangeControl;

/// Makes a peer's connection one that is lent for a WebSocket.
pub(super) fn lend(
    peer: &mut HttpPeer,
    lender: &Arc<Lender>,
    client: Option<Arc<ExchangeControl>>,
) -> Arc<Loan> {
    let loan = Arc::new(Loan::for_web_socket(Arc::clone(lender), client));
    peer.options.custom_l4 = Some(Arc::clone(&loan) as Arc<_>);
    loan
}

/// The same without a lender of its address.
#[cfg(test)]
pub(crate) fn prepare(peer: &mut HttpPeer, dialer: Arc<super::Dialer>, client: Option<Arc<ExchangeControl>>) {
    let lender = Arc::new(Lender::for_web_sockets(peer, dialer));
    lend(peer, &lender, client);
}

/// Gives everything else that is ready a turn before the first read after a write.
#[derive(Debug, Default)]
pub(super) struct Patience {
    has_written: bool,
}

impl Patience {
    pub(super) fn note_write(&mut self) {
        self.has_written = true;
    }

    /// Whether a read is to wait for its next turn, which comes.
    pub(super) fn gives_others_a_turn(&mut self, context: &Context<'_>) -> bool {
        let has_written = std::mem::take(&mut self.has_written);
        if has_written {
            context.waker().wake_by_ref();
        }
        has_written
    }
}
