//! Failures of an identity provider, as bytes on a socket.

use std::time::Duration;

use tokio::sync::watch;

use super::wire::Wire;

/// An event that takes the place of a call's usual answer, or comes on top of it.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another answer; the call has no effect at the provider.
    Answer { status: u16, headers: String, body: String },
    /// The usual answer, later. The call takes effect at once.
    Delay(Duration),
    /// The same, once this is true.
    Held(watch::Receiver<bool>),
    /// Takes effect, but the answer is lost with the connection.
    Lost,
    /// RST before anything happens.
    Reset,
    /// Nothing happens, and no answer ever comes.
    Unheard,
    /// Bytes that are not HTTP.
    Garbage,
    /// The usual head, half of the body, the end.
    Truncated,
    /// The usual answer, one byte each time.
    SlowDrip(Duration),
    /// A body of 100 MiB.
    Huge,
}

impl Fault {
    /// An error answer with a JSON body.
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: "Content-Type: application/json\r\n".into(), body: body.into() }
    }

    /// RFC 6749 section 5.2.
    pub(crate) fn oauth_error(status: u16, error: &str) -> Self {
        Self::status(status, &format!(r#"{{"error":"{error}","error_description":"as scripted"}}"#))
    }

    pub(crate) fn delay(millis: u64) -> Self {
        Self::Delay(Duration::from_millis(millis))
    }

    /// Returns whether the call is carried out.
    pub(crate) fn takes_effect(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::Held(_) | Self::Lost | Self::Truncated | Self::SlowDrip(_))
    }
}

/// Sends `usual`, or what `fault` makes of it; gives the connection back if it goes on. `ends` is called when the call
/// is over for the provider, before who has asked can know it.
pub(crate) async fn answer(
    fault: Option<Fault>,
    mut wire: Wire,
    usual: Vec<u8>,
    ends: impl FnOnce(),
) -> Option<Wire> {
    match &fault {
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::Held(gate)) => {
            gate.clone().wait_for(|is_open| *is_open).await.ok()?;
        }
        Some(Fault::Unheard) => std::future::pending().await,
        _ => {}
    }
    ends();
    match fault {
        None | Some(Fault::Delay(_) | Fault::Held(_)) => {
            wire.send(usual).await.ok()?;
            return Some(wire);
        }
        Some(Fault::Answer { status, headers, body }) => {
            let head =
                format!("HTTP/1.1 {status} Scripted\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
            wire.send(head + &body).await.ok()?;
            return Some(wire);
        }
        Some(Fault::Lost | Fault::Reset | Fault::Unheard) => wire.reset(),
        Some(Fault::Garbage) => wire.send("\u{1f44b} this is not HTTP\r\n\r\n").await.ok()?,
        Some(Fault::Truncated) => wire.send(&usual[..usual.len() - 20]).await.ok()?,
        Some(Fault::SlowDrip(pause)) => {
            for byte in usual {
                wire.send([byte]).await.ok()?;
                tokio::time::sleep(pause).await;
            }
        }
        Some(Fault::Huge) => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            wire.send(head).await.ok()?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            for _ in 0..1600 {
                wire.send(&chunk).await.ok()?;
            }
        }
    }
    None
}
