//! Reads tables key by key and collects every problem on the way, instead of stopping at the first one.
//!
//! A reader that returns `None` has said why. What nobody has read when a [`Section`] is dropped is an unknown key.

use std::cell::RefCell;
use std::path::Path;

use super::Problem;
use super::spelling;
use super::tree::{self, Entry, Node, Value};

/// What has been found so far, over the whole file.
pub(super) struct Report<'a> {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Where relative paths of secret files start.
    pub(super) directory: &'a Path,
    #[cfg(test)]
    keys: RefCell<Vec<Key>>,
}

/// A key that the code reads: what documentation must agree with.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Such as `apps.*.routes[].path`.
    pub(super) path: String,
    /// The default as TOML, or in words.
    pub(super) default: &'static str,
}

impl<'a> Report<'a> {
    pub(super) fn new(directory: &'a Path) -> Self {
        Self {
            problems: RefCell::default(),
            warnings: RefCell::default(),
            directory,
            #[cfg(test)]
            keys: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Problems and warnings in the file's order.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.problems.into_inner();
        let mut warnings = self.warnings.into_inner();
        problems.sort_by_key(|problem| problem.line);
        warnings.sort_by_key(|problem| problem.line);
        (problems, warnings)
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for key in self.keys.borrow().iter() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}

/// One value on its way to its type.
pub(super) struct Item<'a> {
    path: String,
    node: &'a Node,
    pub(super) report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Says what is wrong with this value, and what to write instead.
    pub(super) fn fault<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.problem(self.describe(message.into(), hint.into()));
        None
    }

    pub(super) fn warn(&self, message: impl Into<String>, hint: impl Into<String>) {
        let warning = self.describe(message.into(), hint.into());
        self.report.warnings.borrow_mut().push(warning);
    }

    fn describe(&self, message: String, hint: String) -> Problem {
        Problem { key: self.path.clone(), line: Some(self.node.line), message, hint }
    }

    /// Says that another type is expected; shows the value where it is short.
    pub(super) fn wrong_type<T>(&self, expected: &str, hint: &str) -> Option<T> {
        let value = self.value();
        match value.literal() {
            Some(literal) => self.fault(
                format!("{} is {}, but {expected} is expected", spelling::quote(&literal), value.kind()),
                hint,
            ),
            None => self.fault(format!("this is {}, but {expected} is expected", value.kind()), hint),
        }
    }

