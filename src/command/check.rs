//! `portcullis check` shows how Portcullis understands a valid configuration. A person can compare this with the
//! intention.

use std::fmt::Display;
use std::time::Duration;

use crate::config::{
    Access, App, Config, EngineAddress, EnginePlace, IdentityProvider, Loaded, LogoutMethod, Problem, Route,
    SharedState, Webhook,
};
use crate::session::BodyKind;
use crate::syntax::authority::url_host;

/// Returns the report: listeners, providers, every app with its routes, and the warnings. It shows no secret.
pub fn report(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let mut parts = vec![server(config), sessions(config)];
    parts.extend(config.shared_state.as_ref().map(shared_state));
    parts.extend(config.identity_providers.iter().map(identity_provider));
    parts.extend(config.apps.iter().map(|app| self::app(app, &config.identity_providers)));
    parts.extend(loaded.warnings.iter().map(warning));
    let verdict = match loaded.warnings.len() {
        0 => String::from("the configuration is valid\n"),
        1 => String::from("the configuration is valid, with 1 warning\n"),
        many => format!("the configuration is valid, with {many} warnings\n"),
    };
    parts.push(verdict);
    parts.join("\n")
}

fn server(config: &Config) -> String {
    let admin = config.server.admin_listen.map_or(String::from("none"), |address| address.to_string());
    let proxies = match config.server.trusted_proxies.as_slice() {
        [] => String::from("none"),
        networks => joined(networks),
    };
    let listen = |addresses: &[std::net::SocketAddr]| match addresses {
        [] => String::from("none"),
        addresses => joined(addresses),
    };
    let mut rows = vec![
        row("listen", listen(&config.server.listen)),
        row("listen with TLS", listen(&config.server.listen_tls)),
        row("admin listen", admin),
        row("trusted proxies", proxies),
    ];
    if !config.server.admin_hosts.is_empty() {
        rows.insert(3, row("admin hosts", joined(&config.server.admin_hosts)));
    }
    format!("server\n{}", aligned(&rows))
}

fn sessions(config: &Config) -> String {
    let session = &config.session;
    let cookie = match session.seal_keys.len() {
        0 => String::from("not sealed"),
        1 => String::from("sealed"),
        keys => format!("sealed with the first of {keys} keys"),
    };
    let refresh =
        if session.bind_refresh { "with the JWT of the same session" } else { "with or without a JWT" };
    let lifetime = |limit: Option<Duration>| limit.map_or(String::from("no limit"), time);
    let revocation = match config.server.admin_token {
        Some(_) => "POST /sessions/revoke on the admin listener",
        None => "no `server.admin_token`, so not by an admin call",
    };
    let rows = [
        row("refresh token cookie", cookie),
        row("refresh", refresh),
        row("absolute lifetime", lifetime(session.absolute_lifetime)),
        row("idle lifetime", lifetime(session.idle_lifetime)),
        row("revocation", revocation),
    ];
    format!("sessions\n{}", aligned(&rows))
}

fn shared_state(state: &SharedState) -> String {
    let EngineAddress { place, tls, database } = &state.engine;
    let address = |host: &str, port: u16| format!("{}:{port}", url_host(host));
    let mut rows = match place {
        EnginePlace::Single { host, port } => vec![row("engine", address(host, *port))],
        EnginePlace::Sentinel { sentinels, master } => {
            let sentinels: Vec<_> = sentinels.iter().map(|(host, port)| address(host, *port)).collect();
            vec![row("engine", format!("the master {master}")), row("sentinels", joined(&sentinels))]
        }
    };
    let login = match (&state.username, &state.password) {
        (Some(name), _) => name,
        (None, Some(_)) => "the engine's user default",
        (None, None) => "without a password",
    };
    let keys = match state.keys.len() {
        1 => String::from("1"),
        keys => format!("{keys}, and the first one names and seals"),
    };
    rows.extend([
        row("database", database.to_string()),
        row("TLS", if *tls { "yes" } else { "no" }),
        row("login", login),
        row("keys", keys),
        row("prefix", &state.prefix),
        row("command time-out", time(state.command_timeout)),
        row("copies of a claim", state.wait_replicas.to_string()),
        row("settling", time(state.settle)),
    ]);
    format!("shared state\n{}", aligned(&rows))
}

/// Returns a duration in the largest unit that fits, as a person would write it in the file.
fn time(duration: Duration) -> String {
    if duration.subsec_millis() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = duration.as_secs();
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
    units
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit))
        .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

fn identity_provider(provider: &IdentityProvider) -> String {
    let kind = provider.kind.name();
    let algorithms: Vec<String> =
        provider.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    let mut rows =
        vec![row("kind", kind), row("issuer", &provider.issuer), row("algorithms", joined(&algorithms))];
    if let Some(proxy) = &provider.proxy {
        rows.push(row("proxy", proxy.url.as_str()));
    }
    if provider.logout == LogoutMethod::EndSession {
        rows.push(row("logout", "ends the provider's session"));
    }
    if !provider.refresh_grace.is_zero() {
        rows.push(row("grace of refreshes", time(provider.refresh_grace)));
    }
    format!("identity provider {}\n{}", provider.name, aligned(&rows))
}

