//! `portcullis explain`: which app, route and access a request gets, and what the app would see. Makes no connection.

use std::fmt::Write as _;

use http::Method;
use url::Url;

use crate::access::decision::Reason;
use crate::access::routes::{Destination, Routes};
use crate::access::{cross_site, path};
use crate::config::{Access, App, Config};
use crate::reason::ReasonCode;

/// Why a request cannot be explained.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExplainError {
    /// Not a method.
    #[error("`{0}` is not a request method")]
    Method(String),
    /// Not a URL with a host.
    #[error("`{0}` is not an http or https URL")]
    Url(String),
}

/// Explains a request.
pub fn explain(config: &Config, method: &str, url: &str) -> Result<String, ExplainError> {
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
        .map_err(|_| ExplainError::Method(method.to_owned()))?;
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let host = parsed.as_ref().and_then(Url::host_str).ok_or_else(|| ExplainError::Url(url.to_owned()))?;
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let mut text = format!("{method} {url}\n");
    let Some(app) = config.apps.iter().find(|app| app.hosts.contains(&host)) else {
        line(&mut text, "app", &format!("none has the host `{host}`"));
        line(&mut text, "answer", "404 unknown_host");
        line(&mut text, "reason", ReasonCode::UnknownHost.as_str());
        return Ok(text);
    };
    line(&mut text, "app", &format!("{} (host `{host}`)", app.name));
    if matches!(method, Method::TRACE | Method::CONNECT) {
        line(&mut text, "answer", "405 method_not_allowed, on every path");
        return Ok(text);
    }
    // The path as it was typed: `Url` would resolve dot segments, which the gateway refuses.
    let raw = raw_path(url);
    match path::decode(raw) {
        Err(error) => {
            line(&mut text, "path", &error.to_string());
            line(&mut text, "answer", "400 bad_request");
            line(&mut text, "reason", Reason::from(error).code().as_str());
        }
        Ok(decoded) => {
            let routes = Routes::new(app);
            let found = routes.resolve(raw.as_bytes(), &decoded);
            let is_variant = found != Destination::Login && routes.is_login_variant(&decoded);
            if is_variant && cross_site::changes_state(&method) {
                line(
                    &mut text,
                    "path",
                    "a spelling of the login path that could bring a password to the app",
                );
                line(&mut text, "answer", "400 bad_request");
                line(&mut text, "reason", ReasonCode::LoginVariant.as_str());
            } else {
                destination(&mut text, app, &method, found);
            }
        }
    }
    Ok(text)
}

fn raw_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/")
}

fn destination(text: &mut String, app: &App, method: &Method, destination: Destination<'_>) {
    let rule = match destination {
        Destination::Login => {
            return own(text, "login", method, &["POST"], "200 with the user object, and both cookies");
        }
        Destination::Logout => {
            return own(text, "logout", method, &["POST"], "204, and both cookies cleared");
        }
        Destination::BackchannelLogout => {
            return own(
                text,
                "back-channel logout",
                method,
                &["POST"],
                "200, for a logout token of the provider",
            );
        }
        Destination::FusionAuthWebhook => {
            return own(text, "FusionAuth's webhook", method, &["POST"], "200, for a signed event");
        }
        Destination::User => {
            let answer = format!("200 with the user object, or {} not_logged_in", app.user.anonymous_status);
            return own(text, "user", method, &["GET", "HEAD"], &answer);
        }
        Destination::App(rule) => rule,
    };
    match rule.index.and_then(|index| Some((index, app.routes.get(index)?))) {
        Some((index, route)) => line(text, "route", &format!("{} `{}`", index + 1, route.path)),
        None => line(text, "route", "none matches, so access is `required`"),
    }
    if method == Method::OPTIONS {
        line(text, "access", "OPTIONS is passed on without a session");
    } else {
        line(text, "access", access(rule.access));
        if !rule.roles.is_empty() {
            line(text, "roles", &format!("any of {}", rule.roles.join(", ")));
        }
        match rule.access {
            Access::Required if rule.roles.is_empty() => line(text, "otherwise", "401 not_logged_in"),
            Access::Required => line(text, "otherwise", "401 not_logged_in, 403 forbidden"),
            Access::Public | Access::Optional => {}
        }
    }
    upstream(text, app, method, rule.access);
}

