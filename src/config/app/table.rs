//! `[apps.*]`: the tables of one app.

use std::time::Duration;

use crate::config::app::cookies::{Cookies, cookies};
use crate::config::app::endpoints::{BackchannelLogout, Login, Logout, User, endpoints};
use crate::config::app::hosts::hosts;
use crate::config::app::identity_headers::{IdentityHeader, identity_headers};
use crate::config::app::routes::{Route, routes};
use crate::config::app::upstreams::{
    HealthCheck, Timeouts, Upstream, UpstreamTls, health_check, timeouts, upstream_tls, upstreams,
};
use crate::config::identity_provider::ReadProvider;
use crate::config::identity_provider_settings::ClientAuthentication;
use crate::config::quoting::{list, quote};
use crate::config::reader::{Item, Section, boolean};
use crate::config::secret::{Secret, secret};
use crate::config::token_parameters::{self, TokenParameter};
use crate::config::toml_tree::Value;
use crate::config::values::claim::{ClaimPath, literal_claim_path};
use crate::config::values::duration::duration;
use crate::config::values::size::size;
use crate::config::values::url::origin;
use crate::config::values::{is_table_name, plain_text};
use crate::config::webhook::{self, Webhook};

/// `[apps.NAME]`.
#[derive(Debug, Clone)]
pub struct App {
    /// The table's name.
    pub name: String,
    /// Host names in lower case, without a port. IPv6 addresses have no brackets and are in canonical form.
    pub hosts: Vec<String>,
    /// The app's upstreams. There is at least one.
    pub upstreams: Vec<Upstream>,
    /// The provider's index in `Config::identity_providers`.
    pub identity_provider: usize,
    /// The client at the provider.
    pub client_id: String,
    /// The client's secret. A public client has `None`.
    pub client_secret: Option<Secret>,
    /// One of these must be in `aud`. If the list is empty, the default rule applies (docs/behaviour.md, verification).
    pub audience: Vec<String>,
    /// The clients whose tokens the app accepts. The claims `azp`, `client_id`, `cid` and `appid` name them.
    pub authorized_parties: Vec<String>,
    /// The claim with the roles.
    pub roles_claim: ClaimPath,
    /// The parameters of the password and refresh grants: those of the provider and those of the app.
    pub token_parameters: Vec<TokenParameter>,
    /// `[apps.NAME.login]`.
    pub login: Login,
    /// `[apps.NAME.user]`.
    pub user: User,
    /// `[apps.NAME.logout]`.
    pub logout: Logout,
    /// `[apps.NAME.backchannel_logout]`. `None` means that there is no such endpoint.
    pub backchannel_logout: Option<BackchannelLogout>,
    /// The provider's webhook, [`Webhook::NAME`]; `None`: there is no such endpoint.
    pub webhook: Option<Webhook>,
    /// `[apps.NAME.cookies]`.
    pub cookies: Cookies,
    /// `[apps.NAME.identity_headers]`, in the file's order.
    pub identity_headers: Vec<IdentityHeader>,
    /// The largest size of one identity header, in bytes. A longer one is left out.
    pub max_identity_header_size: usize,
    /// If true, the app also receives `Authorization: Bearer <JWT>`.
    pub forward_access_token: bool,
    /// Origins besides the app's own that may send state-changing requests, as `scheme://host[:port]` in lower case.
    pub allowed_origins: Vec<String>,
    /// `[[apps.NAME.routes]]`. The first route that matches counts.
    pub routes: Vec<Route>,
    /// `[apps.NAME.upstream_tls]`: the verification of `https` upstreams.
    pub upstream_tls: UpstreamTls,
    /// The time between two regular look-ups of the upstreams' host names.
    pub resolve_interval: Duration,
    /// `[apps.NAME.timeouts]`.
    pub timeouts: Timeouts,
    /// `[apps.NAME.health_check]`.
    pub health_check: HealthCheck,
}

impl App {
    /// Returns the names of the app's token parameters. People may see the names, but not the values.
    pub fn token_parameter_names(&self) -> Vec<&str> {
        self.token_parameters.iter().map(|parameter| parameter.name.as_str()).collect()
    }
}

/// An app for the checks that look at the whole file. Parts that could not be read are `None`.
pub(crate) struct ReadApp<'a> {
    pub(crate) section: Section<'a>,
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) upstreams: Option<Vec<Upstream>>,
    pub(crate) cookies: Option<Cookies>,
    /// The index of the provider.
    pub(crate) identity_provider: Option<usize>,
    pub(crate) app: Option<App>,
}

