//! The head of an app's answer has one meaning, or the client gets 502. The gateway takes out what is superfluous. Each
//! head goes to each kind of client: HTTP/1.0, HTTP/1.1 and HTTP/2. The library of HTTP/2 refuses malformed messages.

mod connections;
mod log;
mod mended;
mod over_http2;
mod refused;
mod web_sockets;

use crate::support::client::receive;
use crate::support::http2_client::answer;
use crate::support::wire::Head;
use crate::support::{Http2Client, World, patiently};

const CLIENTS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2"];

/// Fields that the gateway writes itself, or that depend on the client.
const NOT_COMPARED: [&str; 4] = ["date", "connection", "transfer-encoding", "x-request-id"];

/// Fields for one hop. No message to a client may have them.
const FOR_ONE_HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "http2-settings"];

/// An answer as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    status: u16,
    /// Sorted by name.
    fields: Vec<(String, String)>,
    body: String,
    interim: Vec<Vec<(String, String)>>,
}

fn in_order<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
        .collect();
    fields.sort();
    fields
}

fn fields_of(head: &Head) -> impl Iterator<Item = (&str, &str)> {
    head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Asserts that a head has nothing that RFC 9110 and RFC 9112 forbid.
fn assert_valid(head: &Head, method: &str, client: &str, what: &str) {
    let (status, framings) =
        (head.status(), (head.all("content-length").len(), head.all("transfer-encoding")));
    assert!(head.first_line.starts_with("HTTP/1.1 "), "{what}: {}", head.first_line);
    for name in FOR_ONE_HOP {
        assert_eq!(head.get(name), None, "{what}");
    }
    if status != 426 && status != 101 {
        assert_eq!(head.get("upgrade"), None, "{what}");
    }
    let is_bodiless = status < 200 || matches!(status, 204 | 304) || method == "HEAD";
    let codings: &[&str] = if is_bodiless || client == "HTTP/1.0" { &[] } else { &["chunked"] };
    let said: Vec<_> = framings.1.iter().map(|coding| coding.to_ascii_lowercase()).collect();
    assert!(said.is_empty() || said == codings, "{what}: {said:?}");
    assert!(framings.0 + framings.1.len() <= 1, "{what}: two framings");
    assert!(framings.0 == 0 || (status >= 200 && status != 204), "{what}: a length");
    let connection = head.get("connection");
    if (100..200).contains(&status) && status != 101 {
        assert_eq!(connection, None, "{what}");
    } else if status != 101 {
        assert!(matches!(connection, Some("keep-alive" | "close")), "{what}: {connection:?}");
    }
}

/// A gateway and a client of each kind.
struct Clients {
    world: World,
    http2: Http2Client,
}

impl Clients {
    /// Starts a gateway with this configuration on top.
    async fn start(toml: &str) -> Self {
        let (authority, world) = World::over_tls(toml).await;
        let http2 = Http2Client::start(&authority, &world).await;
        Self { world, http2 }
    }

    /// Sends one request and returns the answer, after asserting that it is valid. `what` names the case.
    async fn ask(&mut self, client: &str, method: &str, target: &str, what: &str) -> Seen {
        match client {
            "HTTP/2" => self.ask_http2(method, target, what).await,
            _ => self.ask_http1(client, method, target, what).await,
        }
    }

    async fn ask_http1(&self, client: &str, method: &str, target: &str, what: &str) -> Seen {
        let mut wire = self.world.browser().open().await;
        let head = format!("{method} {target} {client}\r\nHost: store.localhost\r\n\r\n");
        wire.send(head).await.unwrap();
        let answer = patiently(what, receive(&mut wire, method, 1 << 16)).await.expect(what);
        for interim in &answer.interim {
            assert_valid(interim, method, client, what);
        }
        assert_valid(&answer.head, method, client, what);
        Seen {
            status: answer.status(),
            fields: in_order(fields_of(&answer.head)),
            body: answer.text(),
            interim: answer.interim.iter().map(|head| in_order(fields_of(head))).collect(),
        }
    }

    async fn ask_http2(&mut self, method: &str, target: &str, what: &str) -> Seen {
        let request = self.http2.request(method, target).body(()).unwrap();
        let (response, _) = self.http2.requests.send_request(request, true).unwrap();
        let answer = answer(response).await.expect(what);
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        for (name, value) in &answer.head.headers {
            let value = text(value);
            assert_eq!(value.trim(), value, "{what}");
            assert!(!FOR_ONE_HOP.contains(&name.as_str()) && *name != "upgrade", "{what}: {name}");
        }
        let fields: Vec<_> =
            answer.head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Seen {
            status: answer.status(),
            fields: in_order(fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            body: String::from_utf8_lossy(&answer.body.expect(what)).into_owned(),
            interim: Vec::new(),
        }
    }

    /// Asserts that the next request of anybody gets its own answer.
    async fn assert_nobody_else_is_hit(&self, what: &str) {
        let answer = self.world.browser().get("/open/next").await;
        assert_eq!(answer.json()["target"], "/open/next", "{what}");
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const IN_CHUNKS: &str = "2\r\nok\r\n0\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
