//! `token_parameters` of `[identity_providers.*]` and of `[apps.*]`: further parameters that a token endpoint needs.

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::secret::{Secret, secret};
use crate::config::toml_tree::Value;

/// A parameter of the password and refresh grants, such as `audience` (Auth0) or `resource` (RFC 8707).
#[derive(Debug, Clone)]
pub struct TokenParameter {
    /// Its name.
    pub name: String,
    /// The values. The parameter is sent once for each.
    pub values: Vec<ParameterValue>,
}

/// A value of a [`TokenParameter`].
#[derive(Debug, Clone)]
pub struct ParameterValue {
    /// The text that is sent.
    pub text: Secret,
    /// If true, the value came from the environment or a file, so nothing shows it.
    pub is_secret: bool,
}

/// The parameters of the grants and of the client's authentication (RFC 6749 sections 2.3.1, 4.3.2 and 6, RFC 7521
/// section 4.2), each with the key of the configuration that sets it.
const OWN: [(&str, &str); 9] = [
    ("grant_type", "which grant it is cannot be chosen"),
    ("username", "it comes from the login"),
    ("password", "it comes from the login"),
    ("refresh_token", "it comes from the session"),
    ("scope", "write it as `identity_providers.*.scope`"),
    ("client_id", "write it as `apps.*.client_id`"),
    ("client_secret", "write it as `apps.*.client_secret`"),
    ("client_assertion", "`client_auth` says how clients authenticate"),
    ("client_assertion_type", "`client_auth` says how clients authenticate"),
];

/// The largest size of a value, in bytes.
const LONGEST: usize = 4096;

/// Reads the provider's parameters.
pub(super) fn of_provider(section: &Section<'_>) -> Option<Vec<TokenParameter>> {
    read(section, false)
}

/// Reads the app's parameters and merges them into the provider's. An empty list removes a parameter.
pub(super) fn of_app(
    section: &Section<'_>,
    provider: Option<&[TokenParameter]>,
) -> Option<Vec<TokenParameter>> {
    let own = read(section, true)?;
    let is_own = |parameter: &&TokenParameter| own.iter().any(|other| other.name == parameter.name);
    let kept = provider.unwrap_or_default().iter().filter(|parameter| !is_own(parameter)).cloned();
    let mut parameters: Vec<_> = kept.collect();
    parameters.extend(own.into_iter().filter(|parameter| !parameter.values.is_empty()));
    Some(parameters)
}

fn read(section: &Section<'_>, may_be_empty: bool) -> Option<Vec<TokenParameter>> {
    section.record("token_parameters", "{}");
    let mut parameters = Vec::new();
    let mut is_sound = true;
    for (name, item) in section.open_section("token_parameters").values() {
        match usable_name(name, &item).and_then(|()| values(&item, may_be_empty)) {
            Some(values) => parameters.push(TokenParameter { name: name.to_owned(), values }),
            None => is_sound = false,
        }
    }
    is_sound.then_some(parameters)
}

/// Checks a name without regard to case, because some servers ignore case.
fn usable_name(name: &str, item: &Item<'_>) -> Option<()> {
    if let Some((own, hint)) = OWN.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)) {
        return item.fault(format!("`{own}` is a parameter that Portcullis sends itself"), *hint);
    }
    if name.is_empty() || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return item.fault(
            format!("{} is not a parameter's name", quote(name)),
            "write the name as the provider documents it, such as `audience`",
        );
    }
    Some(())
}

const HINT: &str = "write a string, a list of strings to send it several times, or for a secret `{ env = \"NAME\" }` or \
                    `{ file = \"path\" }`";

fn values(item: &Item<'_>, may_be_empty: bool) -> Option<Vec<ParameterValue>> {
    match item.value() {
        Value::Text(_) => Some(vec![plain(text(item)?)]),
        Value::Table(_) => Some(vec![ParameterValue { text: secret(item)?, is_secret: true }]),
        Value::List(nodes) if nodes.is_empty() && may_be_empty => Some(Vec::new()),
        Value::List(_) => Some(item.some(HINT, text)?.into_iter().map(plain).collect()),
        _ => item.wrong_type("a string or a list", HINT),
    }
}

fn plain(text: String) -> ParameterValue {
    ParameterValue { text: Secret::new(text), is_secret: false }
}

fn text(item: &Item<'_>) -> Option<String> {
    let text = item.text("a string", HINT)?;
    // A parameter without a value counts as left out (RFC 6749 section 3.2).
    if text.is_empty() {
        return item.fault("the value is empty", "give it a value, or leave the key out");
    }
    if text.len() > LONGEST || text.chars().any(char::is_control) {
        return item.fault(
            "the value is too long or has control characters",
            "write at most 4096 bytes without control characters",
        );
    }
    Some(text.to_owned())
}
