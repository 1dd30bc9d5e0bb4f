//! Secrets: the one place that reads the environment. No message shows a secret.

use super::model::Secret;
use super::reader::Item;
use super::tree::Value;

/// More than any secret needs.
const LARGEST_FILE: usize = 64 * 1024;

const FORMS: &str = "write `{ env = \"NAME\" }` or `{ file = \"/run/secrets/name\" }`";

/// `{ env = "NAME" }`, `{ file = "path" }`, or a plain string with a warning.
pub(super) fn secret(item: &Item<'_>) -> Option<Secret> {
    let secret = match item.value() {
        Value::Text(text) => {
            item.warn("the secret stands in the file itself", FORMS);
            Secret::new(text.as_str())
        }
        Value::Table(entries) => match entries.as_slice() {
            [entry] => match (entry.key.as_str(), &entry.node.value) {
                ("env", Value::Text(name)) => from_environment(item, name)?,
                ("file", Value::Text(path)) => from_file(item, path)?,
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
    item.report.secret(item.path(), secret.expose());
    Some(secret)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn from_environment(item: &Item<'_>, name: &str) -> Option<Secret> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_name {
        // Not shown: someone may have put the secret itself here.
        return item.fault("`env` is not the name of an environment variable", FORMS);
    }
    match std::env::var(name) {
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
    let contents = match item.report.read(path) {
        Ok(contents) => contents,
        Err(error) => {
            return item.fault(
                format!("the file `{path}` cannot be read: {error}"),
                "check its path and that Portcullis may read it",
            );
        }
    };
    if contents.len() > LARGEST_FILE {
        return item.fault(
            format!("the file `{path}` is larger than 64 KiB"),
            "name a file that has the secret alone",
        );
    }
    let Ok(text) = std::str::from_utf8(&contents) else {
        return item.fault(
            format!("the file `{path}` cannot be read: it is not UTF-8"),
            "write the secret as text, such as in base64",
        );
    };
    let line = text.strip_suffix('\n').unwrap_or(text);
    Some(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}
