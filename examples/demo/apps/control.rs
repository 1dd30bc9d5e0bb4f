//! `/demo/*`: what feeds the side panel, and its buttons. No part of an app that one would build.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::wrappers::BroadcastStream;

use super::Problem;
use super::thief::{self, Loot, Target};
use crate::journal::{Exchange, Journal, What, now_in_ms};
use crate::provider::Logins;

/// What the panel's endpoints need to know.
pub(crate) struct Control {
    app: &'static str,
    /// A path of the app that needs a session, for the thief.
    protected_path: &'static str,
    journal: Arc<Journal>,
    logins: Arc<Logins>,
    /// Known once the gateway listens.
    target: Arc<OnceLock<Target>>,
    thief: reqwest::Client,
}

impl Control {
    pub(crate) fn new(
        app: &'static str,
        protected_path: &'static str,
        journal: Arc<Journal>,
        logins: Arc<Logins>,
        target: Arc<OnceLock<Target>>,
        thief: reqwest::Client,
    ) -> Self {
        Self { app, protected_path, journal, logins, target, thief }
    }

    pub(crate) fn app(&self) -> &'static str {
        self.app
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }
}

type Shared = Arc<Control>;

/// The panel's endpoints.
pub(crate) fn router(control: Shared) -> Router {
    Router::new()
        .route("/demo/events", get(events))
        .route("/demo/session", get(session))
        .route("/demo/expire", post(expire))
        .route("/demo/steal-refresh-token", post(steal_refresh_token))
        .route("/demo/steal-jwt", post(steal_jwt))
        .with_state(control)
}

#[derive(Debug, Deserialize)]
struct Since {
    /// Milliseconds since the Unix epoch: when the page began to load.
    since: Option<f64>,
    /// The last exchange that the page has, when it comes back.
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Whose {
    /// The `sub` of the user object that the page got from the gateway.
    sub: String,
}

/// Everything of interest to this app, as server-sent events.
async fn events(
    State(control): State<Shared>,
    Query(Since { since, after }): Query<Since>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let reconnected = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let last_seen = reconnected.or(after).unwrap_or(0);
    let (past, live) = control.journal.follow(since.unwrap_or_else(now_in_ms), last_seen);
    let live = BroadcastStream::new(live).filter_map(|exchange| async { exchange.ok() });
    let app = control.app;
    let exchanges = stream::iter(past).chain(live).filter_map(move |exchange| async move {
        let ours = exchange.app.as_deref().is_none_or(|name| name == app);
        ours.then(|| Ok(as_event(&exchange)))
    });
    Sse::new(exchanges).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

fn as_event(exchange: &Exchange) -> Event {
    let data = serde_json::to_string(exchange).unwrap_or_default();
    Event::default().id(exchange.id.to_string()).data(data)
}

/// What the provider knows of the user's newest login here.
async fn session(State(control): State<Shared>, Query(whose): Query<Whose>) -> Json<Value> {
    let state = control.logins.state(control.app, &whose.sub);
    Json(json!({ "now": now_in_ms() / 1000.0, "session": state }))
}

async fn expire(State(control): State<Shared>, Json(whose): Json<Whose>) -> Result<StatusCode, Problem> {
    if !control.logins.expire(control.app, &whose.sub) {
        return Err(no_login());
    }
    let note = What::Note {
        title: "The provider ends the session".into(),
        text: "As an administrator would: the refresh token is dead now. The JWT in the browser's cookie still counts until \
               it is due for a refresh; the provider refuses that, and the gateway answers 401 and clears both cookies."
            .into(),
    };
    control.journal.record(Some(control.app), now_in_ms(), note);
    Ok(StatusCode::NO_CONTENT)
}

async fn steal_refresh_token(
    State(control): State<Shared>,
    Json(whose): Json<Whose>,
) -> Result<StatusCode, Problem> {
    attack(&control, &whose, Loot::RefreshToken).await
}

async fn steal_jwt(State(control): State<Shared>, Json(whose): Json<Whose>) -> Result<StatusCode, Problem> {
    attack(&control, &whose, Loot::Jwt).await
}

async fn attack(control: &Control, whose: &Whose, loot: Loot) -> Result<StatusCode, Problem> {
    let tokens = control.logins.steal(control.app, &whose.sub).ok_or_else(no_login)?;
    let target = control.target.get().ok_or_else(|| unavailable("the gateway is not up yet"))?;
    let started = now_in_ms();
    let theft = thief::strike(&control.thief, target, control.protected_path, &tokens, loot).await;
    let theft = theft.map_err(|_| unavailable("the thief's request got no answer from the gateway"))?;
    control.journal.record(Some(control.app), started, What::Thief(theft));
    Ok(StatusCode::NO_CONTENT)
}

fn no_login() -> Problem {
    Problem::new(StatusCode::CONFLICT, "No session", "sign in first: there is no living session to take")
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail)
}
