//! The forums' backend: threads and posts that everybody reads and members write, moderation, and a live WebSocket.

mod live;
mod model;

use std::sync::Arc;

use axum::extract::{FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::model::Forums;
use super::Problem;
use super::identity::Identity;

type Shared = Arc<Forums>;

#[derive(Debug, Deserialize)]
struct Which {
    id: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct NewThread {
    title: String,
    topic: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct NewPost {
    thread: u32,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    thread: u32,
    post: Option<u32>,
    /// The post is to be hidden, or the thread to be closed.
    on: bool,
}

/// The forums' API.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/api/threads", get(read))
        .route("/api/posts", post(add_post))
        .route("/api/new-thread", post(add_thread))
        .route("/api/profile", get(profile))
        .route("/api/moderation/verdicts", post(moderate))
        .route("/api/live", get(live::connect))
        .route("/api/{*rest}", any(|| async { Problem::not_found("there is nothing here") }))
        .with_state(Arc::new(Forums::with_samples()))
}

/// All threads, or the one that is asked for with its posts.
async fn read(
    State(forums): State<Shared>,
    user: Option<Identity>,
    Query(Which { id }): Query<Which>,
) -> Result<Json<Value>, Problem> {
    let moderator = user.as_ref().is_some_and(is_moderator);
    let signed_in_as = user.map(|user| user.display_name());
    let Some(id) = id else {
        return Ok(Json(json!({ "threads": forums.list(), "signed_in_as": signed_in_as })));
    };
    let thread = forums.show(id, moderator).ok_or_else(|| Problem::not_found("there is no such thread"))?;
    Ok(Json(json!({ "thread": thread, "signed_in_as": signed_in_as })))
}

async fn profile(State(forums): State<Shared>, user: Identity) -> Json<Value> {
    let name = user.display_name();
    Json(json!({ "posts": forums.posts_of(&name), "name": name, "moderator": is_moderator(&user) }))
}

async fn add_thread(
    State(forums): State<Shared>,
    user: Identity,
    Body(new): Body<NewThread>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let title = checked(&new.title, 120, "a title of at most 120 characters")?;
    let text = checked(&new.text, 4000, "a text of at most 4000 characters")?;
    let topic = checked(&new.topic, 20, "a topic")?;
    let id = forums.add_thread(&user.display_name(), title, topic, text);
    Ok((StatusCode::CREATED, Json(json!({ "thread": id }))))
}

async fn add_post(
    State(forums): State<Shared>,
    user: Identity,
    Body(new): Body<NewPost>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let text = checked(&new.text, 4000, "a text of at most 4000 characters")?;
    let post = forums.add_post(new.thread, &user.display_name(), text)?;
    Ok((StatusCode::CREATED, Json(json!({ "post": post }))))
}

async fn moderate(
    State(forums): State<Shared>,
    user: Identity,
    Body(verdict): Body<Verdict>,
) -> Result<StatusCode, Problem> {
    if !is_moderator(&user) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "only moderators hide posts and close threads",
        ));
    }
    forums.moderate(verdict.thread, verdict.post, verdict.on)?;
    Ok(StatusCode::NO_CONTENT)
}

fn is_moderator(user: &Identity) -> bool {
    user.has_role("moderator") || user.has_role("admin")
}

fn checked<'a>(text: &'a str, longest: usize, wanted: &str) -> Result<&'a str, Problem> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= longest;
    fits.then_some(text).ok_or_else(|| Problem::bad_request(&format!("please write {wanted}")))
}

/// A JSON body whose errors are problems too.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let parsed = Json::<T>::from_request(request, state).await;
        parsed.map(|Json(body)| Self(body)).map_err(|error| Problem::bad_request(&error.body_text()))
    }
}
