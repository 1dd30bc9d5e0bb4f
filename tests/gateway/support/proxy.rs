//! A small HTTP proxy: tunnels by CONNECT, and requests in absolute form (RFC 9112 section 3.2).

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::listening::Listening;
use super::wire::{Head, Wire};

/// The proxy's way with a request.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Passes it on.
    Pass,
    /// Passes it on with this `Proxy-Authorization`, else 407.
    Ask(String),
    /// Answers this status.
    Refuse(u16),
}

/// A proxy on a free port.
pub(crate) struct HttpProxy {
    pub(crate) listening: Listening,
    manner: Arc<Mutex<Manner>>,
    seen: Arc<Mutex<Vec<Head>>>,
}

impl HttpProxy {
    pub(crate) async fn start() -> Self {
        let (manner, seen) = (Arc::new(Mutex::new(Manner::Pass)), Arc::<Mutex<Vec<Head>>>::default());
        let (how, heads) = (manner.clone(), seen.clone());
        let listening = Listening::start(move |wire, _| serve(wire, how.clone(), heads.clone())).await;
        Self { listening, manner, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Returns the requests that it got, such as `CONNECT 127.0.0.1:443` or `POST http://127.0.0.1:80/token`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|head| format!("{} {}", head.word(0), head.word(1))).collect()
    }

    /// The `Proxy-Authorization` of each request.
    pub(crate) fn credentials(&self) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|head| head.get("proxy-authorization").map(str::to_owned)).collect()
    }
}

async fn serve(mut wire: Wire, manner: Arc<Mutex<Manner>>, seen: Arc<Mutex<Vec<Head>>>) {
    while let Ok(Some(head)) = wire.head().await {
        seen.lock().unwrap().push(head.clone());
        let manner = manner.lock().unwrap().clone();
        let refused = match manner {
            Manner::Ask(credentials) if head.get("proxy-authorization") != Some(&credentials) => Some(407),
            Manner::Refuse(status) => Some(status),
            Manner::Pass | Manner::Ask(_) => None,
        };
        let body = wire.body(head.request_framing(), usize::MAX).await.expect("a whole body");
        if let Some(status) = refused {
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = wire.send(answer).await;
            return;
        }
        let target = head.word(1).to_owned();
        if head.word(0) == "CONNECT" {
            let Ok(mut far) = TcpStream::connect(&target).await else { return };
            wire.send("HTTP/1.1 200 Connected\r\n\r\n").await.expect("an open connection");
            let _either_side_ends = tokio::io::copy_bidirectional(&mut wire.stream, &mut far).await;
            return;
        }
        let rest = target.strip_prefix("http://").expect("the absolute form");
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let mut text = format!("{} {path} HTTP/1.1\r\n", head.word(0));
        let own = ["proxy-authorization", "connection"];
        for (name, value) in
            head.headers.iter().filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()))
        {
            text.extend([name, ": ", value, "\r\n"]);
        }
        let mut far = TcpStream::connect(host).await.expect("a provider");
        far.write_all(format!("{text}Connection: close\r\n\r\n").as_bytes())
            .await
            .expect("an open connection");
        far.write_all(&body.bytes).await.expect("an open connection");
        let mut far = Wire::new(far);
        let Ok(Some(answer)) = far.head().await else { return };
        let content =
            far.body(answer.response_framing(head.word(0)), usize::MAX).await.expect("a whole body");
        wire.send(&answer.raw).await.expect("an open connection");
        wire.send(&content.bytes).await.expect("an open connection");
    }
}
