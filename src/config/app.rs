//! `[apps.*]`: the tables of one app.

use super::cookies::cookies;
use super::endpoints::endpoints;
use super::fusionauth_webhook;
use super::identity_headers::identity_headers;
use super::identity_provider::ReadProvider;
use super::model::{App, ClientAuthentication, Cookies, HealthCheck, Timeouts, Upstream};
use super::reader::{Item, Section, boolean};
use super::routes::routes;
use super::secret::secret;
use super::spelling::{list, quote};
use super::token_parameters;
use super::tree::Value;
use super::values::claim::literal_claim_path;
use super::values::duration::duration;
use super::values::host::host;
use super::values::path::request_path;
use super::values::size::size;
use super::values::url::{origin, upstream};
use super::values::{is_table_name, plain_text};
use crate::config::certificate_authorities::upstream_tls;

/// An app as far as it could be read, for the checks that look at the whole file.
pub(super) struct ReadApp<'a> {
    pub(super) section: Section<'a>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) upstreams: Option<Vec<Upstream>>,
    pub(super) cookies: Option<Cookies>,
    /// Index of the provider.
    pub(super) identity_provider: Option<usize>,
    pub(super) app: Option<App>,
}

/// Every app, in the file's order.
pub(super) fn apps<'a>(root: &Section<'a>, providers: &[ReadProvider<'_>]) -> Vec<ReadApp<'a>> {
    let table = root.open_section("apps");
    if table.is_empty() {
        let _: Option<()> = root.fault_at(
            "apps",
            "there is no app",
            "add a table such as `[apps.store]` with `hosts`, `upstreams` and `client_id`",
        );
    }
    table.named().into_iter().map(|(name, section)| app(name, section, providers)).collect()
}

fn app<'a>(name: &str, section: Section<'a>, providers: &[ReadProvider<'_>]) -> ReadApp<'a> {
    is_table_name(name, &section);
    let hosts = section.required(
        "hosts",
        "list the host names of the app, such as `[\"store.example.com\"]`",
        |item| item.some("list at least one host name, such as `[\"store.example.com\"]`", host),
    );
    let upstreams = section.required(
        "upstreams",
        "list the addresses of the app, such as `[\"http://127.0.0.1:3001\"]`",
        |item| item.some("list at least one address, such as `[\"http://127.0.0.1:3001\"]`", upstream),
    );
    let identity_provider = identity_provider(&section, providers);
    let cookies = cookies(&section, hosts.as_deref().unwrap_or_default());
    let mut read = ReadApp { section, hosts, upstreams, cookies, identity_provider, app: None };
    read.app = rest(name, &read, providers);
    read
}

/// Everything that no other app has to be compared with.
fn rest(name: &str, read: &ReadApp<'_>, providers: &[ReadProvider<'_>]) -> Option<App> {
    let section = &read.section;
    let client_id = section.required(
        "client_id",
        "write the id of the app's client at the identity provider",
        plain_text,
    );
    let client_secret = section.optional("client_secret", "a public client", secret);
    if let Some(provider) = read.identity_provider.and_then(|index| providers.get(index)) {
        check_client(section, provider, client_id.as_deref(), client_secret.is_none());
    }
    let audience =
        section.optional("audience", "`aud` has the client id, or the token was issued to it", audience);
    let authorized_parties = section.optional("authorized_parties", "the client id", |item| {
        item.some("list client ids, or leave the key out", plain_text)
    });
    let roles_claim = section.defaulted("roles_claim", "\"roles\"", literal_claim_path);
    let forward_access_token = section.defaulted("forward_access_token", "false", boolean);
    let allowed_origins = section.defaulted("allowed_origins", "[]", |item| {
        item.each("write a list of origins, such as `[\"https://shop.example.com\"]`", origin)
    });
    let endpoints = endpoints(section);
    let provider = read.identity_provider.and_then(|index| providers.get(index)?.provider.as_ref());
    if let (Some(Some(webhook)), Some(provider)) = (&endpoints.fusionauth_webhook, provider) {
        fusionauth_webhook::check(section, webhook, provider);
    }
    let token_parameters =
        token_parameters::of_app(section, provider.map(|provider| provider.token_parameters.as_slice()));
    let identity_headers = identity_headers(section);
    let max_identity_header_size = section.defaulted("max_identity_header_size", "\"4KiB\"", |item| {
        usize::try_from(size(item, "64B", "16KiB")?).ok()
    });
    let routes = routes(section, &endpoints.paths());
    let upstream_tls = upstream_tls(section, read.upstreams.as_deref());
    let resolve_interval = section.defaulted("resolve_interval", "\"5s\"", |item| duration(item, "1s", "1h"));
    let timeouts = timeouts(section);
    let health_check = health_check(section);

    let client_id = client_id?;
    Some(App {
        name: name.to_owned(),
        hosts: read.hosts.clone()?,
        upstreams: read.upstreams.clone()?,
        identity_provider: read.identity_provider?,
        client_secret: client_secret?,
        audience: audience?.unwrap_or_default(),
        authorized_parties: authorized_parties?.unwrap_or_else(|| vec![client_id.clone()]),
        client_id,
        roles_claim: roles_claim?,
        token_parameters: token_parameters?,
        login: endpoints.login?,
        user: endpoints.user?,
        logout: endpoints.logout?,
        backchannel_logout: endpoints.backchannel_logout?,
        fusionauth_webhook: endpoints.fusionauth_webhook?,
        cookies: read.cookies.clone()?,
        identity_headers: identity_headers?,
        max_identity_header_size: max_identity_header_size?,
        forward_access_token: forward_access_token?,
        allowed_origins: allowed_origins?,
        routes: routes?,
        upstream_tls: upstream_tls?,
        resolve_interval: resolve_interval?,
        timeouts: timeouts?,
        health_check: health_check?,
    })
}

/// The index of the app's provider, which need not be named where there is only one.
fn identity_provider(section: &Section<'_>, providers: &[ReadProvider<'_>]) -> Option<usize> {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name).collect();
    let hint = format!("write one of {}", list(&names));
    let chosen = section.optional("identity_provider", "the only one there is", |item| {
        let name = item.text("a string", &hint)?;
        match names.iter().position(|known| *known == name) {
            Some(index) => Some(index),
            // That there are none at all has been said already.
            None if names.is_empty() => None,
            None => item.fault(format!("there is no identity provider {}", quote(name)), hint.as_str()),
        }
    })?;
    match (chosen, names.len()) {
        (Some(index), _) => Some(index),
        (None, 1) => Some(0),
        (None, 0) => None,
        (None, _) => section.fault_at("identity_provider", "there are several identity providers", hint),
    }
}

