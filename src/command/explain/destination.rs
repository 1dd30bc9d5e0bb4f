//! Describes the destination of a request: an endpoint of the gateway, or a route of the app. It also describes the
//! request that the app would receive.

use http::Method;

use crate::access::decision::{self, AppRules, RequestHead};
use crate::access::endpoint::{Callers, Endpoint, EndpointRules, Needs};
use crate::access::routes::{Destination, Rule};
use crate::command::explain::steps::Steps;
use crate::config::{self, Access, App};
use crate::session::{BodyKind, media_types};
use crate::syntax::path;

/// Returns true if the path is a spelling of the login path that the gateway refuses.
pub(super) fn is_login_variant(rules: &AppRules, head: &RequestHead<'_>, decoded: &[u8]) -> bool {
    let destination = rules.routes.resolve(head.path.as_bytes(), decoded);
    decision::is_login_variant(rules, head, destination, decoded)
}

/// Adds the steps of the destination. Returns true if the destination is the app. If `is_decided` is true, a later step
/// shows the answer, so this function leaves it out.
pub(super) fn steps(
    steps: &mut Steps,
    app: &App,
    rules: &AppRules,
    head: &RequestHead<'_>,
    is_decided: bool,
) -> bool {
    let Ok(decoded) = path::decode(head.path) else { return false };
    let own = match rules.routes.resolve(head.path.as_bytes(), &decoded) {
        Destination::App(rule) => {
            route(steps, app, head, &rule, is_decided);
            return true;
        }
        Destination::Own(endpoint) => endpoint,
    };
    endpoint(steps, app, head.method, &own.rules(), is_decided);
    if own == Endpoint::Login {
        let config::Login { username_field, password_field, .. } = &app.login;
        steps.add(
            "fields",
            &format!("`{username_field}` and `{password_field}`, once each; others do not matter"),
        );
        steps.add("accepted", &format!("{}, in UTF-8", media_types(BodyKind::OF_LOGINS)));
        if !app.token_parameters.is_empty() {
            let names = app.token_parameter_names().join(", ");
            steps.add("provider", &format!("gets {names} with each grant (`token_parameters`)"));
        }
    }
    false
}

fn route(steps: &mut Steps, app: &App, head: &RequestHead<'_>, rule: &Rule<'_>, is_decided: bool) {
    match rule.index.and_then(|index| Some((index, app.routes.get(index)?))) {
        Some((index, route)) => steps.add("route", &format!("{} `{}`", index + 1, route.path)),
        None => steps.add("route", "none matches, so access is `required`"),
    }
    if head.is_preflight() {
        return steps.add("access", "a CORS preflight: passed on without a session");
    }
    steps.add("access", access(rule.access));
    if head.method == Method::OPTIONS {
        steps.add("preflight", PREFLIGHT);
    }
    if !rule.roles.is_empty() {
        steps.add("roles", &format!("any of {}", rule.roles.join(", ")));
    }
    match rule.access {
        _ if is_decided => {}
        Access::Required if rule.roles.is_empty() => steps.add("otherwise", "401 not_logged_in"),
        Access::Required => steps.add("otherwise", "401 not_logged_in, 403 forbidden"),
        Access::Public | Access::Optional => {}
    }
}

fn endpoint(steps: &mut Steps, app: &App, method: &Method, own: &EndpointRules, is_decided: bool) {
    let EndpointRules { title, methods, callers, needs, answer, .. } = own;
    steps.add("endpoint", &format!("{title}, served by the gateway itself"));
    if method == Method::OPTIONS && *callers == Callers::Browsers {
        steps.add("preflight", PREFLIGHT);
    }
    if is_decided {
        return;
    }
    if !methods.include(method) {
        let known = methods.allow().replace(", ", " or ");
        steps.answer(&format!("405 method_not_allowed, use {known}"), "method");
    } else if matches!(needs, Needs::Session(_)) {
        steps.add("answer", &format!("{answer}, or {} not_logged_in", app.user.anonymous_status));
    } else {
        steps.add("answer", answer);
    }
}

/// Adds the steps on the request that the app would receive.
pub(super) fn forwarding(steps: &mut Steps, app: &App, rules: &AppRules, head: &RequestHead<'_>) {
    let Ok(decoded) = path::decode(head.path) else { return };
    let addresses: Vec<_> = app.upstreams.iter().map(ToString::to_string).collect();
    steps.add("upstream", &addresses.join(", "));
    let destination = rules.routes.resolve(head.path.as_bytes(), &decoded);
    let is_public = matches!(destination, Destination::App(Rule { access: Access::Public, .. }));
    let identified = !is_public && !head.is_preflight();
    for header in app.identity_headers.iter().filter(|_| identified) {
        steps.add("header", &format!("{}: claim `{}`", header.display_name, header.claim));
    }
    if identified && app.forward_access_token {
        steps.add("header", "Authorization: Bearer <JWT>");
    }
    steps.add("header", "X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded");
    let cookies = format!("{}, {}", app.cookies.access_token, app.cookies.refresh_token);
    let removed = format!("cookies {cookies}; a client's own headers of these names in any spelling");
    steps.add("removed", &removed);
}

/// Returns the conditions for an `OPTIONS` to be a preflight.
const PREFLIGHT: &str =
    "with `Origin`, `Access-Control-Request-Method` and no body it goes to the app without a session";

const fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public: everyone, the session is not looked at",
        Access::Optional => "optional: everyone, with the identity where there is a session",
        Access::Required => "required: only with a session",
    }
}
