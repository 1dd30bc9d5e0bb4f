//! A table that is being read. When it is dropped, it reports every key that nobody has read as unknown.

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
    /// The table has a wrong type, which is already reported. So no missing key is reported.
    broken: bool,
    known: RefCell<Vec<&'static str>>,
    /// The user chooses the names of the table's keys.
    open: bool,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(entries: &'a [Entry], report: &'a Report<'a>) -> Self {
        Self::new(report, String::new(), String::new(), 1, entries)
    }

    /// Returns the table for reading a part of it. Keys that nobody reads are then not reported.
    pub(crate) fn in_part(mut self) -> Self {
        self.open = true;
        self
    }

    fn new(report: &'a Report<'a>, path: String, pattern: String, line: usize, entries: &'a [Entry]) -> Self {
        Self { path, pattern, line, entries, broken: false, known: RefCell::default(), open: false, report }
    }

    /// Reads a key that the file must have.
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

    /// Reads a key with a default. The default is TOML, and is read like a value of the file.
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

    /// Reads a key that may be left out. `default` describes in words what then applies. Returns `None` if the value is
    /// wrong.
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

    /// Returns a table with fixed keys. It is empty if the file leaves it out.
    pub(crate) fn section(&self, name: &'static str) -> Section<'a> {
        self.known.borrow_mut().push(name);
        let pattern = join(&self.pattern, name);
        match self.entry(name) {
            Some(node) => self.open_table(self.child(name), pattern, node),
            None => Section::new(self.report, self.child(name), pattern, self.line, &[]),
        }
    }

    /// Returns a table with keys that the user chooses.
    pub(crate) fn open_section(&self, name: &'static str) -> Section<'a> {
        let mut section = self.section(name);
        section.open = true;
        section
    }

    /// Returns the tables in this table, each with the name that the user chose.
    pub(crate) fn named(&self) -> Vec<(&'a str, Section<'a>)> {
        self.entries
            .iter()
            .map(|entry| {
                let path = join(&self.path, &entry.key);
                (entry.key.as_str(), self.open_table(path, join(&self.pattern, "*"), &entry.node))
            })
            .collect()
    }

    /// Returns the values in this table, each with the name that the user chose.
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

    /// Returns a list of tables, written as `[[name]]`.
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

    /// Returns true if the file has the key.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.broken
    }

    /// Reports the fault of a key of this table, or its absence.
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

    /// Reports a fault of the whole table.
    pub(crate) fn fault_here<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report.problem(self.describe_here(message.into(), hint.into()));
        None
    }

    pub(crate) fn warn_here(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.report.warning(self.describe_here(message.into(), hint.into()));
    }

    /// Returns the full path of a key of this table.
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

    /// Records a key for the comparison with the documentation.
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
    /// Reports every key that nobody has read. It does not show the value, which may be a secret under a misspelt name.
    fn drop(&mut self) {
        if self.open {
            return;
        }
        let known = self.known.borrow();
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = match nearest(&entry.key, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                // All lines after a header belong to its table, even if the user meant them for the table before.
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

/// Returns the path of a key. Names are quoted if TOML requires it.
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
