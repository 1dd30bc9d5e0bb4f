//! Explains a request, from its host to the request that the app would receive.

use http::{Method, header};

use crate::access::cross_site;
use crate::access::decision::{AppRules, Reason, RequestHead};
use crate::command::explain::explain_error::ExplainError;
use crate::command::explain::keys::Keys;
use crate::command::explain::question::{Asked, Question, raw_path, read};
use crate::command::explain::steps::Steps;
use crate::command::explain::{destination, session, shared_state, verdict};
use crate::config::{App, Config};
use crate::syntax::path;
use crate::system::clock::Clock;

/// Explains a request. Connects to the identity provider only for its keys, and only if there are cookies and no JWKS.
/// Connects to the engine of a fleet only if there is a refresh token.
pub async fn explain(
    config: &Config,
    question: &Question,
    clock: &dyn Clock,
) -> Result<String, ExplainError> {
    let asked = read(question)?;
    let mut steps = Steps(format!("{} {}\n", asked.method, asked.url));
    let Some(app) = app_step(&mut steps, config, &asked) else { return Ok(steps.0) };
    if !scheme_steps(&mut steps, config, app, &asked) {
        return Ok(steps.0);
    }
    // Every app of a valid configuration has a provider.
    let Some(provider) = config.identity_providers.get(app.identity_provider) else { return Ok(steps.0) };
    let rules = AppRules::new(app, provider, &config.session);
    let raw = raw_path(asked.url);
    let head = RequestHead {
        method: &asked.method,
        path: raw,
        host: &asked.authority,
        headers: &asked.headers,
        websocket: asked.websocket,
    };
    if !path_step(&mut steps, &rules, &head) {
        return Ok(steps.0);
    }
    let mut reaches_app = destination::steps(&mut steps, app, &rules, &head, asked.is_whole);
    if asked.is_whole {
        origin_step(&mut steps, app, &head);
        let keys = if asked.headers.contains_key(header::COOKIE) {
            Keys::get(provider, question.jwks.as_deref()).await?
        } else {
            Keys::default()
        };
        let memory = verdict::empty_tables(clock.now());
        let known = verdict::knowledge(&keys, &memory, config, clock.now());
        let token = session::steps(&mut steps, &rules, &head, &known, &keys, shared_state::not_known(config));
        shared_state::steps(&mut steps, config, &rules, &head).await;
        if question.cookies.is_some() && !asked.headers.contains_key(header::COOKIE) {
            let hint = "the file has none for this host. Over plain http curl keeps none, and browsers only at `localhost` names";
            steps.add("", hint);
        }
        reaches_app &= verdict::steps(&mut steps, &rules, &head, &known, token);
    }
    if reaches_app {
        destination::forwarding(&mut steps, app, &rules, &head);
    }
    Ok(steps.0)
}

/// Adds the step of the app that has the host. Returns `None` if the explanation ends here.
fn app_step<'a>(steps: &mut Steps, config: &'a Config, asked: &Asked<'_>) -> Option<&'a App> {
    let found = config.apps.iter().find(|app| app.hosts.contains(&asked.host));
    let Some(app) = found else {
        steps.add("app", &format!("none has the host `{}`", asked.host));
        let hosts: Vec<_> = config.apps.iter().flat_map(|app| &app.hosts).map(String::as_str).collect();
        steps.add("", &format!("hint: compare with `hosts` of the apps: {}", hosts.join(", ")));
        steps.answer("404 unknown_host", "unknown_host");
        return None;
    };
    steps.add("app", &format!("{} (host `{}`)", app.name, asked.host));
    if matches!(asked.method, Method::TRACE | Method::CONNECT) {
        steps.answer("405 method_not_allowed, on every path", "method");
        return None;
    }
    Some(app)
}

/// Adds the steps of a request without TLS. Returns false if the explanation ends here.
fn scheme_steps(steps: &mut Steps, config: &Config, app: &App, asked: &Asked<'_>) -> bool {
    if asked.is_secure {
        return true;
    }
    if let Some(port) = config.server.tls.as_ref().and_then(|tls| tls.redirect_port) {
        steps.answer(&format!("308 to `https`, port {port} (`redirect_port`)"), "redirected");
        steps.add("", "not if one of `trusted_proxies` says that it came by https: ask with that URL then");
        return false;
    }
    if !app.cookies.are_kept_over_http(&asked.host) {
        steps.add("http", "plain: browsers keep none of the session's cookies, which are `Secure`: a login is forgotten at once");
        steps.add("", "hint: ask and sign in by https, at a `localhost` name, or see `cookies.secure` (for development)");
    }
    true
}

/// Adds the step of the path if it is refused. Returns false in that case.
fn path_step(steps: &mut Steps, rules: &AppRules, head: &RequestHead<'_>) -> bool {
    let decoded = match path::decode(head.path) {
        Ok(decoded) => decoded,
        Err(error) => {
            steps.add("path", &error.to_string());
            steps.answer("400 bad_request", Reason::Path(error).code().as_str());
            return false;
        }
    };
    if destination::is_login_variant(rules, head, &decoded) {
        steps.add("path", "a spelling of the login path that could bring a password to the app");
        steps.answer("400 bad_request", "login_variant");
        return false;
    }
    true
}

/// Adds the step of the origin, which is the site that sent the request.
fn origin_step(steps: &mut Steps, app: &App, head: &RequestHead<'_>) {
    let matters = head.may_change_state() || head.websocket;
    let origin = head.headers.get(header::ORIGIN);
    let is_cross_site = cross_site::is_cross_site(head.headers, head.host, &app.allowed_origins);
    let text = if !matters {
        "not looked at: the method changes nothing"
    } else if is_cross_site && origin.is_some_and(|origin| origin == "null") {
        "`null`: refused where there are session cookies, and at login and logout, but for `Sec-Fetch-Site: same-origin`"
    } else if is_cross_site {
        "another site's: refused where there are session cookies, and at login and logout"
    } else if origin.is_none() && !head.headers.contains_key("sec-fetch-site") {
        "none, so it is no browser's (`--origin` tries one)"
    } else {
        "the app's own, or one of `allowed_origins`"
    };
    steps.add("origin", text);
}
