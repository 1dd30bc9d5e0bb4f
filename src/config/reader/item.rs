//! A value of the file that is being read.

use crate::config::problem::Problem;
use crate::config::quoting::quote;
use crate::config::reader::report::Report;
use crate::config::toml_tree::{Node, Value};

/// A value with the path of its key. A reader that returns `None` has reported the reason.
pub(crate) struct Item<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
    pub(crate) report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Reports the fault of this value, and says what to write instead.
    pub(crate) fn fault<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.problem(self.describe(message.into(), hint.into()));
        None
    }

    pub(crate) fn warn(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.warning(self.describe(message.into(), hint.into()));
    }

    fn describe(&self, message: String, hint: String) -> Problem {
        Problem::new(self.path.clone(), Some(self.node.line), message, hint)
    }

    /// Reports that another type is expected. It shows the value if the value is short.
    pub(crate) fn wrong_type<T>(&self, expected: &str, hint: &str) -> Option<T> {
        let value = self.value();
        match value.literal() {
            Some(literal) => self
                .fault(format!("{} is {}, but {expected} is expected", quote(&literal), value.kind()), hint),
            None => self.fault(format!("this is {}, but {expected} is expected", value.kind()), hint),
        }
    }

    pub(crate) fn text(&self, expected: &str, hint: &str) -> Option<&'a str> {
        match self.value() {
            Value::Text(text) => Some(text),
            _ => self.wrong_type(expected, hint),
        }
    }

    /// Reads an integer within bounds.
    pub(crate) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        match self.value() {
            Value::Integer(number) if (least..=most).contains(number) => Some(*number),
            Value::Integer(number) => self.fault(
                format!("`{number}` is out of bounds"),
                format!("write a number from `{least}` to `{most}`"),
            ),
            _ => self.wrong_type(
                "an integer",
                &format!("write a number from `{least}` to `{most}`, without quotes"),
            ),
        }
    }

    /// Returns the elements of a list. Each has its own path.
    pub(crate) fn list(&self, hint: &str) -> Option<Vec<Item<'a>>> {
        match self.value() {
            Value::List(nodes) => Some(
                nodes
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Item {
                        path: format!("{}[{index}]", self.path),
                        node,
                        report: self.report,
                    })
                    .collect(),
            ),
            _ => self.wrong_type("a list", hint),
        }
    }

    /// Reads every element and refuses duplicates. Returns `None` if any element is wrong.
    pub(crate) fn each<T: PartialEq>(
        &self,
        hint: &str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut found: Vec<T> = Vec::new();
        let mut sound = true;
        for item in self.list(hint)? {
            match read(&item) {
                Some(value) if found.contains(&value) => {
                    let shown = item.value().literal().map_or(String::from("this"), |text| quote(&text));
                    let _: Option<()> =
                        item.fault(format!("{shown} is listed twice"), "remove one of the two");
                    sound = false;
                }
                Some(value) => found.push(value),
                None => sound = false,
            }
        }
        sound.then_some(found)
    }

    /// Does the same as [`Self::each`], but requires at least one element.
    pub(crate) fn some<T: PartialEq>(
        &self,
        hint: &str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if matches!(self.value(), Value::List(nodes) if nodes.is_empty()) {
            return self.fault("the list is empty", hint);
        }
        self.each(hint, read)
    }
}

/// Reads `true` or `false`.
pub(crate) fn boolean(item: &Item<'_>) -> Option<bool> {
    match item.value() {
        Value::Boolean(boolean) => Some(*boolean),
        _ => item.wrong_type("a boolean", "write `true` or `false`, without quotes"),
    }
}
