//! `[identity_providers.*]`.

use std::time::Duration;

use url::Url;

use crate::config::certificate_authorities::authorities;
use crate::config::identity_provider_settings::{ClientAuthentication, IdentityProvider};
use crate::config::outgoing_proxy::{OutgoingProxy, PlainHttp, outgoing_proxy};
use crate::config::provider_kind::{ProviderKind, provider_kind};
use crate::config::provider_logout::{ReadLogout, provider_logout};
use crate::config::quoting::{list, quote};
use crate::config::reader::{Item, Section, boolean};
use crate::config::signatures::signatures;
use crate::config::token_parameters;
use crate::config::values::duration::duration;
use crate::config::values::url::{endpoint, parse_issuer};
use crate::config::values::{is_table_name, plain_text, word};

/// A provider. Parts that could not be read are `None`. Apps may also refer to a faulty provider.
pub(super) struct ReadProvider<'a> {
    pub(super) name: &'a str,
    pub(super) section: Section<'a>,
    /// The client's authentication at the token endpoint and at the revocation endpoint.
    pub(super) client_auth: Option<(ClientAuthentication, ClientAuthentication)>,
    pub(super) provider: Option<IdentityProvider>,
}

/// Reads all providers, in the order of the file.
pub(super) fn identity_providers<'a>(root: &Section<'a>) -> Vec<ReadProvider<'a>> {
    let table = root.open_section("identity_providers");
    if table.is_empty() {
        let _: Option<()> = root.fault_at(
            "identity_providers",
            "there is no identity provider",
            "add a table such as `[identity_providers.main]` with its `issuer`",
        );
    }
    table.named().into_iter().map(|(name, section)| identity_provider(name, section)).collect()
}

fn identity_provider<'a>(name: &'a str, section: Section<'a>) -> ReadProvider<'a> {
    is_table_name(name, &section);
    let client_auth = client_authentication(&section);
    let provider = read(name, &section, client_auth);
    ReadProvider { name, section, client_auth, provider }
}

fn read(
    name: &str,
    section: &Section<'_>,
    client_auth: Option<(ClientAuthentication, ClientAuthentication)>,
) -> Option<IdentityProvider> {
    let kind = provider_kind(section);
    let issuer = section.required(
        "issuer",
        "write the claim `iss` of the provider's tokens, such as `\"https://id.example.com/realms/shop\"`",
        plain_text,
    );
    let scope = section.optional("scope", "no scope is asked for", scope);
    let token_parameters = token_parameters::of_provider(section);
    let (algorithms, hmac_secret) = signatures(section);
    let access_token_is_id_token = section.defaulted("access_token_is_id_token", "false", boolean);
    let leeway = section.defaulted("leeway", "\"5s\"", |item| duration(item, "0s", "5m"));
    let token_endpoint = section.optional("token_endpoint", "discovered from the issuer", endpoint);
    let logout = provider_logout(section, kind);
    let jwks_uri = section.optional("jwks_uri", "discovered from the issuer", endpoint);
    let connect_timeout = section.defaulted("connect_timeout", "\"2s\"", |item| duration(item, "10ms", "1m"));
    let request_timeout = section.defaulted("request_timeout", "\"5s\"", |item| duration(item, "10ms", "1m"));
    let jwks_refresh = section.defaulted("jwks_refresh", "\"5m\"", |item| duration(item, "10ms", "1d"));
    let jwks_cooldown = section.defaulted("jwks_cooldown", "\"10s\"", |item| duration(item, "10ms", "1h"));
    let refresh_grace = section.defaulted("refresh_grace", "\"0s\"", refresh_grace);
    let allow_insecure_http = section.defaulted("allow_insecure_http", "false", boolean);
    let ca = section.optional("ca", "the machine's authorities", authorities);
    let proxy = outgoing_proxy(section);
    let plain_http = plain_http(allow_insecure_http, proxy.as_ref());

    let addresses = Addresses {
        kind,
        issuer: issuer.as_deref(),
        needs_keys: !matches!(hmac_secret, Some(Some(_))),
        token_endpoint: known(token_endpoint.as_ref()),
        jwks_uri: known(jwks_uri.as_ref()),
        logout: &logout,
    };
    addresses.check(section, plain_http);
    let (at_token, at_revocation) = client_auth?;
    Some(IdentityProvider {
        name: name.to_owned(),
        kind: kind?,
        issuer: issuer?,
        scope: scope?,
        token_parameters: token_parameters?,
        client_auth: at_token,
        revocation_client_auth: at_revocation,
        algorithms: algorithms?,
        hmac_secret: hmac_secret?,
        access_token_is_id_token: access_token_is_id_token?,
        leeway: leeway?,
        token_endpoint: token_endpoint?,
        revocation_endpoint: logout.revocation_endpoint?,
        logout: logout.method?,
        end_session_endpoint: logout.end_session_endpoint?,
        jwks_uri: jwks_uri?,
        connect_timeout: connect_timeout?,
        request_timeout: request_timeout?,
        jwks_refresh: jwks_refresh?,
        jwks_cooldown: jwks_cooldown?,
        refresh_grace: refresh_grace?,
        allow_insecure_http: allow_insecure_http?,
        ca: ca?,
        proxy: proxy?,
    })
}

