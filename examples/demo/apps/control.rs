//! `/demo/*`: the endpoints that feed the side panel, and its buttons. A real app has nothing of the kind.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_stream::wrappers::BroadcastStream;

use super::Problem;
use super::thief::{self, Scene, Stolen, Target};
use crate::gateway::SealSwitch;
use crate::journal::{Event, Exchange, Journal, Loot, What, now_in_ms};
use crate::provider::Logins;

/// The state of the panel's endpoints.
pub(crate) struct Control {
    pub(crate) app: &'static str,
    /// A path of the app that needs a session, for the thief.
    pub(crate) protected_path: &'static str,
    pub(crate) journal: Arc<Journal>,
    pub(crate) logins: Arc<Logins>,
    /// Known once the gateway listens; never, where it is another process.
    pub(crate) gateway: Arc<OnceLock<Reach>>,
    pub(crate) thief: reqwest::Client,
}

/// The gateway, as far as the panel has to do with it.
pub(crate) struct Reach {
    pub(crate) target: Target,
    /// Of both apps, the status page and the provider.
    pub(crate) links: Value,
    /// The number of gateways.
    pub(crate) replicas: u8,
    pub(crate) seal: Arc<SealSwitch>,
    /// One change at a time, so that the notes are in the order of the changes.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Control {
    pub(crate) fn app(&self) -> &'static str {
        self.app
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    fn gateway(&self) -> Result<&Reach, Problem> {
        self.gateway.get().ok_or_else(|| unavailable("the gateway is not the demo's own, or not up yet"))
    }
}

type Shared = Arc<Control>;

/// The panel's endpoints.
pub(crate) fn router(control: Shared) -> Router {
    Router::new()
        .route("/demo/events", get(events))
        .route("/demo/state", get(state))
        .route("/demo/expire", post(expire))
        .route("/demo/seal", post(seal))
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
struct Which {
    /// The name of the JWT that the browser holds, as far as the page knows.
    jti: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Whose {
    /// The name of the JWT that the browser holds, or held last.
    jti: String,
    /// Returns whether it still does.
    #[serde(default)]
    held: bool,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    on: bool,
}

/// Everything of interest to this app, as server-sent events.
async fn events(
    State(control): State<Shared>,
    Query(Since { since, after }): Query<Since>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<axum::response::sse::Event, Infallible>>> {
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

fn as_event(exchange: &Exchange) -> axum::response::sse::Event {
    let data = serde_json::to_string(exchange).unwrap_or_default();
    axum::response::sse::Event::default().id(exchange.id.to_string()).data(data)
}

/// Returns what the provider knows of a JWT and its login, and the gateway's settings: null where it is not the demo's
/// own.
async fn state(State(control): State<Shared>, Query(Which { jti }): Query<Which>) -> Json<Value> {
    let login = jti.and_then(|jti| control.logins.state(control.app, &jti));
    let gateway = control.gateway.get();
    let gateway = gateway.map(
        |reach| json!({ "sealed": reach.seal.is_on(), "links": reach.links, "replicas": reach.replicas }),
    );
    Json(json!({ "login": login, "gateway": gateway }))
}

async fn expire(State(control): State<Shared>, Json(whose): Json<Whose>) -> Result<StatusCode, Problem> {
    if !control.logins.expire(control.app, &whose.jti) {
        return Err(no_login());
    }
    let note = What::Note { event: Event::LoginEnded };
    control.journal.record(Some(control.app), now_in_ms(), note);
    Ok(StatusCode::NO_CONTENT)
}

async fn seal(
    State(control): State<Shared>,
    Json(Wanted { on }): Json<Wanted>,
) -> Result<StatusCode, Problem> {
    let reach = control.gateway()?;
    let _turn = reach.turn.lock().await;
    if reach.seal.is_on() != on {
        let started = now_in_ms();
        reach.seal.set(on).await.map_err(|error| unavailable(&error.to_string()))?;
        control.journal.set_sealed(on);
        let event = if on { Event::Sealed } else { Event::Unsealed };
        control.journal.record(None, started, What::Note { event });
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn steal_refresh_token(
    State(control): State<Shared>,
    Json(Whose { jti, held }): Json<Whose>,
) -> Result<StatusCode, Problem> {
    let stolen = control.logins.steal_refresh_token(control.app, &jti, held);
    let (tokens, family, again) = stolen.ok_or_else(nothing_to_steal)?;
    attack(&control, Stolen { loot: Loot::RefreshToken, tokens, family, again }).await
}

async fn steal_jwt(
    State(control): State<Shared>,
    Json(Whose { jti, held }): Json<Whose>,
) -> Result<StatusCode, Problem> {
    let stolen = control.logins.steal_jwt(control.app, &jti, held);
    let (tokens, family) = stolen.ok_or_else(nothing_to_steal)?;
    attack(&control, Stolen { loot: Loot::Jwt, tokens, family, again: !held }).await
}

async fn attack(control: &Control, stolen: Stolen) -> Result<StatusCode, Problem> {
    let reach = control.gateway()?;
    let started = now_in_ms();
    let Control { app, protected_path: path, ref logins, ref journal, .. } = *control;
    let scene = Scene { app, path, logins, journal };
    let theft = thief::strike(&control.thief, &reach.target, scene, stolen).await;
    let theft = theft.map_err(|_| unavailable("the thief's request got no answer from the gateway"))?;
    control.journal.record(Some(control.app), started, What::Thief(theft));
    Ok(StatusCode::NO_CONTENT)
}

fn no_login() -> Problem {
    Problem::new(StatusCode::CONFLICT, "No session", "there is no living login at the provider")
}

fn nothing_to_steal() -> Problem {
    Problem::new(StatusCode::CONFLICT, "Nothing to steal", "sign in first: no browser holds such a token")
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail)
}
