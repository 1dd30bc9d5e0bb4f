//! A key or table that a file has twice: which one, and where it was first. The TOML parser says only that there is one.

use toml::de::{DeTable, DeValue};

/// A name that no file has: where the parser puts it says which table it is in.
const PROBE: &str = "portcullis-looks-where-this-is";

/// What is there twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice {
    /// The whole key, such as `apps.store.hosts`.
    pub(super) key: String,
    /// The second one begins a table.
    pub(super) is_table: bool,
    /// Bytes up to the first one; `None`: it is in the same inline table.
    pub(super) first: Option<usize>,
}

/// Reads what stands before the second one, whose last name is at `name`.
pub(super) fn find(text: &str, name: std::ops::Range<usize>) -> Option<Twice> {
    let start = text.get(..name.start)?.rfind('\n').map_or(0, |end| end + 1);
    let (before, line) = (text.get(..start)?, text.get(start..name.end)?.trim_start());
    let header = line.trim_start_matches('[');
    let is_table = header.len() < line.len();
    let written = names_of(header);
    let inline =
        || Twice { key: text.get(name.clone()).unwrap_or_default().to_owned(), is_table: false, first: None };
    let Some(written) = written else { return Some(inline()) };
    let mut names = if is_table { Vec::new() } else { enclosing(before)? };
    names.extend(written);
    let known = DeTable::parse(before).ok()?;
    let first = position(known.get_ref(), &names)?;
    Some(Twice { key: names.join("."), is_table, first: Some(first) })
}

/// The names of a key as it is written: `apps."store"`.
fn names_of(written: &str) -> Option<Vec<String>> {
    let line = format!("{written} = 0");
    let table = DeTable::parse(&line).ok()?;
    path_of(table.get_ref(), &|_, value| !matches!(value, DeValue::Table(_)))
}

/// The table that the lines after this text belong to.
fn enclosing(before: &str) -> Option<Vec<String>> {
    let probed = format!("{before}\n{PROBE} = 0");
    let table = DeTable::parse(&probed).ok()?;
    let mut names = path_of(table.get_ref(), &|name, _| name == PROBE)?;
    names.pop();
    Some(names)
}

/// The names on the way to the first entry that is meant.
fn path_of(table: &DeTable<'_>, is_meant: &impl Fn(&str, &DeValue<'_>) -> bool) -> Option<Vec<String>> {
    table.iter().find_map(|(name, value)| {
        let name = name.get_ref().to_string();
        if is_meant(&name, value.get_ref()) {
            return Some(vec![name]);
        }
        let mut rest = path_of(below(value.get_ref())?, is_meant)?;
        rest.insert(0, name);
        Some(rest)
    })
}

/// Where a key is that the text has.
fn position(table: &DeTable<'_>, names: &[String]) -> Option<usize> {
    let (name, rest) = names.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    if rest.is_empty() { Some(key.span().start) } else { position(below(value.get_ref())?, rest) }
}

/// The table that a header goes on in: of a list, the last one.
fn below<'t, 'i>(value: &'t DeValue<'i>) -> Option<&'t DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        DeValue::Array(array) => below(array.iter().last()?.get_ref()),
        _ => None,
    }
}
