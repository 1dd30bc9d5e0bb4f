//! Finds variables that nobody has expanded, and placeholders that nobody has replaced. Portcullis expands nothing in
//! the file and takes each text literally. Without this check, the mistake would cause an error later and elsewhere.

use crate::config::quoting::quote;
use crate::config::reader::{Report, join};
use crate::config::toml_tree::{Entry, Node, Value};

/// The kind of a text that stands in place of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandIn {
    /// `${NAME}`, `$NAME`, `{{ name }}` and the like.
    Variable,
    /// The path of a file.
    Path,
    /// `changeme` and the like.
    Placeholder,
}

/// Words that people write in place of a secret, without separators.
const PLACEHOLDERS: [&str; 17] = [
    "changeit",
    "changethis",
    "clientsecret",
    "default",
    "dummy",
    "example",
    "fillme",
    "insertsecrethere",
    "mysecret",
    "null",
    "password",
    "placeholder",
    "replaceme",
    "replacethis",
    "secret",
    "tbd",
    "todo",
];

/// The beginnings of paths where platforms put secrets.
const SECRET_PATHS: [&str; 5] = ["/run/secrets/", "/var/run/secrets/", "/etc/", "file:", "./"];

impl StandIn {
    /// Returns the kind of a text that stands in place of a secret. Returns `None` if the text is a secret.
    pub(super) fn of(secret: &str) -> Option<Self> {
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let between = |start: &str, end: &str| secret.strip_prefix(start)?.strip_suffix(end);
        let word: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
        let word = word.to_ascii_lowercase();
        let is_one_sign = |sign: char| secret.len() >= 3 && secret.chars().all(|character| character == sign);
        if is_template(secret)
            || between("$", "").is_some_and(is_name)
            || between("$(", ")").is_some()
            || [("%", "%"), ("@", "@"), ("__", "__"), ("{$", "}"), ("{env.", "}"), ("env:", ""), ("env.", "")]
                .iter()
                .any(|(start, end)| between(start, end).is_some_and(is_name))
        {
            Some(Self::Variable)
        } else if SECRET_PATHS.iter().any(|start| secret.starts_with(start)) {
            Some(Self::Path)
        } else if between("<", ">").is_some()
            || between("[", "]").is_some()
            || PLACEHOLDERS.contains(&word.as_str())
            || word.starts_with("changeme")
            || word.starts_with("your") && word.contains("secret")
            || !secret.is_empty() && secret.chars().all(char::is_whitespace)
            || ['x', 'X', '*', '.', '-', '?'].into_iter().any(is_one_sign)
        {
            Some(Self::Placeholder)
        } else {
            None
        }
    }

    /// Returns the fault of such a text. It does not show the text.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Variable => {
                "is a variable such as `${NAME}` that nobody has expanded, and is sent as it stands"
            }
            Self::Path => "is a path, which is sent itself and not what the file holds",
            Self::Placeholder => "is a placeholder, not a secret",
        }
    }
}

/// Returns true if the text contains a variable or a template: `${NAME}`, `{{ name }}`.
fn is_template(text: &str) -> bool {
    let has = |open: &str, close: &str| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close));
    has("${", "}") || has("{{", "}}")
}

/// Finds variables in texts that are not secrets. If there is another problem with the same key, it adds to the hint
/// that variables are not expanded. Otherwise it adds a warning.
pub(super) fn look(entries: &[Entry], report: &Report<'_>) {
    table("", entries, report);
}

fn table(path: &str, entries: &[Entry], report: &Report<'_>) {
    if report.is_secret(path) {
        return;
    }
    for entry in entries {
        value(&join(path, &entry.key), &entry.node, report);
    }
}

fn value(path: &str, node: &Node, report: &Report<'_>) {
    match &node.value {
        Value::Text(text) if is_template(text) && !report.is_secret(path) => {
            let hint = "write the value itself: nothing in this file is expanded, and only secrets come from the environment, \
                        as `{ env = \"NAME\" }`";
            report.remark(path, node.line, format!("{} is taken as it stands", quote(text)), hint);
        }
        Value::Table(entries) => table(path, entries, report),
        Value::List(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                value(&format!("{path}[{index}]"), node, report);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_secrets_stand_for() {
        use StandIn::{Path, Placeholder, Variable};
        for (secret, expected) in [
            ("${STORE_SECRET}", Some(Variable)),
            ("${STORE_SECRET:-none}", Some(Variable)),
            ("prefix-${X}", Some(Variable)),
            ("$STORE_SECRET", Some(Variable)),
            ("$store", Some(Variable)),
            ("$(cat /run/secret)", Some(Variable)),
            ("%STORE_SECRET%", Some(Variable)),
            ("{{ store_secret }}", Some(Variable)),
            ("{{.Values.secret}}", Some(Variable)),
            ("{$STORE_SECRET}", Some(Variable)),
            ("{env.STORE_SECRET}", Some(Variable)),
            ("env:STORE_SECRET", Some(Variable)),
            ("@STORE_SECRET@", Some(Variable)),
            ("__STORE_SECRET__", Some(Variable)),
            ("/run/secrets/store", Some(Path)),
            ("file:///run/secrets/store", Some(Path)),
            ("./secret.txt", Some(Path)),
            ("<secret>", Some(Placeholder)),
            ("<your client secret>", Some(Placeholder)),
            ("changeme", Some(Placeholder)),
            ("CHANGE_ME", Some(Placeholder)),
            ("change-me!", Some(Placeholder)),
            ("your-client-secret", Some(Placeholder)),
            ("your-secret-here", Some(Placeholder)),
            ("YOUR_STORE_SECRET", Some(Placeholder)),
            ("changeme-in-production", Some(Placeholder)),
            (" ", Some(Placeholder)),
            ("\t\n", Some(Placeholder)),
            ("secret", Some(Placeholder)),
            ("TODO", Some(Placeholder)),
            ("xxxxxxxx", Some(Placeholder)),
            ("********", Some(Placeholder)),
            ("...", Some(Placeholder)),
            // Real ones.
            ("hunter2", None),
            ("demo-secret-store", None),
            ("$2y$10$N9qo8uLOickgx2ZMRZoMye", None),
            ("pa$$word", None),
            ("a{b}c", None),
            ("100%sure%", None),
            ("/9j4AAQSkZJRgABAQEAYABg+A==", None),
            ("Zm9vYmFy/run/secrets/", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(StandIn::of(secret), expected, "{secret}");
        }
    }
}
