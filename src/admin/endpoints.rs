//! The paths of the admin listener.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::json;

use crate::answer::code::Code;
use crate::answer::headers::Headers;
use crate::answer::problem::Problem;
use crate::gateway::State;

use crate::admin::process::Process;
use crate::admin::status::Status;
use crate::admin::{host, metrics, readiness, revoke, status};

/// Serves the admin paths.
#[derive(Debug)]
pub(crate) struct Admin {
    state: Arc<State>,
    process: Arc<Process>,
}

impl Admin {
    pub(crate) fn new(state: Arc<State>, process: Arc<Process>) -> Self {
        Self { state, process }
    }

    /// Answers with 204 after it has revoked the sessions or the token that the request names.
    async fn revoke(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if session.req_header().method != Method::POST {
            return not_allowed("Use POST here.", "POST");
        }
        match revoke::serve(&self.state, &self.process.guesses, session).await {
            Ok(()) => {
                let mut response = Response::new(Vec::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Err(refusal) => {
                let mut response = problem(&refusal);
                if refusal.code == Code::NotLoggedIn {
                    let scheme = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
                }
                response
            }
        }
    }

    /// Answers with 200 as long as the process serves requests.
    fn livez() -> Response<Vec<u8>> {
        answer(StatusCode::OK, "application/json", json!({ "status": "ok" }).to_string())
    }

    /// Answers with 200 if the endpoints and keys of every provider are known. Otherwise answers with 503 and the
    /// reasons.
    fn readyz(&self) -> Response<Vec<u8>> {
        let reasons = readiness::reasons(&self.state, &self.process);
        if reasons.is_empty() {
            answer(StatusCode::OK, "application/json", json!({ "status": "ready" }).to_string())
        } else {
            let body = json!({ "status": "not ready", "reasons": reasons });
            answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", body.to_string())
        }
    }

    /// Serves the status page. If `refreshes` is true, the page reloads itself regularly.
    fn page(&self, refreshes: bool) -> Response<Vec<u8>> {
        let status = Status::gather(&self.state, &self.process);
        let page = status::write(&status, refreshes);
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", page);
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, status::CONTENT_SECURITY_POLICY.clone());
        for (name, value) in [
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// Serves the facts of the status page as JSON, for scripts.
    fn status(&self) -> Response<Vec<u8>> {
        let status = Status::gather(&self.state, &self.process);
        let body = serde_json::to_string(&status).unwrap_or_default();
        answer(StatusCode::OK, "application/json", body)
    }

    /// Serves the metrics in the text format of Prometheus, version 0.0.4.
    fn metrics(&self) -> Response<Vec<u8>> {
        answer(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics::text(&self.state, &self.process),
        )
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
        if let Err(refusal) = host::check(request.uri.path(), host, &self.state.admin_hosts) {
            return problem(&refusal);
        }
        if request.uri.path() == "/sessions/revoke" {
            return self.revoke(session).await;
        }
        let request = session.req_header();
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return not_allowed("Use GET here.", "GET, HEAD");
        }
        let mut response = match request.uri.path() {
            "/" => self.page(request.uri.query() != Some(status::WITHOUT_REFRESH)),
            "/status.json" => self.status(),
            "/livez" => Self::livez(),
            "/readyz" => self.readyz(),
            "/metrics" => self.metrics(),
            _ => answer(
                StatusCode::NOT_FOUND,
                "application/json",
                json!({ "status": "not found" }).to_string(),
            ),
        };
        if request.method == Method::HEAD {
            response.body_mut().clear();
        }
        response
    }
}

fn not_allowed(detail: &'static str, methods: &'static str) -> Response<Vec<u8>> {
    problem(&Problem::new(Code::MethodNotAllowed, detail).allow(methods))
}

fn problem(problem: &Problem) -> Response<Vec<u8>> {
    let body = problem.body(None);
    response(problem.status, problem.headers(None, &body), body.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Vec<u8>> {
    let (content_type, content_length) = (Some(content_type), Some(body.len()));
    response(status, Headers { content_type, content_length, ..Headers::default() }, body.into_bytes())
}

fn response(status: StatusCode, headers: Headers<'_>, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers.list() {
        response.headers_mut().insert(name, value);
    }
    response
}
