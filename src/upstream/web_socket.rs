//! The connection to an app for a WebSocket: one of HTTP/1.1, whatever the app speaks otherwise, and one of its own.
//!
//! Pingora 0.9.1 reads the app's answer and the end of the request's (empty) body in either order. If a fast app's 101
//! comes first, the end of the body is then taken for the end of the WebSocket, and it closes at once
//! (`proxy_handle_upstream` in pingora-proxy's `proxy_h1.rs`). A connection whose first read after a write comes one
//! turn later lets the end of the body, which is there already, always go first.

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

    /// Returns true where a read is to wait for its next turn, which comes.
    pub(super) fn gives_others_a_turn(&mut self, context: &Context<'_>) -> bool {
        let has_written = std::mem::take(&mut self.has_written);
        if has_written {
            context.waker().wake_by_ref();
        }
        has_written
    }
}
