//! Reads JSON strictly, as security requires: no duplicate names, a bounded depth, and nothing after the value. RFC
//! 8259 section 4 allows duplicate names, but two readers may take different ones. [`members`] leaves it to its caller
//! to check for them.
//!
//! `serde_json` itself refuses lone surrogates and invalid UTF-8.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses a text with at most `max_depth` nested arrays and objects.
pub(crate) fn parse(json: &[u8], max_depth: usize) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let strict = Strict { depth_left: max_depth, permits_duplicates: false };
    let value = strict.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses a text that must be an object.
pub(crate) fn parse_object(json: &[u8], max_depth: usize) -> Result<Map<String, Value>, serde_json::Error> {
    match parse(json, max_depth)? {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

/// Parses a text that must be an object. Names may come twice in any object of the text. Returns all members of the
/// outermost object, in their order.
pub(crate) fn members(json: &[u8], max_depth: usize) -> Result<Vec<(String, Value)>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let lenient = Strict { depth_left: max_depth, permits_duplicates: true };
    let members = deserializer.deserialize_map(Members(lenient))?;
    deserializer.end()?;
    Ok(members)
}

struct Members(Strict);

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let inner = self.0.deeper()?;
        let mut members = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            members.push((name, entries.next_value_seed(inner)?));
        }
        Ok(members)
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
    permits_duplicates: bool,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.insert(name, value).is_some() && !self.permits_duplicates {
                // The name may itself be part of a secret body, so it is not repeated here.
                return Err(A::Error::custom("duplicate name in an object"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_json_is_read_as_usual() {
        let text = br#" {"a": [1, -2, 2.5, true, null, "x\u00e9"], "b": {"c": {}}} "#;
        assert_eq!(parse(text, 4).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        for text in [
            &br#"{"a": 1, "a": 2}"#[..],
            br#"{"b": {"a": 1, "\u0061": 2}}"#,
            br#"{"a": 1} x"#,
            br#"{"a": "\ud800"}"#,
            b"{\"a\": \"\xff\"}",
            br#"{"a": 1e999}"#,
            br#"{"a": 1,}"#,
            b"",
        ] {
            assert!(parse(text, 4).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(b"[[[1]]]", 3).is_ok());
        assert!(parse(b"[[[[1]]]]", 3).is_err());
        assert!(parse(&vec![b'['; 100_000], 1_000_000).is_err());
    }

    #[test]
    fn an_object_is_asked_for() {
        assert!(parse_object(b"[]", 3).is_err());
        assert!(parse_object(b"{}", 3).is_ok());
    }

    #[test]
    fn members_may_come_twice_where_the_reader_sees_to_it() {
        let text = br#"{"a": 1, "b": {"c": 1, "c": 2}, "\u0061": 3}"#;
        let expected = [("a", Value::from(1)), ("b", serde_json::json!({"c": 2})), ("a", Value::from(3))];
        assert_eq!(members(text, 4).unwrap(), expected.map(|(name, value)| (name.to_owned(), value)));
        for text in [
            &b"[]"[..],
            b"1",
            b"",
            b"{",
            br#"{"a": 1} x"#,
            br#"{"a": "\ud800"}"#,
            br#"{"a": [[[[1]]]]}"#,
            b"{\"a\": \"\xff\"}",
        ] {
            assert!(members(text, 4).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