fn app(app: &App, providers: &[IdentityProvider]) -> String {
    let provider = providers.get(app.identity_provider).map_or("", |provider| provider.name.as_str());
    let headers: Vec<String> = app
        .identity_headers
        .iter()
        .map(|header| format!("{} = {}", header.display_name, header.claim))
        .collect();
    let mut rows = vec![
        row("hosts", joined(&app.hosts)),
        row("upstreams", joined(&app.upstreams)),
        row("identity provider", provider),
        row("client id", &app.client_id),
        row("login", format!("POST {}", app.login.path)),
        row("login fields", format!("{}, {}", app.login.username_field, app.login.password_field)),
        row(
            "login bodies",
            joined(&BodyKind::OF_LOGINS.iter().map(|kind| kind.media_type()).collect::<Vec<_>>()),
        ),
        row("user", format!("GET {}", app.user.path)),
        row("logout", format!("POST {}", app.logout.path)),
    ];
    if let Some(endpoint) = &app.backchannel_logout {
        rows.push(row("back-channel logout", format!("POST {}", endpoint.path)));
    }
    if let Some(endpoint) = &app.webhook {
        rows.push(row(Webhook::TITLE, format!("POST {}", endpoint.path)));
    }
    if !app.token_parameters.is_empty() {
        rows.push(row("token parameters", joined(&app.token_parameter_names())));
    }
    rows.push(row("cookies", joined(&[&app.cookies.access_token, &app.cookies.refresh_token])));
    rows.push(row("identity headers", joined(&headers)));
    if app.forward_access_token {
        rows.push(row("access token", "forwarded to the app"));
    }
    if !app.allowed_origins.is_empty() {
        rows.push(row("allowed origins", joined(&app.allowed_origins)));
    }
    format!("app {}\n{}\n{}", app.name, aligned(&rows), routes(&app.routes))
}

fn routes(routes: &[Route]) -> String {
    let mut rows = vec![cells(["route", "access", "roles"])];
    rows.extend(
        routes
            .iter()
            .map(|route| cells([&route.path.to_string(), access(route.access), &route.roles.join(" or ")])),
    );
    rows.push(cells(["everything else", access(Access::Required), ""]));
    aligned(&rows)
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Public => "public",
        Access::Optional => "optional",
        Access::Required => "required",
    }
}

fn warning(warning: &Problem) -> String {
    let line = warning.line.map_or(String::new(), |line| format!(" (line {line})"));
    format!("warning: `{}`{line}: {}\n  hint: {}\n", warning.key, warning.message, warning.hint)
}

fn row(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}

fn cells(texts: [&str; 3]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn joined<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the rows of one table, indented. There are two spaces between columns, and no spaces at the end of a line.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("  {}", padded.join("  ").trim_end())
    });
    lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_reference_as_a_table() {
        let loaded = config::parse(include_str!("../../gateway.toml")).unwrap();
        insta::assert_snapshot!(report(&loaded));
    }

    #[test]
    fn what_only_some_configurations_have() {
        let loaded = config::parse(
            r#"
            server = { admin_token = "hunter2hunter2hunter2", trusted_proxies = ["10.1.0.0/16", "192.0.2.7"] }
            [session]
            seal_keys = ["aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=", "aHVudGVyM2h1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ="]
            absolute_lifetime = "12h"
            idle_lifetime = "90m"
            [shared_state]
            url = "valkeys+sentinel://s1.example.com,[::1]:26380/mymaster/2"
            keys = ["aHVudGVyNGh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=", "aHVudGVyNWh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ="]
            username = "gateway"
            password = "hunter2"
            wait_replicas = 1
            [identity_providers.fusion]
            refresh_grace = "30s"
            kind = "fusionauth"
            issuer = "https://fusion.example.com"
            proxy = "http://proxy.example.com:3128"
            proxy_credentials = "hunter2:hunter2"
            client_auth = "none"
            [apps.shop]
            hosts = ["shop.example.com", "[::1]"]
            upstreams = ["https://[::1]:3000", "http://shop.internal"]
            client_id = "shop"
            token_parameters = { audience = "hunter2-a", resource = ["hunter2-b", "hunter2-c"], key = { env = "CARGO_PKG_NAME" } }
            forward_access_token = true
            backchannel_logout.path = "/api/ended"
            fusionauth_webhook.path = "/api/events"
            allowed_origins = ["https://admin.example.com"]
            "#,
        )
        .unwrap();
        insta::assert_snapshot!(report(&loaded));
    }
}
