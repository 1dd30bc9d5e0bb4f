//! Tells the journal what an app saw of each request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::identity::Identity;
use crate::journal::{AppRequest, Journal, What, now_in_ms};
use crate::replicas::REPLICA;

/// The header by which a page recognises its own requests in the diagram.
pub(crate) const REQUEST_ID: &str = "x-demo-request";

/// The identity header by which the demo's gateway names the JWT of a request.
pub(crate) const JTI: &str = "x-demo-jti";

/// Which app, and where it is written down.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    app: &'static str,
    journal: Arc<Journal>,
}

impl Recorder {
    pub(crate) fn new(app: &'static str, journal: Arc<Journal>) -> Self {
        Self { app, journal }
    }
}

/// Records everything but the page's own files and the panel's own requests.
pub(crate) async fn record(State(recorder): State<Recorder>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/assets/") || path.starts_with("/demo/") {
        return next.run(request).await;
    }
    let started = now_in_ms();
    let headers = request.headers();
    let identity = Identity::from_headers(headers);
    let mut seen = AppRequest {
        method: request.method().to_string(),
        path,
        session_cookie: has_session_cookie(headers),
        request_id: text(headers, REQUEST_ID).map(|id| id.chars().take(64).collect()),
        replica: text(headers, REPLICA).map(|number| number.chars().take(1).collect()),
        navigation: text(headers, "sec-fetch-dest") == Some("document"),
        user: identity.as_ref().map(Identity::display_name),
        jti: text(headers, JTI).map(str::to_owned),
        roles: identity.map(|identity| identity.roles).unwrap_or_default(),
        status: 0,
    };
    let response = next.run(request).await;
    seen.status = response.status().as_u16();
    recorder.journal.record(Some(recorder.app), started, What::App(seen));
    response
}

fn has_session_cookie(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.into_iter().any(|text| text.contains("access_token") || text.contains("refresh_token"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
