//! The admin listener: `/livez`, `/readyz`, `/metrics`. It is never reachable through the public one.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::json;

use crate::gateway::State;
use crate::respond::{Code, Problem};

/// Serves the admin paths.
#[derive(Debug)]
pub(crate) struct Admin {
    state: Arc<State>,
}

impl Admin {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// 200 as long as the process serves at all.
    fn livez() -> Response<Vec<u8>> {
        answer(StatusCode::OK, "application/json", json!({ "status": "ok" }).to_string())
    }

    /// 200 once every provider's endpoints and keys are known, else 503 with the reasons.
    fn readyz(&self) -> Response<Vec<u8>> {
        let reasons: Vec<_> = self
            .state
            .providers
            .iter()
            .filter_map(|provider| {
                let reason = provider.readiness().err()?.to_string();
                Some(json!({ "identity_provider": provider.name(), "reason": reason }))
            })
            .collect();
        if reasons.is_empty() {
            answer(StatusCode::OK, "application/json", json!({ "status": "ready" }).to_string())
        } else {
            let body = json!({ "status": "not ready", "reasons": reasons });
            answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", body.to_string())
        }
    }

    /// The text format of Prometheus, version 0.0.4.
    fn metrics(&self) -> Response<Vec<u8>> {
        let mut text = String::new();
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(
            text,
            "# HELP portcullis_build_info The version that runs.\n# TYPE portcullis_build_info gauge"
        );
        let _ = writeln!(text, "portcullis_build_info{{version=\"{version}\"}} 1");
        let _ =
            writeln!(text, "# HELP portcullis_identity_provider_ready Whether endpoints and keys are known.");
        let _ = writeln!(text, "# TYPE portcullis_identity_provider_ready gauge");
        for provider in &self.state.providers {
            let ready = u8::from(provider.readiness().is_ok());
            let _ =
                writeln!(text, "portcullis_identity_provider_ready{{name=\"{}\"}} {ready}", provider.name());
        }
        let _ = writeln!(text, "# HELP portcullis_jwks_age_seconds Time since the keys were fetched.");
        let _ = writeln!(text, "# TYPE portcullis_jwks_age_seconds gauge");
        for provider in &self.state.providers {
            if let Some(age) = provider.jwks_age() {
                let (name, age) = (provider.name(), age.as_secs());
                let _ = writeln!(text, "portcullis_jwks_age_seconds{{name=\"{name}\"}} {age}");
            }
        }
        answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return problem(&Problem::new(Code::MethodNotAllowed, "Use GET here."));
        }
        let mut response = match request.uri.path() {
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

fn problem(problem: &Problem) -> Response<Vec<u8>> {
    let body = String::from_utf8_lossy(&problem.body()).into_owned();
    answer(problem.status, Problem::CONTENT_TYPE, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Vec<u8>> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body.into_bytes());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    response
}
