//! The connection to an app for a WebSocket. It always speaks HTTP/1.1, whatever the app speaks otherwise, and it
//! serves only the WebSocket.
//!
//! Pingora 0.9.1 reads the app's answer and the end of the request's (empty) body in either order. If a fast app's 101
//! comes first, Pingora takes the end of the body for the end of the WebSocket, and closes it at once
//! (`proxy_handle_upstream` in pingora-proxy's `proxy_h1.rs`). Here the first read after a write comes one turn later.
//! The end of the body is ready by then, so it is always read first.

use std::task::Context;

/// Gives everything else that is ready a turn before the first read after a write.
#[derive(Debug, Default)]
pub(super) struct Patience {
    has_written: bool,
}

impl Patience {
    pub(super) fn note_write(&mut self) {
        self.has_written = true;
    }

    /// Returns true if a read must wait for its next turn. Then the task is woken for that turn.
    pub(super) fn gives_others_a_turn(&mut self, context: &Context<'_>) -> bool {
        let has_written = std::mem::take(&mut self.has_written);
        if has_written {
            context.waker().wake_by_ref();
        }
        has_written
    }
}