fn own(text: &mut String, endpoint: &str, method: &Method, methods: &[&str], answer: &str) {
    line(text, "endpoint", &format!("{endpoint}, served by the gateway itself"));
    if method == Method::OPTIONS && matches!(endpoint, "login" | "logout" | "user") {
        line(text, "preflight", "with Access-Control-Request-Method and no body it goes to the app");
    }
    if methods.contains(&method.as_str()) {
        line(text, "answer", answer);
    } else {
        line(text, "answer", &format!("405 method_not_allowed, use {}", methods.join(" or ")));
    }
}

fn upstream(text: &mut String, app: &App, method: &Method, access: Access) {
    let addresses: Vec<_> = app.upstreams.iter().map(ToString::to_string).collect();
    line(text, "upstream", &addresses.join(", "));
    let identified = access != Access::Public && method != Method::OPTIONS;
    for header in app.identity_headers.iter().filter(|_| identified) {
        line(text, "header", &format!("{}: claim `{}`", header.display_name, header.claim));
    }
    if identified && app.forward_access_token {
        line(text, "header", "Authorization: Bearer <JWT>");
    }
    line(text, "header", "X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded");
    let cookies = format!("{}, {}", app.cookies.access_token, app.cookies.refresh_token);
    line(
        text,
        "removed",
        &format!("cookies {cookies}; a client's own headers of these names in any spelling"),
    );
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public: everyone, the session is not looked at",
        Access::Optional => "optional: everyone, with the identity where there is a session",
        Access::Required => "required: only with a session",
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<10} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [identity_providers.main]
        issuer = "https://id.example.com"
        [apps.store]
        hosts = ["store.example.com"]
        upstreams = ["http://127.0.0.1:3001"]
        client_id = "store"
        client_secret = "s"
        forward_access_token = true
        backchannel_logout.path = "/api/ended"
        [[apps.store.routes]]
        path = "/"
        access = "public"
        [[apps.store.routes]]
        path = "/admin/*"
        access = "required"
        roles = ["admin", "staff"]
    "#;

    fn explained(method: &str, url: &str) -> String {
        explain(&crate::config::parse(CONFIG).unwrap().config, method, url).unwrap()
    }

    #[test]
    fn a_route_with_roles() {
        insta::assert_snapshot!(explained("get", "https://store.example.com/admin/orders?page=2"), @r"
        GET https://store.example.com/admin/orders?page=2
          app        store (host `store.example.com`)
          route      2 `/admin/*`
          access     required: only with a session
          roles      any of admin, staff
          otherwise  401 not_logged_in, 403 forbidden
          upstream   http://127.0.0.1:3001
          header     X-Auth-User: claim `sub`
          header     X-Auth-Email: claim `email`
          header     X-Auth-Roles: claim `roles`
          header     Authorization: Bearer <JWT>
          header     X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded
          removed    cookies __Host-access_token, __Host-refresh_token; a client's own headers of these names in any spelling
        ");
    }

    #[test]
    fn what_the_gateway_answers_itself() {
        let answers = [
            ("GET", "https://other.example.com/", "404 unknown_host"),
            ("GET", "https://store.example.com/a/../b", "400 bad_request"),
            ("GET", "https://store.example.com/a/../b", "path_dot_segment"),
            ("POST", "https://store.example.com/API/Login/", "login_variant"),
            ("POST", "https://store.example.com/API/Login/", "400 bad_request"),
            ("POST", "https://store.example.com/api/login", "200 with the user object"),
            ("GET", "https://store.example.com/api/login", "405 method_not_allowed"),
            ("GET", "https://store.example.com/api/user", "404 not_logged_in"),
            ("POST", "https://store.example.com/api/logout", "204"),
            ("POST", "https://store.example.com/api/ended", "200, for a logout token of the provider"),
            ("OPTIONS", "https://store.example.com/api/ended", "405 method_not_allowed"),
            ("TRACE", "https://store.example.com/", "405 method_not_allowed"),
        ];
        for (method, url, expected) in answers {
            let text = explained(method, url);
            assert!(text.contains("answer") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_explained() {
        let config = crate::config::parse(CONFIG).unwrap().config;
        for url in ["store.example.com/x", "ftp://store.example.com/", "https://", ""] {
            assert_eq!(explain(&config, "GET", url), Err(ExplainError::Url(url.to_owned())));
        }
        let unreadable = explain(&config, "GE T", "https://store.example.com/");
        assert_eq!(unreadable, Err(ExplainError::Method("GE T".to_owned())));
    }
}