/// Reads the provider's grace period, and warns if it is too short to be used.
fn refresh_grace(item: &Item<'_>) -> Option<Duration> {
    let grace = duration(item, "0s", "10m")?;
    let margin = IdentityProvider::GRACE_MARGIN;
    if !grace.is_zero() && grace <= margin {
        let margin = margin.as_secs();
        item.warn(
            format!(
                "it changes nothing: a refresh is repeated only until `{margin}s` before the end of this time"
            ),
            "set a longer grace period at the provider and here, such as `\"10s\"`, or leave the key out",
        );
    }
    Some(grace)
}

/// Returns the machines that may be asked over plain http, if both settings could be read.
fn plain_http(allow_insecure_http: Option<bool>, proxy: Option<&Option<OutgoingProxy>>) -> Option<PlainHttp> {
    let proxy = proxy?.as_ref();
    Some(PlainHttp::new(allow_insecure_http?, proxy.map(|proxy| &proxy.url)))
}

/// The URLs of a provider. A URL that could not be read is `None`.
struct Addresses<'a> {
    kind: Option<ProviderKind>,
    issuer: Option<&'a str>,
    needs_keys: bool,
    token_endpoint: Option<&'a Url>,
    jwks_uri: Option<&'a Url>,
    logout: &'a ReadLogout,
}

impl Addresses<'_> {
    fn check(&self, section: &Section<'_>, plain_http: Option<PlainHttp>) {
        if let (Some(kind), Some(issuer)) = (self.kind, self.issuer) {
            let endpoint = self.logout.endpoint_key();
            let to_find = to_find(section, kind, self.token_endpoint, self.needs_keys, endpoint);
            check_issuer(section, issuer, &to_find, plain_http.unwrap_or(PlainHttp::Anybody));
        }
        let endpoints = [
            ("token_endpoint", self.token_endpoint),
            ("revocation_endpoint", known(self.logout.revocation_endpoint.as_ref())),
            ("end_session_endpoint", known(self.logout.end_session_endpoint.as_ref())),
            ("jwks_uri", self.jwks_uri),
        ];
        if let Some(plain_http) = plain_http {
            check_endpoints(section, plain_http, &endpoints);
        }
    }
}

/// Returns the URL of a key, if the file has the key and the URL could be read.
fn known(url: Option<&Option<Url>>) -> Option<&Url> {
    url.and_then(Option::as_ref)
}

fn client_authentication(section: &Section<'_>) -> Option<(ClientAuthentication, ClientAuthentication)> {
    let read = |item: &Item<'_>| {
        word(
            item,
            &[
                ("basic", ClientAuthentication::Basic),
                ("basic_raw", ClientAuthentication::BasicRaw),
                ("post", ClientAuthentication::Post),
                ("none", ClientAuthentication::None),
            ],
        )
    };
    let at_token = section.defaulted("client_auth", "\"basic\"", read);
    let at_revocation = section.optional("revocation_client_auth", "as `client_auth`", read);
    let at_token = at_token?;
    Some((at_token, at_revocation?.unwrap_or(at_token)))
}

/// Reads scopes, which are tokens separated by single spaces (RFC 6749 section 3.3).
fn scope(item: &Item<'_>) -> Option<String> {
    const HINT: &str =
        "write scopes separated by single spaces, such as `\"openid offline_access\"`, or leave the key out";
    let text = item.text("a string", HINT)?;
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
    };
    if text.len() > 2048 || !text.split(' ').all(is_token) {
        return item.fault(format!("{} is not a scope", quote(text)), HINT);
    }
    Some(text.to_owned())
}