/// A secret where the provider's `client_auth` needs one, and none where it does not.
fn check_client(
    section: &Section<'_>,
    provider: &ReadProvider<'_>,
    client_id: Option<&str>,
    faulty_secret: bool,
) {
    let Some((at_token, at_revocation)) = provider.client_auth else { return };
    let is_public = at_token == ClientAuthentication::None && at_revocation == ClientAuthentication::None;
    let client_auth = provider.section.child("client_auth");
    let _: Option<()> = match section.has("client_secret") {
        false if !is_public && !faulty_secret => section.fault_at(
            "client_secret",
            format!("this key is missing, and `{client_auth}` needs it"),
            format!("write `client_secret = {{ env = \"NAME\" }}`, or `{client_auth} = \"none\"` for public clients"),
        ),
        true if is_public => section.fault_at(
            "client_secret",
            format!("`{client_auth}` is `none`: this secret would never be sent"),
            "remove it, or choose `basic`, `basic_raw` or `post`",
        ),
        _ => None,
    };
    let raw = [at_token, at_revocation].contains(&ClientAuthentication::BasicRaw);
    if let Some(id) = client_id.filter(|id| raw && id.contains(':')) {
        let _: Option<()> = section.fault_at(
            "client_id",
            format!("{} has a colon, which `basic_raw` cannot send", quote(id)),
            format!("use `basic` or `post` as `{client_auth}`"),
        );
    }
}

/// A string or a list.
fn audience(item: &Item<'_>) -> Option<Vec<String>> {
    const HINT: &str =
        "write a string or a list of strings, or leave the key out for the client's own tokens";
    match item.value() {
        Value::Text(_) => plain_text(item).map(|audience| vec![audience]),
        Value::List(_) => item.some(HINT, plain_text),
        _ => item.wrong_type("a string or a list", HINT),
    }
}

fn timeouts(app: &Section<'_>) -> Option<Timeouts> {
    let section = app.section("timeouts");
    let connect = section.defaulted("connect", "\"2s\"", |item| duration(item, "10ms", "1m"));
    let response = section.defaulted("response", "\"30s\"", |item| duration(item, "10ms", "1h"));
    let idle = section.defaulted("idle", "\"5m\"", |item| duration(item, "10ms", "1d"));
    Some(Timeouts { connect: connect?, response: response?, idle: idle? })
}

fn health_check(app: &Section<'_>) -> Option<HealthCheck> {
    let section = app.section("health_check");
    let interval = section.defaulted("interval", "\"5s\"", |item| duration(item, "10ms", "1h"));
    let timeout = section.defaulted("timeout", "\"1s\"", |item| duration(item, "10ms", "1m"));
    let path = section.optional("path", "a TCP connection suffices", request_path);
    Some(HealthCheck { interval: interval?, timeout: timeout?, path: path? })
}
