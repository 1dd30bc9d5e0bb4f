//! The claims of a JWT: how they are found and read.

use serde_json::{Map, Value};

use crate::config::ClaimPath;

/// The object inside a JWT, with no name twice at any level.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// A claim at the top level.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim at a path. Names that contain dots themselves need a path of segments.
    pub fn at(&self, segments: &[String]) -> Option<&Value> {
        let (first, rest) = segments.split_first()?;
        let found = rest.iter().try_fold(self.0.get(first)?, |value, name| value.as_object()?.get(name))?;
        (!found.is_null()).then_some(found)
    }

    /// The roles: an array of strings, or one string, separated by commas or spaces.
    pub fn roles(&self, path: &ClaimPath) -> Vec<String> {
        let segments = match path {
            ClaimPath::Roles => &[String::from("roles")][..],
            ClaimPath::Segments(segments) => segments,
        };
        match self.at(segments) {
            Some(Value::Array(values)) => values
                .iter()
                .filter_map(Value::as_str)
                .filter(|role| !role.is_empty())
                .map(String::from)
                .collect(),
            Some(Value::String(list)) => {
                list.split([',', ' ']).filter(|role| !role.is_empty()).map(String::from).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(object) => Claims(object),
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
            (json!({"roles": ["a", 1, null, ""]}), path(&["roles"]), vec!["a"]),
            (json!({"roles": {"a": true}}), path(&["roles"]), vec![]),
            (json!({}), path(&["realm_access", "roles"]), vec![]),
            (json!({"realm_access": "x"}), path(&["realm_access", "roles"]), vec![]),
        ] {
            assert_eq!(claims(value.clone()).roles(&roles_path), expected, "{value}");
        }
    }
}