/// The endpoints that must be discovered from the issuer. Portcullis cannot work without the `needed` ones.
struct ToFind {
    needed: Vec<&'static str>,
    /// If true, Portcullis asks the issuer. It may then find no revocation endpoint, because that one is not needed.
    asks_issuer: bool,
}

fn to_find(
    section: &Section<'_>,
    kind: ProviderKind,
    token_endpoint: Option<&Url>,
    needs_keys: bool,
    logout_endpoint: &'static str,
) -> ToFind {
    if token_endpoint.is_some_and(|url| kind.finds_all_beside(url)) {
        return ToFind { needed: Vec::new(), asks_issuer: false };
    }
    let all: &[&'static str] = if needs_keys { &["token_endpoint", "jwks_uri"] } else { &["token_endpoint"] };
    // A user of `end_session` wants other clients to learn of a logout. So it must not go unnoticed if there is no
    // endpoint.
    let logout = (logout_endpoint == "end_session_endpoint").then_some(logout_endpoint);
    let needed: Vec<&'static str> =
        all.iter().copied().chain(logout).filter(|key| !section.has(key)).collect();
    let asks_issuer = !needed.is_empty() || !section.has(logout_endpoint);
    ToFind { needed, asks_issuer }
}

/// Checks the issuer. Endpoints that are not configured must be discovered from the issuer, so the issuer must be a
/// URL, and the URL must be confidential. If all needed endpoints are configured, the issuer is only a name. For
/// example, ADFS has `http://HOST/adfs/services/trust`, where nobody answers.
fn check_issuer(section: &Section<'_>, issuer: &str, to_find: &ToFind, plain_http: PlainHttp) {
    const REVOKES_NOTHING: &str = "set it, if the provider has one";
    match parse_issuer(issuer) {
        Ok(url) if !to_find.needed.is_empty() => {
            let names = list(&to_find.needed);
            let hint = format!(
                "use `https`, or set {names} if the issuer is a name and no address, or `allow_insecure_http = true` where \
                 the network itself is trusted"
            );
            check_confidential(section, "issuer", Some(&url), plain_http, &hint);
        }
        Ok(url) if to_find.asks_issuer && !plain_http.permits(&url) => section.warn_at(
            "revocation_endpoint",
            "it is not discovered, since the issuer is not asked over `http`: a logout will revoke nothing",
            REVOKES_NOTHING,
        ),
        Err((message, hint)) if !to_find.needed.is_empty() => {
            let names = list(&to_find.needed);
            let _: Option<()> = section.fault_at(
                "issuer",
                format!("{message}; so {names} cannot be found from it"),
                format!("{hint}, or set {names}"),
            );
        }
        Err(_) if to_find.asks_issuer => section.warn_at(
            "revocation_endpoint",
            "it cannot be discovered, since the issuer is no URL: a logout will revoke nothing",
            REVOKES_NOTHING,
        ),
        _ => {}
    }
}

fn check_endpoints(section: &Section<'_>, plain_http: PlainHttp, endpoints: &[(&str, Option<&Url>)]) {
    const HINT: &str = "use `https`, or set `allow_insecure_http = true` where the network itself is trusted";
    if plain_http == PlainHttp::Anybody {
        section.warn_at(
            "allow_insecure_http",
            "passwords, tokens and client secrets may cross the network in clear",
            "use `https` and leave `allow_insecure_http` out",
        );
        return;
    }
    for (key, url) in endpoints {
        check_confidential(section, key, *url, plain_http, HINT);
    }
}

fn check_confidential(
    section: &Section<'_>,
    key: &str,
    url: Option<&Url>,
    plain_http: PlainHttp,
    hint: &str,
) {
    if let Some(url) = url.filter(|url| !plain_http.permits(url)) {
        let whom = match plain_http {
            PlainHttp::Nobody => "a proxy on another machine",
            PlainHttp::Anybody | PlainHttp::ThisMachine => "another machine",
        };
        let _: Option<()> = section.fault_at(
            key,
            format!("{} sends passwords and tokens in clear to {whom}", quote(url.as_str())),
            hint,
        );
    }
}
