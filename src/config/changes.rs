//! Compares two configurations key by key. It never shows a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::reader::{Seen, join};
use crate::config::source_files::{Files, Fingerprint};
use crate::config::toml_tree::{Entry, Value};

/// Every key of a file with its value. For a secret, it holds only a digest.
#[derive(Clone, Default)]
pub struct Outline {
    values: BTreeMap<String, Said>,
    files: Files,
}

#[derive(Clone, PartialEq, Eq)]
enum Said {
    Plain(String),
    /// The name of a file, and the digest of its contents.
    File(String, Fingerprint),
    Secret(Fingerprint),
}

/// A key whose value has changed. It never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, such as `apps.store.routes[0].access`.
    pub key: String,
    /// The old value as TOML. `None` means that the old file does not have the key.
    pub before: Option<String>,
    /// The new value as TOML. `None` means that the new file does not have the key.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(formatter, "{key}: {before} -> {after}"),
            (None, Some(after)) => write!(formatter, "{key}: added, {after}"),
            (Some(before), None) => write!(formatter, "{key}: removed, was {before}"),
            (None, None) => formatter.write_str(key),
        }
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Outline(..)")
    }
}

impl Said {
    fn shown(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::File(path, [a, b, c, d, ..]) => format!("{path} (SHA-256 {a:02x}{b:02x}{c:02x}{d:02x}…)"),
            Self::Secret(_) => String::from("(secret)"),
        }
    }
}

impl Outline {
    pub(super) fn new(entries: &[Entry], seen: &[Seen], files: Files) -> Self {
        let seen = seen.iter().map(|seen| (seen.key.as_str(), seen)).collect();
        let mut values = BTreeMap::new();
        for entry in entries {
            flatten(&join("", &entry.key), &entry.node.value, &seen, &mut values);
        }
        Self { values, files }
    }

    /// Returns the files from which the configuration was read.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Returns every key that differs in the other file, in the order of the keys.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let keys: BTreeSet<_> = self.values.keys().chain(newer.values.keys()).collect();
        keys.into_iter()
            .filter(|key| self.values.get(*key) != newer.values.get(*key))
            .map(|key| Change {
                key: key.clone(),
                before: self.values.get(key).map(Said::shown),
                after: newer.values.get(key).map(Said::shown),
            })
            .collect()
    }

    /// Returns true if the other file has the same values under a key and everything below it.
    pub(crate) fn is_same(&self, other: &Self, key: &str) -> bool {
        self.below(key).eq(other.below(key))
    }

    fn below<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a String, &'a Said)> {
        let is_below = move |name: &str| {
            name.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.values
            .range(key.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(key))
            .filter(move |(name, _)| is_below(name))
    }
}

fn flatten(path: &str, value: &Value, seen: &BTreeMap<&str, &Seen>, values: &mut BTreeMap<String, Said>) {
    let file = seen.get(path);
    if let Some(Seen { digest, is_secret: true, .. }) = file {
        values.insert(path.to_owned(), Said::Secret(*digest));
        return;
    }
    let plain = match value {
        Value::Table(entries) => {
            for entry in entries {
                flatten(&join(path, &entry.key), &entry.node.value, seen, values);
            }
            return;
        }
        Value::List(nodes) if !nodes.is_empty() => {
            for (index, node) in nodes.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), &node.value, seen, values);
            }
            return;
        }
        Value::List(_) => String::from("[]"),
        Value::Text(text) => format!("{text:?}"),
        other => other.literal().unwrap_or_default(),
    };
    let said = match file {
        Some(file) => Said::File(plain, file.digest),
        None => Said::Plain(plain),
    };
    values.insert(path.to_owned(), said);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const BASE: &str = "
        [identity_providers.main]
        issuer = 'https://id.example.com'
        [apps.shop]
        hosts = ['shop.example.com']
        upstreams = ['http://127.0.0.1:3000']
        client_id = 'shop'
        client_secret = 'canary-1'
        [apps.shop-two]
        hosts = ['two.example.com']
        upstreams = ['http://127.0.0.1:3000']
        client_id = 'two'
        client_secret = 'canary-2'
        [[apps.shop.routes]]
        path = '/'
        access = 'public'
        ";

    fn outline(text: &str) -> Outline {
        parse(text).unwrap_or_else(|error| panic!("{:#?}", error.problems)).config.outline
    }

    fn changes(text: &str) -> Vec<String> {
        outline(BASE).changes(&outline(text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_changed_key_by_key() {
        assert_eq!(changes(BASE), Vec::<String>::new());
        let text = BASE
            .replace("'public'", "'optional'\n[server]\nshutdown_grace = '5s'")
            .replace("['shop.example.com']", "['shop.example.com', 'b.example.com']")
            .replace("issuer =", "scope = 'openid'\nissuer =");
        assert_eq!(
            changes(&text),
            [
                r#"apps.shop.hosts[1]: added, "b.example.com""#,
                r#"apps.shop.routes[0].access: "public" -> "optional""#,
                r#"identity_providers.main.scope: added, "openid""#,
                r#"server.shutdown_grace: added, "5s""#,
            ]
        );
    }

    #[test]
    fn that_a_secret_changed_is_told_and_not_to_what() {
        let text = BASE.replace("canary-1", "canary-3").replace("client_secret = 'canary-2'", "");
        let text = text.replace("client_id = 'two'", "client_id = 'two'\nclient_secret = { env = 'PATH' }");
        assert_eq!(
            changes(&text),
            [
                "apps.shop-two.client_secret: (secret) -> (secret)",
                "apps.shop.client_secret: (secret) -> (secret)"
            ]
        );
    }

    #[test]
    fn one_section_alone() {
        let (old, new) = (outline(BASE), outline(&BASE.replace("canary-2", "canary-3")));
        assert!(old.is_same(&new, "apps.shop") && old.is_same(&new, "identity_providers.main"));
        assert!(!old.is_same(&new, "apps.shop-two") && !old.is_same(&new, "apps"));
        assert!(old.is_same(&new, "apps.shop-two.hosts"));
    }

    #[test]
    fn what_a_file_holds_is_a_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let (path, secret) = (directory.path().join("gateway.toml"), directory.path().join("secret"));
        std::fs::write(&path, BASE.replace("'canary-1'", "{ file = 'secret' }")).unwrap();
        std::fs::write(&secret, "canary-1").unwrap();
        let old = crate::config::load(&path).unwrap().config.outline;
        assert_eq!(old.files().paths().collect::<Vec<_>>(), [&*path, &*secret]);
        std::fs::write(&secret, "canary-2").unwrap();
        let new = crate::config::load(&path).unwrap().config.outline;
        assert_eq!(old.changes(&new).len(), 1);
        // A certificate is not a secret, so a message may show which certificate it is.
        let (ca, certificate) = (directory.path().join("ca.pem"), |name: &str| {
            rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem()
        });
        let text = BASE.replace("issuer =", "ca = 'ca.pem'\nissuer =");
        std::fs::write(&path, text).unwrap();
        std::fs::write(&ca, certificate("a.example")).unwrap();
        let old = crate::config::load(&path).unwrap().config.outline;
        std::fs::write(&ca, certificate("b.example")).unwrap();
        let new = crate::config::load(&path).unwrap().config.outline;
        let changes: Vec<_> = old.changes(&new).iter().map(ToString::to_string).collect();
        assert!(changes[0].starts_with("identity_providers.main.ca: \"ca.pem\" (SHA-256 "), "{changes:?}");
        assert_eq!(changes.len(), 1);
    }
}
