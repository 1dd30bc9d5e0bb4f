//! Finds and reads the claims of a JWT.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::config::ClaimPath;
use crate::syntax::redacted::Redacted;

/// The JSON object inside a JWT. No object in it has the same name twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(pub(super) Redacted<Map<String, Value>>);

impl Claims {
    /// Returns a claim at the top level.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns a claim at a path. A name that contains a dot needs a path of segments.
    pub fn at(&self, segments: &[String]) -> Option<&Value> {
        let (first, rest) = segments.split_first()?;
        let found = rest.iter().try_fold(self.0.get(first)?, |value, name| value.as_object()?.get(name))?;
        (!found.is_null()).then_some(found)
    }

    /// Returns the roles. The claim is a list, or one string that is separated by commas or spaces.
    pub fn roles(&self, path: &ClaimPath) -> Vec<String> {
        match self.at(roles_segments(path)) {
            Some(Value::String(list)) => list
                .split([',', ' '])
                .map(trimmed)
                .filter(|role| !role.is_empty())
                .map(String::from)
                .collect(),
            Some(value) => Members::of(value).map(|members| members.texts).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Describes the value in place of the roles, for people. Returns `None` if the roles can be read.
    pub(super) fn unreadable_roles(&self, path: &ClaimPath) -> Option<&'static str> {
        match self.at(roles_segments(path))? {
            Value::String(_) => None,
            value => Members::of(value).map_or_else(|| Some(kind(value)), |members| members.unreadable),
        }
    }
}

fn roles_segments(path: &ClaimPath) -> &[String] {
    static ROLES: LazyLock<[String; 1]> = LazyLock::new(|| [String::from("roles")]);
    match path {
        ClaimPath::Roles => &*ROLES,
        ClaimPath::Segments(segments) => segments,
    }
}

/// The members of a claim that is a list. Roles and headers are read in the same way, so the app receives the same
/// members that Portcullis checks.
pub(super) struct Members {
    /// The texts, without blanks at their ends. An app that splits the list would drop such blanks as well. No text is
    /// empty.
    pub(super) texts: Vec<String>,
    /// Describes a value beside the texts that cannot be a member, for people.
    pub(super) unreadable: Option<&'static str>,
}

impl Members {
    /// Reads a list. It is an array of texts, numbers and booleans, or a map whose keys are the members, or an array of
    /// such maps (Zitadel's roles). Returns `None` if the value is not a list.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let mut members = Self { texts: Vec::new(), unreadable: None };
        match value {
            Value::Array(values) => values.iter().for_each(|value| members.add(value)),
            Value::Object(_) => members.add(value),
            _ => return None,
        }
        Some(members)
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::Object(map) if map.values().all(may_grant) => {
                let granted = map.iter().filter(|(_, value)| grants(value));
                self.texts.extend(
                    granted.map(|(key, _)| trimmed(key)).filter(|key| !key.is_empty()).map(String::from),
                );
            }
            Value::Null => {}
            value => match scalar_text(value) {
                Some(text) if trimmed(&text).is_empty() => {}
                Some(text) => self.texts.push(trimmed(&text).to_owned()),
                None => self.unreadable = Some(kind(value)),
            },
        }
    }
}

/// Tells whether a value may occur in a map whose keys are the members. In other maps, such as an address, or a client
/// with a list of roles, the keys are not members.
fn may_grant(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Null) || grants(value)
}

/// Tells whether a value grants its key. It does if it is `true`, or an object of texts. Zitadel writes such an object
/// with the organisations for which a role was given.
fn grants(value: &Value) -> bool {
    match value {
        Value::Bool(granted) => *granted,
        Value::Object(details) => details.values().all(Value::is_string),
        _ => false,
    }
}

/// Returns the type of a value, for people.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object whose keys are no members",
    }
}

