//! Finds a key or table that a file has twice, and the place of the first one. The TOML parser says only that there is
//! a duplicate.

use toml::de::{DeTable, DeValue};

/// A name that no file has. The parser puts it into the table to which the last lines belong.
const PROBE: &str = "portcullis-looks-where-this-is";

/// A key or table that the file has twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Twice {
    /// The whole key, such as `apps.store.hosts`.
    pub(super) key: String,
    /// If true, the second one is the header of a table.
    pub(super) is_table: bool,
    /// The offset of the first one in bytes. `None` means that both are in the same inline table.
    pub(super) first: Option<usize>,
}

/// Parses the text before the second one. The range `name` is the last name of the second one.
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

/// Returns the names of a key that is written like `apps."store"`.
fn names_of(written: &str) -> Option<Vec<String>> {
    let line = format!("{written} = 0");
    let table = DeTable::parse(&line).ok()?;
    path_of(table.get_ref(), &|_, value| !matches!(value, DeValue::Table(_)))
}

/// Returns the names of the table to which lines after this text belong.
fn enclosing(before: &str) -> Option<Vec<String>> {
    let probed = format!("{before}\n{PROBE} = 0");
    let table = DeTable::parse(&probed).ok()?;
    let mut names = path_of(table.get_ref(), &|name, _| name == PROBE)?;
    names.pop();
    Some(names)
}

/// Returns the names on the way to the first entry for which `is_meant` is true.
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

/// Returns the place of a key in the text.
fn position(table: &DeTable<'_>, names: &[String]) -> Option<usize> {
    let (name, rest) = names.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    if rest.is_empty() { Some(key.span().start) } else { position(below(value.get_ref())?, rest) }
}

/// Returns the table to which names below a value belong. For a list, this is the last table.
fn below<'t, 'i>(value: &'t DeValue<'i>) -> Option<&'t DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        DeValue::Array(array) => below(array.iter().last()?.get_ref()),
        _ => None,
    }
}
