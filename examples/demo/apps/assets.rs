//! The pages' files, built into the example.

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Problem;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! asset {
    ($name:literal, $content_type:literal, $path:literal) => {
        Asset { name: $name, content_type: $content_type, text: include_str!(concat!("../web/", $path)) }
    };
}

const STORE_PAGE: Asset = asset!("", "text/html; charset=utf-8", "store/index.html");
const FORUMS_PAGE: Asset = asset!("", "text/html; charset=utf-8", "forums/index.html");

const SHARED: [Asset; 11] = [
    asset!("base.css", "text/css; charset=utf-8", "shared/base.css"),
    asset!("flow.css", "text/css; charset=utf-8", "shared/flow.css"),
    asset!("api.js", "text/javascript; charset=utf-8", "shared/api.js"),
    asset!("dom.js", "text/javascript; charset=utf-8", "shared/dom.js"),
    asset!("flow.js", "text/javascript; charset=utf-8", "shared/flow.js"),
    asset!("story.js", "text/javascript; charset=utf-8", "shared/story.js"),
    asset!("diagram.js", "text/javascript; charset=utf-8", "shared/diagram.js"),
    asset!("tokens.js", "text/javascript; charset=utf-8", "shared/tokens.js"),
    asset!("words.js", "text/javascript; charset=utf-8", "shared/words.js"),
    asset!("session.js", "text/javascript; charset=utf-8", "shared/session.js"),
    asset!("sign-in.js", "text/javascript; charset=utf-8", "shared/sign-in.js"),
];

const STORE: [Asset; 4] = [
    asset!("store.css", "text/css; charset=utf-8", "store/store.css"),
    asset!("store.js", "text/javascript; charset=utf-8", "store/store.js"),
    asset!("art.js", "text/javascript; charset=utf-8", "store/art.js"),
    asset!("icon.svg", "image/svg+xml", "store/icon.svg"),
];

const FORUMS: [Asset; 3] = [
    asset!("forums.css", "text/css; charset=utf-8", "forums/forums.css"),
    asset!("forums.js", "text/javascript; charset=utf-8", "forums/forums.js"),
    asset!("icon.svg", "image/svg+xml", "forums/icon.svg"),
];

/// `/` and `/assets/*` of an app.
pub(crate) fn router(app: &str) -> Router {
    let (page, own): (Asset, &'static [Asset]) =
        if app == "store" { (STORE_PAGE, &STORE) } else { (FORUMS_PAGE, &FORUMS) };
    let page = page.text;
    Router::new()
        .route("/", get(move || async move { serve("text/html; charset=utf-8", page) }))
        .route("/assets/{name}", get(move |Path(name): Path<String>| async move { find(own, &name) }))
}

fn find(own: &'static [Asset], name: &str) -> Response {
    match SHARED.iter().chain(own).find(|asset| asset.name == name) {
        Some(asset) => serve(asset.content_type, asset.text),
        None => Problem::not_found("there is no such file").into_response(),
    }
}

fn serve(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
