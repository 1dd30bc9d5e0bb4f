//! A TOML text as an ordered tree. Every value knows its line.

use toml::de::{DeTable, DeValue};

use crate::config::duplicate_key::{self, Twice};
use crate::config::problem::Problem;

/// A key with its value.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) node: Node,
}

/// A value, and the line (from 1) of the value or of its key.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value of TOML. It has no `Debug`, because it may hold secrets.
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Dates, floats and integers beyond 64 bits. No key accepts such a value.
    Other {
        kind: &'static str,
        text: String,
    },
}

impl Value {
    /// Returns the type with its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other { kind, .. } => kind,
        }
    }

    /// Returns the value as the file writes it, if it is short.
    pub(super) fn literal(&self) -> Option<String> {
        match self {
            Self::Integer(number) => Some(number.to_string()),
            Self::Boolean(boolean) => Some(boolean.to_string()),
            Self::Text(text) | Self::Other { text, .. } => Some(text.clone()),
            Self::List(_) | Self::Table(_) => None,
        }
    }
}

/// Parses a whole file. The message of a syntax error does not quote the line, which may hold a secret.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Problem> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => Ok(entries(table.into_inner(), &lines)),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            let (line, column) = lines.position(span.start);
            let begins = text.get(span.start..).and_then(|rest| rest.chars().next());
            if error.message() == "duplicate key"
                && let Some(twice) = duplicate_key::find(text, span)
            {
                return Err(twice_problem(twice, line, &lines));
            }
            let (message, hint) = syntax(text, begins, error.message());
            let hint =
                format!("{hint}look at column {column}; nothing else of the file has been checked yet");
            Err(Problem::new(String::new(), Some(line), format!("this is not TOML: {message}"), hint))
        }
    }
}

/// The characters that word processors and chats write instead of quotes.
const TYPOGRAPHIC_QUOTES: [char; 8] =
    ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}', '\u{bb}'];

/// Returns the parser's message and a hint about the usual cause. The parser stopped at the character `begins`.
fn syntax(text: &str, begins: Option<char>, found: &str) -> (String, &'static str) {
    let found = found.replace('\n', ", ");
    if text.trim_start().starts_with('{') {
        return (String::from("it looks like JSON"), "write `[table]` and `key = value`, a line each; ");
    }
    if begins.is_some_and(|begins| TYPOGRAPHIC_QUOTES.contains(&begins)) {
        let found = format!("typographic quotes are no quotes ({found})");
        return (
            found,
            "write straight ones, `\"`, as a text editor has them and a word processor does not; ",
        );
    }
    let hint = if found.contains("missing comma between array elements") {
        "look for a quote that is not closed, also on the line before, or separate the elements with `,`; "
    } else if found.contains("expected `=`") {
        "write `key = value`, not `key: value`; "
    } else if found.contains("invalid basic string") || found.contains("invalid literal string") {
        "close the quotes on the same line; "
    } else if [
        "float",
        "integer",
        "date",
        "string values must be quoted",
        "expected nothing",
        "boolean",
        "literal",
    ]
    .iter()
    .any(|word| found.contains(word))
    {
        "put texts, addresses and durations into quotes, such as `\"127.0.0.1:8080\"`; "
    } else {
        ""
    };
    (found, hint)
}

/// Returns the message about a duplicate. In TOML, each table and each key may be defined only once.
fn twice_problem(twice: Twice, line: usize, lines: &Lines) -> Problem {
    let Twice { key, is_table, first } = twice;
    let what = if is_table { "table" } else { "key" };
    let message = match first.map(|offset| lines.position(offset).0) {
        Some(first) => format!("this {what} is there twice: on line {first}, and again on line {line}"),
        None => format!("this {what} is there twice in one inline table on line {line}"),
    };
    let hint = if is_table {
        "put what belongs together under one of them, give the second one a name of its own, or, in a list of tables such as \
         `routes`, write `[[…]]` for each"
    } else {
        "remove one of the two"
    };
    Problem::new(key, Some(line), message, format!("{hint}; nothing else of the file has been checked yet"))
}

/// Parses a single value, such as the text of a default.
pub(super) fn parse_value(text: &str) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(Node { line: 0, value: convert(value.into_inner(), &Lines::of("")) })
}

fn entries(table: DeTable<'_>, lines: &Lines) -> Vec<Entry> {
    let mut keyed: Vec<_> = table.into_iter().collect();
    keyed.sort_by_key(|(key, _)| key.span().start);
    keyed
        .into_iter()
        .map(|(key, value)| {
            let line = lines.position(key.span().start).0;
            Entry {
                key: key.into_inner().into_owned(),
                node: Node { line, value: convert(value.into_inner(), lines) },
            }
        })
        .collect()
}

fn convert(value: DeValue<'_>, lines: &Lines) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other { kind: "an integer beyond 64 bits", text: integer.to_string() },
        },
        DeValue::Float(float) => Value::Other { kind: "a float", text: float.to_string() },
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Other { kind: "a date", text: datetime.to_string() },
        DeValue::Array(array) => Value::List(
            array
                .into_iter()
                .map(|item| Node {
                    line: lines.position(item.span().start).0,
                    value: convert(item.into_inner(), lines),
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(entries(table, lines)),
    }
}

/// Returns the offsets at which the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect())
    }

    /// Returns the line and the column (in bytes) of an offset. Both count from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.0.partition_point(|&start| start <= offset).max(1);
        let start = self.0.get(line - 1).copied().unwrap_or(0);
        (line, offset.saturating_sub(start) + 1)
    }
}
