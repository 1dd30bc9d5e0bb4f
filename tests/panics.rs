//! A panic's message names the place, and nothing of what was being worked on. The test has a process of its own: so
//! has the hook.

use std::io::{Read, Seek};

#[test]
fn a_panic_says_where_and_not_with_what() {
    let mut log = tempfile::tempfile().unwrap();
    let writer = log.try_clone().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(writer))
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
    log.rewind().unwrap();
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("panics.rs:").count(), 2, "{text}");
    assert!(!text.contains("canary"), "{text}");
}
