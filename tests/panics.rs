//! What a panic says: where, and nothing of what was being worked on. A process of its own, since the hook is for all of it.

use std::io::Write;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_says_where_and_not_with_what() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    portcullis::telemetry::silence_panic_messages();
    let token = String::from("k\u{e9}y-canary");
    let (cut, parsed) = tracing::subscriber::with_default(subscriber, || {
        // The messages of both quote the text.
        let cut = std::panic::catch_unwind(|| token[..2].len());
        let parsed =
            std::panic::catch_unwind(|| serde_json::from_str::<u8>(&format!("\"{token}\"")).unwrap());
        (cut, parsed)
    });
    // Back to the usual hook, for the assertions.
    let _ours = std::panic::take_hook();
    assert!(cut.is_err() && parsed.is_err(), "neither has panicked");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("panics.rs:").count(), 2, "{log}");
    assert!(!log.contains("canary"), "{log}");
}
