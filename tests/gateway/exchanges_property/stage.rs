//! The stage: the gateway, and the apps that answer as a request's play says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::play::{Outcome, Play};
use super::{http1, http2};
use crate::support::certificates::{Authority, terminator_for};
use crate::support::http2::{Call, Http2App, read, write};
use crate::support::strict::{StrictApp, TINY, digest, parameter};
use crate::support::{World, patiently};

/// The gateway between clients and two apps: a strict one of HTTP/1.1 and one of HTTP/2.
pub(super) struct Stage {
    pub(super) authority: Authority,
    pub(super) world: World,
    pub(super) store: StrictApp,
    pub(super) forums: Http2App,
    pub(super) forums_saw: Seen,
}

/// The requests that the app of HTTP/2 got: their ids and bodies, `None` for a body that was cut.
pub(super) type Seen = Arc<std::sync::Mutex<Vec<(String, Option<Vec<u8>>)>>>;

impl Stage {
    /// Starts both apps and the gateway; `over_tls` says whether the strict app is behind TLS.
    pub(super) async fn set(over_tls: bool) -> Self {
        let authority = Authority::new();
        authority.certify("gateway", &["store.localhost", "forums.localhost"]);
        authority.certify("app", &["app.internal"]);
        let store = StrictApp::start().await;
        let forums_saw = Seen::default();
        let seen = forums_saw.clone();
        let forums = Http2App::start(move |call| answer_over_http2(call, seen.clone())).await;
        let server = authority.server(&["gateway"]);
        let upstream = if over_tls {
            let address = terminator_for(&authority, "app", &[b"http/1.1"], store.address()).await;
            let ca = authority.ca();
            format!(
                "upstreams = ['https://{address}']\nupstream_tls = {{ ca = '{ca}', server_name = 'app.internal' }}"
            )
        } else {
            format!("upstreams = ['{}']", store.url())
        };
        let toml =
            format!("{server}[apps.store]\n{upstream}\n[apps.forums]\nupstreams = ['{}']\n", forums.url());
        let world = World::with(&toml).await;
        Self { authority, world, store, forums, forums_saw }
    }

    /// Plays one request and returns its outcome; the default stands for a request without an answer.
    pub(super) async fn send(&self, play: &Play, id: &str) -> Outcome {
        let sending = async {
            if play.over_http2 {
                http2::send(self, play, id).await
            } else {
                http1::send(self, play, id).await
            }
        };
        if play.kind == "never" {
            // The client does not wait for it.
            let outcome = tokio::time::timeout(Duration::from_millis(20), sending).await;
            return outcome.ok().flatten().unwrap_or_default();
        }
        patiently("an outcome", sending).await.unwrap_or_default()
    }
}

/// Answers as the play says, with what HTTP/2 has of it.
async fn answer_over_http2(mut call: Call, seen: Seen) {
    let target = call.head.uri.path_and_query().unwrap().as_str().to_owned();
    let (id, play) = (parameter(&target, "id"), parameter(&target, "play"));
    let head = |status: u16| Response::builder().status(status).header("x-id", &id).body(()).unwrap();
    if play.starts_with("early") {
        let early = format!("id={id} early");
        let Ok(mut sending) = call.respond.send_response(head(403), false) else { return };
        let _ = sending.send_data(early.into(), true);
        if play == "early" {
            let _ = read(&mut call.body).await;
        }
        return;
    }
    let begun = (play == "meanwhile").then(|| call.respond.send_response(head(200), false));
    let body = read(&mut call.body).await;
    seen.lock().unwrap().push((id.clone(), body.as_ref().ok().cloned()));
    let Ok(body) = body else { return };
    let is_head = call.head.method == http::Method::HEAD;
    let text = format!("id={id} {}", digest(&body));
    match play.as_str() {
        "meanwhile" => {
            let Some(Ok(mut sending)) = begun else { return };
            let _ = sending.send_data(text.into(), false);
            let _ = sending.send_data(Bytes::new(), true);
        }
        "no-content" | "no-content-body" => drop(call.respond.send_response(head(204), true)),
        "not-modified" | "not-modified-body" => drop(call.respond.send_response(head(304), true)),
        "never" => std::future::pending().await,
        "cut" => {
            let Ok(mut sending) = call.respond.send_response(head(200), false) else { return };
            let _ = sending.send_data("half".into(), false);
            tokio::time::sleep(Duration::from_millis(5)).await;
            sending.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        _ => {
            let Ok(mut sending) = call.respond.send_response(head(200), is_head) else { return };
            let text = if play == "tiny-chunks" { "x".repeat(TINY) } else { text };
            if !is_head {
                let _ = write(&mut sending, text.into()).await;
                let _ = sending.send_data(Bytes::new(), true);
            }
        }
    }
}
