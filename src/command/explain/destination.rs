//! Where a request goes: an endpoint of the gateway's own, or a route of the app, and what the app would see.

use http::Method;

use crate::access::cross_site;
use crate::access::decision::{AppRules, RequestHead};
use crate::access::preflight::{has_body, is_preflight};
use crate::access::routes::{Destination, Rule};
use crate::command::explain::steps::Steps;
use crate::config::{self, Access, App};
use crate::session::{BodyKind, media_types};
use crate::syntax::path;

/// An endpoint of the gateway's own.
struct Own {
    name: &'static str,
    methods: &'static [&'static str],
    answer: String,
}

impl Own {
    fn post(name: &'static str, answer: &str) -> Self {
        Self { name, methods: &["POST"], answer: answer.to_owned() }
    }
}

/// Whether it is a spelling of the login path that is refused.
pub(super) fn is_login_variant(rules: &AppRules, head: &RequestHead<'_>, decoded: &[u8]) -> bool {
    rules.routes.resolve(head.path.as_bytes(), decoded) != Destination::Login
        && rules.routes.is_login_variant(decoded)
        && (cross_site::changes_state(head.method)
            || cross_site::overrides_method(head.headers)
            || has_body(head.headers))
}

/// The destination; returns whether that is the app. What may become of the request is left out where it `is_decided` later.
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
        Destination::Login => Own::post("login", "200 with the user object, and both cookies"),
        Destination::Logout => Own::post("logout", "204, and both cookies cleared"),
        Destination::BackchannelLogout => {
            Own::post("back-channel logout", "200, for a logout token of the provider")
        }
        Destination::FusionAuthWebhook => Own::post("FusionAuth's webhook", "200, for a signed event"),
        Destination::User => Own {
            name: "user",
            methods: &["GET", "HEAD"],
            answer: format!("200 with the user object, or {} not_logged_in", app.user.anonymous_status),
        },
    };
    endpoint(steps, head.method, &own, is_decided);
    if own.name == "login" {
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
    if passes_as_preflight(head) {
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

fn endpoint(steps: &mut Steps, method: &Method, own: &Own, is_decided: bool) {
    let Own { name, methods, answer } = own;
    steps.add("endpoint", &format!("{name}, served by the gateway itself"));
    if method == Method::OPTIONS && matches!(*name, "login" | "logout" | "user") {
        steps.add("preflight", PREFLIGHT);
    }
    if is_decided {
        return;
    }
    if methods.contains(&method.as_str()) {
        steps.add("answer", answer);
    } else {
        steps.answer(&format!("405 method_not_allowed, use {}", methods.join(" or ")), "method");
    }
}

/// What the app would see.
pub(super) fn forwarding(steps: &mut Steps, app: &App, rules: &AppRules, head: &RequestHead<'_>) {
    let Ok(decoded) = path::decode(head.path) else { return };
    let addresses: Vec<_> = app.upstreams.iter().map(ToString::to_string).collect();
    steps.add("upstream", &addresses.join(", "));
    let destination = rules.routes.resolve(head.path.as_bytes(), &decoded);
    let is_public = matches!(destination, Destination::App(Rule { access: Access::Public, .. }));
    let identified = !is_public && !passes_as_preflight(head);
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

/// What an `OPTIONS` needs to be one.
const PREFLIGHT: &str =
    "with `Origin`, `Access-Control-Request-Method` and no body it goes to the app without a session";

/// Whether the gateway takes it for a CORS preflight.
fn passes_as_preflight(head: &RequestHead<'_>) -> bool {
    !cross_site::overrides_method(head.headers) && is_preflight(head.method, head.headers)
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public: everyone, the session is not looked at",
        Access::Optional => "optional: everyone, with the identity where there is a session",
        Access::Required => "required: only with a session",
    }
}
