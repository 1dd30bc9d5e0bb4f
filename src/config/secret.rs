//! Secrets. Only this file reads the environment. No message ever shows a secret.

use crate::config::placeholder::StandIn;
use crate::config::reader::Item;
use crate::config::toml_tree::Value;
use crate::syntax::redacted::SecretText;
use crate::system::file::{Unreadable, text};

/// A secret from the configuration. It is never shown, and is zeroised on drop.
#[derive(Debug, Clone)]
pub struct Secret(SecretText);

impl Secret {
    /// Makes a secret from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretText::from(text.into()))
    }

    /// Returns the secret's text. Only the code that uses the secret may call this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The largest size of a secret's file. No secret needs more.
const LARGEST_FILE: u64 = 64 * 1024;

const FORMS: &str = "write `{ env = \"NAME\" }` or `{ file = \"/run/secrets/name\" }`";

/// Reads `{ env = "NAME" }`, `{ file = "path" }`, or a plain string with a warning.
pub(super) fn secret(item: &Item<'_>) -> Option<Secret> {
    let (secret, place) = match item.value() {
        Value::Text(text) => (Secret::new(text.as_str()), None),
        Value::Table(entries) => match entries.as_slice() {
            [entry] => match (entry.key.as_str(), &entry.node.value) {
                ("env", Value::Text(name)) => {
                    (from_environment(item, name)?, Some(format!("the environment variable `{name}`")))
                }
                ("file", Value::Text(path)) => {
                    (from_file(item, path)?, Some(format!("what the file `{path}` holds")))
                }
                ("env" | "file", _) => {
                    return item.fault(format!("`{}` of a secret is not a string", entry.key), FORMS);
                }
                _ => return item.fault("a secret has exactly one of the keys `env` and `file`", FORMS),
            },
            _ => return item.fault("a secret has exactly one of the keys `env` and `file`", FORMS),
        },
        other => return item.fault(format!("this is {}, but a secret is expected", other.kind()), FORMS),
    };
    if secret.expose().is_empty() {
        return item.fault("the secret is empty", "give it a value, or leave the key out");
    }
    if secret.expose().chars().any(char::is_control) {
        return item.fault(
            "the secret has a line break or another control character in it",
            "remove it; one line break at the end of a file is fine",
        );
    }
    match (StandIn::of(secret.expose()), place) {
        (Some(stands), None) => item.warn(format!("the secret {}", stands.message()), FORMS),
        (Some(stands), Some(place)) => {
            item.warn(format!("{place} {}", stands.message()), "put the secret itself there");
        }
        (None, None) => item.warn("the secret stands in the file itself", FORMS),
        (None, Some(_)) => {}
    }
    item.report.secret(item.path(), secret.expose());
    Some(secret)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn from_environment(item: &Item<'_>, name: &str) -> Option<Secret> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_name {
        // The text is not shown, because somebody may have put the secret itself here.
        return item.fault(
            "`env` is not the name of an environment variable",
            "write the name alone, without `$` and braces: `{ env = \"NAME\" }`",
        );
    }
    match std::env::var(name) {
        Ok(text) if text.is_empty() => item.fault(
            format!("the environment variable `{name}` is empty"),
            format!("give `{name}` its value in the environment of Portcullis"),
        ),
        Ok(text) => Some(Secret::new(text)),
        Err(std::env::VarError::NotPresent) => item.fault(
            format!("the environment variable `{name}` is not set"),
            format!("set `{name}` in the environment of Portcullis"),
        ),
        Err(std::env::VarError::NotUnicode(_)) => {
            item.fault(format!("the environment variable `{name}` is not UTF-8"), "use a secret in UTF-8")
        }
    }
}

fn from_file(item: &Item<'_>, path: &str) -> Option<Secret> {
    if path.is_empty() {
        return item.fault("`file` is empty", "write the path: `{ file = \"/run/secrets/name\" }`");
    }
    let contents = item.report.read(path).and_then(|contents| {
        let is_too_large = u64::try_from(contents.len()).is_ok_and(|length| length > LARGEST_FILE);
        if is_too_large { Err(Unreadable::TooLarge(LARGEST_FILE)) } else { Ok(contents) }
    });
    let text = contents.and_then(|contents| text(&contents));
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            let hint = match error {
                Unreadable::TooLarge(_) => "name a file that has the secret alone",
                Unreadable::Binary(_) => {
                    "put a text into it: `openssl rand -base64 32` makes one, `openssl rand 32` does not"
                }
                _ => error.hint(),
            };
            return item.fault(format!("the file `{path}` cannot be read: {error}"), hint);
        }
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return item.fault(format!("the file `{path}` is empty"), "put the secret into it");
    }
    Some(Secret::new(line))
}
