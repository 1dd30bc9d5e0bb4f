//! A table that is being read. What nobody has read when it is dropped is an unknown key.

use std::cell::RefCell;

use crate::config::did_you_mean::nearest;
use crate::config::problem::Problem;
use crate::config::quoting::list;
use crate::config::reader::item::Item;
use crate::config::reader::report::Report;
use crate::config::toml_tree::{self, Entry, Node, Value};

/// A table that is being read.
pub(crate) struct Section<'a> {
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
    pub(crate) fn root(entries: &'a [Entry], report: &'a Report<'a>) -> Self {
        Self::new(report, String::new(), String::new(), 1, entries)
    }

    /// The same of which only some is read: the rest is not for whoever reads it.
    pub(crate) fn in_part(mut self) -> Self {
        self.open = true;
        self
    }

    fn new(report: &'a Report<'a>, path: String, pattern: String, line: usize, entries: &'a [Entry]) -> Self {
        Self { path, pattern, line, entries, broken: false, known: RefCell::default(), open: false, report }
    }

    /// A key without which nothing works.
    pub(crate) fn required<T>(
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
    pub(crate) fn defaulted<T>(
        &self,
        name: &'static str,
        default: &'static str,
        read: impl Fn(&Item<'_>) -> Option<T>,
    ) -> Option<T> {
        if let Some(item) = self.item(name, default) {
            return read(&item);
        }
        let node = toml_tree::parse_value(default)?;
        read(&Item { path: self.child(name), node: &node, report: self.report })
    }

    /// A key that may be left out; `default` says in words what happens then. `None` if it is wrong.
    #[expect(
        clippy::option_option,
        reason = "the outer one is `wrong, and reported`, the inner one `left out`"
    )]
    pub(crate) fn optional<T>(
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
    pub(crate) fn section(&self, name: &'static str) -> Section<'a> {
        self.known.borrow_mut().push(name);
        let pattern = join(&self.pattern, name);
        match self.entry(name) {
            Some(node) => self.open_table(self.child(name), pattern, node),
            None => Section::new(self.report, self.child(name), pattern, self.line, &[]),
        }
    }

    /// A table whose keys the user chooses.
    pub(crate) fn open_section(&self, name: &'static str) -> Section<'a> {
        let mut section = self.section(name);
        section.open = true;
        section
    }

    /// The tables in this one, each under the name that the user chose.
    pub(crate) fn named(&self) -> Vec<(&'a str, Section<'a>)> {
        self.entries
            .iter()
            .map(|entry| {
                let path = join(&self.path, &entry.key);
                (entry.key.as_str(), self.open_table(path, join(&self.pattern, "*"), &entry.node))
            })
            .collect()
    }

    /// The values in this table, each under the name that the user chose.
    pub(crate) fn values(&self) -> Vec<(&'a str, Item<'a>)> {
        self.entries
            .iter()
            .map(|entry| {
                let item =
                    Item { path: join(&self.path, &entry.key), node: &entry.node, report: self.report };
                (entry.key.as_str(), item)
            })
            .collect()
    }

    /// A list of tables, written as `[[name]]`.
    pub(crate) fn sections(&self, name: &'static str) -> Vec<Section<'a>> {
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
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.broken
    }

    /// Says what is wrong with a key of this table, or with its absence.
    pub(crate) fn fault_at<T>(
        &self,
        name: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        self.report.problem(self.describe(name, message.into(), hint.into()));
        None
    }

    pub(crate) fn warn_at(&self, name: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.report.warning(self.describe(name, message.into(), hint.into()));
    }

    /// Says what is wrong with the table as a whole.
    pub(crate) fn fault_here<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.problem(self.describe_here(message.into(), hint.into()));
        None
    }

    pub(crate) fn warn_here(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.warning(self.describe_here(message.into(), hint.into()));
    }

    /// The full path of a key of this table.
    pub(crate) fn child(&self, name: &str) -> String {
        join(&self.path, name)
    }

    pub(crate) fn report(&self) -> &'a Report<'a> {
        self.report
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn describe(&self, name: &str, message: String, hint: String) -> Problem {
        let line = self.entry(name).map_or(self.line, |node| node.line);
        Problem::new(self.child(name), Some(line), message, hint)
    }

    fn describe_here(&self, message: String, hint: String) -> Problem {
        Problem::new(self.path.clone(), Some(self.line), message, hint)
    }

    fn item(&self, name: &'static str, default: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(name);
        self.record(name, default);
        self.entry(name).map(|node| Item { path: self.child(name), node, report: self.report })
    }

    /// Notes a key for the comparison with the documentation.
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "only tests compare keys with the documentation")
    )]
    pub(crate) fn record(&self, name: &str, default: &'static str) {
        #[cfg(test)]
        self.report.key(join(&self.pattern, name), default);
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
            let hint = match nearest(&entry.key, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                // What follows a header belongs to that table, also where it was meant for the one before.
                None if !self.path.is_empty() => format!(
                    "remove it, or move it above the header of `{}` if it is another table's; known here: {}",
                    self.path,
                    list(&known)
                ),
                None => format!("remove it; known here: {}", list(&known)),
            };
            let _: Option<()> = self.fault_at(&entry.key, "there is no such key", hint);
        }
    }
}

/// A key path, with names quoted where TOML wants it.
pub(crate) fn join(path: &str, name: &str) -> String {
    let name = if name.is_empty()
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    {
        format!("{name:?}")
    } else {
        String::from(name)
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
