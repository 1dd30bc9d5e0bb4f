//! JSON: names that come twice, and mutations of one value at a time.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

/// Returns whether any object in a JSON text has a name twice.
pub fn has_duplicate_names(text: &[u8]) -> bool {
    serde_json::from_slice::<Duplicates>(text).is_ok_and(|found| found.0)
}

struct Duplicates(bool);

impl<'de> Deserialize<'de> for Duplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Search).map(Duplicates)
    }
}

struct Search;

impl<'de> Visitor<'de> for Search {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(Duplicates(inside)) = values.next_element()? {
            found |= inside;
        }
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let (mut names, mut found) = (HashSet::new(), false);
        while let Some(name) = entries.next_key::<String>()? {
            found |= entries.next_value::<Duplicates>()?.0 | !names.insert(name);
        }
        Ok(found)
    }
}

/// Returns whether the outermost object of a JSON text has one of these names twice.
pub fn has_name_twice(text: &[u8], names: &[&str]) -> bool {
    let Ok(Names(found)) = serde_json::from_slice(text) else { return false };
    names.iter().any(|name| found.iter().filter(|found| found == name).count() > 1)
}

struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;

        impl<'de> Visitor<'de> for Gather {
            type Value = Names;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = entries.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Gather)
    }
}

/// Returns whether a text is JSON at all.
pub fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Changes one member of an object: another value, another name, away, twice, or one more. `None` if the text is no
/// object.
pub fn mutate_object(text: &[u8], names: &[&str], texts: &[&str], seed: u32) -> Option<Vec<u8>> {
    let Ok(Value::Object(object)) = serde_json::from_slice(text) else { return None };
    let mut dice = Dice(u64::from(seed) | 1 << 40);
    let mut members: Vec<(String, String)> =
        object.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    let at = dice.below(members.len().max(1));
    let name = String::from(*dice.one_of(names));
    let value = interesting_value(&mut dice, texts, members.get(at).map_or("", |(_, value)| value));
    match (dice.below(8), members.get_mut(at)) {
        (0, Some(_)) => drop(members.remove(at)),
        (1, Some(member)) => member.0 = name,
        (2, Some(member)) => {
            let again = (member.0.clone(), value);
            members.push(again);
        }
        (3, _) | (_, None) => members.push((name, value)),
        (_, Some(member)) => member.1 = value,
    }
    let members: Vec<_> =
        members.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    Some(format!("{{{}}}", members.join(",")).into_bytes())
}

fn interesting_value(dice: &mut Dice, texts: &[&str], old: &str) -> String {
    const VALUES: [&str; 16] = [
        "null",
        "true",
        "0",
        "-1",
        "1",
        "1.5",
        "-0.0",
        "1e18",
        "1e308",
        "18446744073709551615",
        "9223372036854775808",
        "\"\"",
        "[]",
        "{}",
        "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
        "\"\\u0000\"",
    ];
    let text = Value::from(*dice.one_of(texts));
    match dice.below(8) {
        0 | 1 => text.to_string(),
        2 => json!([text]).to_string(),
        3 => json!([text, *dice.one_of(texts)]).to_string(),
        4 => format!("[{}]", if old.is_empty() { "0" } else { old }),
        5 => {
            // Around the time, where the claims that are dates have their edges.
            let offsets = [-3600, -60, -6, -5, -4, -1, 0, 1, 4, 5, 6, 60, 3600];
            (crate::NOW.cast_signed() + *dice.one_of(&offsets)).to_string()
        }
        6 => serde_json::to_string(&format!(
            "{}{}",
            text.as_str().unwrap_or_default(),
            dice.one_of(&["\r\n", "x", " ", "\u{e9}", "/", ","])
        ))
        .unwrap_or_default(),
        _ => String::from(*dice.one_of(&VALUES)),
    }
}

/// A small generator of numbers (xorshift), as good as is needed here.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % bound
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