/// Returns a text, a number or a boolean as text.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Removes optional white space at the ends (RFC 9110 section 5.6.3).
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(object) => Claims(object.into()),
            other => panic!("{other}"),
        }
    }

    fn path(segments: &[&str]) -> ClaimPath {
        ClaimPath::Segments(segments.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn roles_in_every_shape() {
        for (value, roles_path, expected) in [
            (json!({"roles": ["a", "b"]}), path(&["roles"]), vec!["a", "b"]),
            (json!({"roles": "a,b"}), path(&["roles"]), vec!["a", "b"]),
            (json!({"roles": "a b"}), path(&["roles"]), vec!["a", "b"]),
            (json!({"roles": "a, b"}), path(&["roles"]), vec!["a", "b"]),
            (json!({"realm_access": {"roles": ["a"]}}), path(&["realm_access", "roles"]), vec!["a"]),
            (json!({"https://x.example/roles": ["a"]}), path(&["https://x.example/roles"]), vec!["a"]),
            (json!({"roles": ["a", 1, null, ""]}), path(&["roles"]), vec!["a", "1"]),
            // Without blanks at the ends, as an app reads them that takes the header apart.
            (json!({"roles": [" a", "b\t", "  ", "c d"]}), path(&["roles"]), vec!["a", "b", "c d"]),
            (json!({"roles": " a ,\tb "}), path(&["roles"]), vec!["a", "b"]),
            // A comma separates nothing in an array: that is one role, which the app is not told.
            (json!({"roles": ["a,b"]}), path(&["roles"]), vec!["a,b"]),
            (json!({"roles": {"a": true, "b": false, "c": null}}), path(&["roles"]), vec!["a"]),
            (json!({"roles": {"a": {"2": "x.example"}, " b": {}}}), path(&["roles"]), vec!["b", "a"]),
            (
                json!({"roles": [{"a": {"2": "x.example"}}, {"b": {}}, "c"]}),
                path(&["roles"]),
                vec!["a", "b", "c"],
            ),
            (json!({"roles": {}}), path(&["roles"]), vec![]),
            // Keys that are no roles: of a client, of a role's own members, of Keycloak's claim that holds the list.
            (json!({"roles": {"store": {"roles": ["a"]}}}), path(&["roles"]), vec![]),
            (json!({"roles": {"roles": ["a"]}}), path(&["roles"]), vec![]),
            (json!({"roles": [{"id": 1, "name": "a"}, "b"]}), path(&["roles"]), vec!["b"]),
            (json!({"roles": {"a": 1}}), path(&["roles"]), vec![]),
            (json!({"roles": {"a": "yes"}}), path(&["roles"]), vec![]),
            (json!({"roles": 7}), path(&["roles"]), vec![]),
            (json!({"roles": true}), path(&["roles"]), vec![]),
            (json!({}), path(&["realm_access", "roles"]), vec![]),
            (json!({"realm_access": "x"}), path(&["realm_access", "roles"]), vec![]),
        ] {
            assert_eq!(claims(value.clone()).roles(&roles_path), expected, "{value}");
        }
    }

    #[test]
    fn what_is_there_in_place_of_roles_is_told() {
        const OBJECT: Option<&str> = Some("an object whose keys are no members");
        for (value, expected) in [
            (json!({}), None),
            (json!({"roles": null}), None),
            (json!({"roles": []}), None),
            (json!({"roles": {}}), None),
            (json!({"roles": ""}), None),
            (json!({"roles": ["a"]}), None),
            (json!({"roles": {"a": true}}), None),
            (json!({"roles": {"a": false}}), None),
            (json!({"roles": {"roles": ["a"]}}), OBJECT),
            (json!({"roles": {"a": 1}}), OBJECT),
            (json!({"roles": ["a", {"name": "b"}]}), OBJECT),
            (json!({"roles": [["a"]]}), Some("a list")),
            (json!({"roles": 7}), Some("a number")),
            (json!({"roles": true}), Some("a boolean")),
        ] {
            assert_eq!(claims(value.clone()).unreadable_roles(&path(&["roles"])), expected, "{value}");
        }
    }
}