/// Reads all apps, in the order of the file.
pub(crate) fn apps<'a>(root: &Section<'a>, providers: &[ReadProvider<'_>]) -> Vec<ReadApp<'a>> {
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
    let (hosts, upstreams) = (hosts(&section), upstreams(&section));
    let identity_provider = identity_provider(&section, providers);
    let cookies = cookies(&section, hosts.as_deref().unwrap_or_default());
    let mut read = ReadApp { section, hosts, upstreams, cookies, identity_provider, app: None };
    read.app = rest(name, &read, providers);
    read
}

/// Reads all keys that need no comparison with other apps.
fn rest(name: &str, read: &ReadApp<'_>, providers: &[ReadProvider<'_>]) -> Option<App> {
    let section = &read.section;
    let provider = read.identity_provider.and_then(|index| providers.get(index));
    let registration = registration(section, provider);
    let roles_claim = section.defaulted("roles_claim", "\"roles\"", literal_claim_path);
    let forward_access_token = section.defaulted("forward_access_token", "false", boolean);
    let allowed_origins = section.defaulted("allowed_origins", "[]", |item| {
        item.each("write a list of origins, such as `[\"https://shop.example.com\"]`", origin)
    });
    let endpoints = endpoints(section);
    let provider = provider.and_then(|read| read.provider.as_ref());
    if let (Some(Some(webhook)), Some(provider)) = (&endpoints.webhook, provider) {
        webhook::check(section, webhook, provider);
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

    let Registration { client_id, client_secret, audience, authorized_parties } = registration?;
    Some(App {
        name: name.to_owned(),
        hosts: read.hosts.clone()?,
        upstreams: read.upstreams.clone()?,
        identity_provider: read.identity_provider?,
        client_id,
        client_secret,
        audience,
        authorized_parties,
        roles_claim: roles_claim?,
        token_parameters: token_parameters?,
        login: endpoints.login?,
        user: endpoints.user?,
        logout: endpoints.logout?,
        backchannel_logout: endpoints.backchannel_logout?,
        webhook: endpoints.webhook?,
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

/// Returns the index of the app's provider. The file need not name the provider if there is only one.
fn identity_provider(section: &Section<'_>, providers: &[ReadProvider<'_>]) -> Option<usize> {
    let names: Vec<&str> = providers.iter().map(|provider| provider.name).collect();
    let hint = format!("write one of {}", list(&names));
    let chosen = section.optional("identity_provider", "the only one there is", |item| {
        let name = item.text("a string", &hint)?;
        match names.iter().position(|known| *known == name) {
            Some(index) => Some(index),
            // Another error already says that there are no providers.
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

/// The registration of the app at its provider: its client, and the tokens that the app accepts.
struct Registration {
    client_id: String,
    client_secret: Option<Secret>,
    audience: Vec<String>,
    authorized_parties: Vec<String>,
}

fn registration(section: &Section<'_>, provider: Option<&ReadProvider<'_>>) -> Option<Registration> {
    let client_id = section.required(
        "client_id",
        "write the id of the app's client at the identity provider",
        plain_text,
    );
    let client_secret = section.optional("client_secret", "a public client", secret);
    if let Some(provider) = provider {
        check_client(section, provider, client_id.as_deref(), client_secret.is_none());
    }
    let audience =
        section.optional("audience", "`aud` has the client id, or the token was issued to it", audience);
    let authorized_parties = section.optional("authorized_parties", "the client id", |item| {
        item.some("list client ids, or leave the key out", plain_text)
    });
    let client_id = client_id?;
    Some(Registration {
        client_secret: client_secret?,
        audience: audience?.unwrap_or_default(),
        authorized_parties: authorized_parties?.unwrap_or_else(|| vec![client_id.clone()]),
        client_id,
    })
}

/// Reports a missing secret if the provider's `client_auth` needs one, and a needless secret if it does not.
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

/// Reads a string or a list of strings.
fn audience(item: &Item<'_>) -> Option<Vec<String>> {
    const HINT: &str =
        "write a string or a list of strings, or leave the key out for the client's own tokens";
    match item.value() {
        Value::Text(_) => plain_text(item).map(|audience| vec![audience]),
        Value::List(_) => item.some(HINT, plain_text),
        _ => item.wrong_type("a string or a list", HINT),
    }
}