    pub(super) fn text(&self, expected: &str, hint: &str) -> Option<&'a str> {
        match self.value() {
            Value::Text(text) => Some(text),
            _ => self.wrong_type(expected, hint),
        }
    }

    /// An integer within bounds.
    pub(super) fn integer(&self, least: i64, most: i64) -> Option<i64> {
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

    /// The elements of a list, each with its own path.
    pub(super) fn list(&self, hint: &str) -> Option<Vec<Item<'a>>> {
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

    /// Reads every element and refuses duplicates; `None` if any of them is wrong.
    pub(super) fn each<T: PartialEq>(
        &self,
        hint: &str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut found: Vec<T> = Vec::new();
        let mut sound = true;
        for item in self.list(hint)? {
            match read(&item) {
                Some(value) if found.contains(&value) => {
                    let shown =
                        item.value().literal().map_or(String::from("this"), |text| spelling::quote(&text));
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

    /// As [`Self::each`], with at least one element.
    pub(super) fn some<T: PartialEq>(
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

/// `true` or `false`.
pub(super) fn boolean(item: &Item<'_>) -> Option<bool> {
    match item.value() {
        Value::Boolean(boolean) => Some(*boolean),
        _ => item.wrong_type("a boolean", "write `true` or `false`, without quotes"),
    }
}

/// A table that is being read.
pub(super) struct Section<'a> {
    path: String,
    pattern: String,
    line: usize,
    entries: &'a [Entry],
    /// The table is of a wrong type and has been complained about: nothing in it is missing.
    broken: bool,
    known: RefCell<Vec<&'static str>>,
    /// The table's keys are names that the user chooses.
    open: bool,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn root(entries: &'a [Entry], report: &'a Report<'a>) -> Self {
        Self::new(report, String::new(), String::new(), 1, entries)
    }

    fn new(report: &'a Report<'a>, path: String, pattern: String, line: usize, entries: &'a [Entry]) -> Self {
        Self { path, pattern, line, entries, broken: false, known: RefCell::default(), open: false, report }
    }

    /// A key without which nothing works.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        hint: &str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<T> {
        match self.item(name, "required") {
            Some(item) => read(&item),
            None if self.broken => None,
            None => self.fault_at(name, "this key is missing", hint),
        }
    }

    /// A key with a default, which is TOML and read like a value of the file.
    pub(super) fn defaulted<T>(
        &self,
        name: &'static str,
        default: &'static str,
        read: impl Fn(&Item<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(item) = self.item(name, default) {
            return read(&item);
        }
        let node = tree::parse_value(default)?;
        read(&Item { path: self.child(name), node: &node, report: self.report })
    }

    /// A key that may be left out; `default` says in words what happens then. `None` if it is wrong.
    #[expect(
        clippy::option_option,
        reason = "the outer one is `wrong, and reported`, the inner one `left out`"
    )]
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        default: &'static str,
        read: impl Fn(&Item<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.item(name, default) {
            Some(item) => read(&item).map(Some),
            None => Some(None),
        }
    }

    /// A table with fixed keys; empty where it is left out.
    pub(super) fn section(&self, name: &'static str) -> Section<'a> {
        self.known.borrow_mut().push(name);
        let pattern = join(&self.pattern, name);
        match self.entry(name) {
            Some(node) => self.open_table(self.child(name), pattern, node),
            None => Section::new(self.report, self.child(name), pattern, self.line, &[]),
        }
    }

    /// A table whose keys the user chooses.
    pub(super) fn open_section(&self, name: &'static str) -> Section<'a> {
        let mut section = self.section(name);
        section.open = true;
        section
    }

    /// The tables in this one, each under the name that the user chose.
    pub(super) fn named(&self) -> Vec<(&'a str, Section<'a>)> {
        self.entries
            .iter()
            .map(|entry| {
                let path = join(&self.path, &entry.key);
                (entry.key.as_str(), self.open_table(path, join(&self.pattern, "*"), &entry.node))
            })
            .collect()
    }

    /// The values in this table, each under the name that the user chose.
    pub(super) fn values(&self) -> Vec<(&'a str, Item<'a>)> {
        self.entries
            .iter()
            .map(|entry| {
                let item = Item { path: self.child(&entry.key), node: &entry.node, report: self.report };
                (entry.key.as_str(), item)
            })
            .collect()
    }

    /// A list of tables, written as `[[name]]`.
    pub(super) fn sections(&self, name: &'static str) -> Vec<Section<'a>> {
        self.known.borrow_mut().push(name);
        let pattern = format!("{}[]", join(&self.pattern, name));
        let Some(node) = self.entry(name) else { return Vec::new() };
        let item = Item { path: self.child(name), node, report: self.report };
        let hint = format!("write `[[{}]]` once for each", self.child(name));
        item.list(&hint)
            .unwrap_or_default()
            .into_iter()
            .map(|element| self.open_table(element.path, pattern.clone(), element.node))
            .collect()
    }

    /// Whether the file has the key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.broken
    }

    /// Says what is wrong with a key of this table, or with its absence.
    pub(super) fn fault_at<T>(
        &self,
        name: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.report.problem(self.describe(name, message.into(), hint.into()));
        None
    }

    pub(super) fn warn_at(&self, name: &str, message: impl Into<String>, hint: impl Into<String>) {
        let warning = self.describe(name, message.into(), hint.into());
        self.report.warnings.borrow_mut().push(warning);
    }

    /// The full path of a key of this table; of the table itself for an empty name.
    pub(super) fn child(&self, name: &str) -> String {
        if name.is_empty() { self.path.clone() } else { join(&self.path, name) }
    }

    fn describe(&self, name: &str, message: String, hint: String) -> Problem {
        let line = self.entry(name).map_or(self.line, |node| node.line);
        Problem { key: self.child(name), line: Some(line), message, hint }
    }

    fn item(&self, name: &'static str, default: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(name);
        self.record(name, default);
        self.entry(name).map(|node| Item { path: self.child(name), node, report: self.report })
    }

    /// Notes a key for the comparison with the documentation.
    pub(super) fn record(&self, name: &str, default: &'static str) {
        #[cfg(test)]
        self.report.keys.borrow_mut().push(Key { path: join(&self.pattern, name), default });
        #[cfg(not(test))]
        let _ = (name, default);
    }

    fn entry(&self, name: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == name).map(|entry| &entry.node)
    }

    fn open_table(&self, path: String, pattern: String, node: &'a Node) -> Section<'a> {
        if let Value::Table(entries) = &node.value {
            return Section::new(self.report, path, pattern, node.line, entries);
        }
        let item = Item { path, node, report: self.report };
        let hint = format!("write a table `[{}]`", item.path);
        let _: Option<()> = item.wrong_type("a table", &hint);
        let mut section = Section::new(self.report, item.path, pattern, node.line, &[]);
        section.broken = true;
        section
    }
}

impl Drop for Section<'_> {
    /// What nobody has asked for is unknown. Its value is not shown: it may be a secret under a misspelt name.
    fn drop(&mut self) {
        if self.open {
            return;
        }
        let known = self.known.borrow();
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = match spelling::nearest(&entry.key, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("remove it; known here: {}", spelling::list(&known)),
            };
            let _: Option<()> = self.fault_at(&entry.key, "there is no such key", hint);
        }
    }
}

/// A key path, with names quoted where TOML wants it.
fn join(path: &str, name: &str) -> String {
    let name = if name.is_empty()
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    {
        format!("{name:?}")
    } else {
        String::from(name)
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
