//! The notes of a strict app: every message as it got it, and every fault.

use std::sync::{Arc, Mutex};

use super::parameter;
use crate::support::wire::Head;

/// One message as the app got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
    /// The number of chunks that it came in.
    pub(crate) chunks: usize,
    /// The end of the body came, as the head had announced it.
    pub(crate) is_whole: bool,
    /// While it was not answered, its connection was closed.
    pub(crate) was_given_up: bool,
    /// Something was said after its answer that nobody had asked for.
    pub(crate) had_surplus: bool,
    pub(crate) connection: usize,
}

#[derive(Default)]
pub(super) struct Notebook {
    pub(super) received: Vec<Received>,
    pub(super) faults: Vec<String>,
}

impl Notebook {
    pub(super) fn fault(&mut self, connection: usize, what: impl std::fmt::Display) {
        self.faults.push(format!("on connection {connection}: {what}"));
    }
}

pub(super) type Notes = Arc<Mutex<Notebook>>;

/// The entry of one message.
pub(super) struct Note {
    pub(super) notes: Notes,
    pub(super) index: usize,
    pub(super) connection: usize,
}

impl Note {
    pub(super) fn begin(head: &Head, connection: usize, notes: &Notes) -> Self {
        let received = Received {
            id: parameter(head.word(1), "id"),
            body: Vec::new(),
            chunks: 0,
            is_whole: false,
            was_given_up: false,
            had_surplus: false,
            connection,
        };
        let mut notebook = notes.lock().unwrap();
        notebook.received.push(received);
        Self { notes: notes.clone(), index: notebook.received.len() - 1, connection }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Received)) {
        change(&mut self.notes.lock().unwrap().received[self.index]);
    }

    pub(super) fn add(&self, bytes: &[u8]) {
        self.change(|received| received.body.extend_from_slice(bytes));
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let received = &mut self.notes.lock().unwrap().received[self.index];
        received.is_whole = true;
        received.body.clone()
    }

    pub(super) fn fault(&self, what: String) {
        self.notes.lock().unwrap().fault(self.connection, what);
    }
}
