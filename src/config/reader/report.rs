//! The findings about the whole file.

use std::cell::RefCell;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::problem::Problem;
use crate::config::source_files::{Files, Fingerprint, fingerprint};
use crate::system::file::Unreadable;

/// Problems and warnings, in the order in which they were found.
pub(crate) struct Report<'a> {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    seen: RefCell<Vec<Seen>>,
    files: RefCell<Files>,
    /// The directory to which paths of files are relative.
    pub(crate) directory: &'a Path,
    #[cfg(test)]
    keys: RefCell<Vec<Key>>,
}

/// The digest of a value that the file only names.
pub(crate) struct Seen {
    /// The path of its key.
    pub(crate) key: String,
    /// The SHA-256 digest of the value.
    pub(crate) digest: Fingerprint,
    /// If true, messages do not even show the source of the value.
    pub(crate) is_secret: bool,
}

/// A key that the code reads. The documentation must have it, too.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The path, such as `apps.*.routes[].path`.
    pub(crate) path: String,
    /// The default as TOML, or in words.
    pub(crate) default: &'static str,
}

impl<'a> Report<'a> {
    pub(crate) fn new(directory: &'a Path) -> Self {
        Self::after(directory, Files::default())
    }

    /// Makes a report for which some files have already been read.
    pub(crate) fn after(directory: &'a Path, files: Files) -> Self {
        Self {
            problems: RefCell::default(),
            warnings: RefCell::default(),
            seen: RefCell::default(),
            files: RefCell::new(files),
            directory,
            #[cfg(test)]
            keys: RefCell::default(),
        }
    }

    pub(crate) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn warning(&self, warning: Problem) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Adds a hint to the problem at a key. If there is no such problem, adds a warning.
    pub(crate) fn remark(&self, key: &str, line: usize, message: String, hint: &str) {
        let mut problems = self.problems.borrow_mut();
        match problems.iter_mut().find(|problem| problem.key == key) {
            Some(problem) => problem.hint = format!("{}; or {hint}", problem.hint),
            None => self.warning(Problem::new(key.to_owned(), Some(line), message, hint.to_owned())),
        }
    }

    /// Returns true if a secret was read at a key.
    pub(crate) fn is_secret(&self, key: &str) -> bool {
        self.seen.borrow().iter().any(|seen| seen.is_secret && seen.key == key)
    }

    /// Records a secret that was read.
    pub(crate) fn secret(&self, key: &str, text: &str) {
        self.see(key, text.as_bytes(), true);
    }

    /// Records the contents of the file that a key names.
    pub(crate) fn contents(&self, key: &str, contents: &[u8]) {
        self.see(key, contents, false);
    }

    fn see(&self, key: &str, contents: &[u8], is_secret: bool) {
        let seen = Seen { key: key.to_owned(), digest: fingerprint(contents), is_secret };
        self.seen.borrow_mut().push(seen);
    }

    /// Reads a file that the configuration names.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        self.files.borrow_mut().read(&self.directory.join(path))
    }

    /// Takes the recorded values and files out of the report.
    pub(crate) fn take_seen(&self) -> (Vec<Seen>, Files) {
        (self.seen.take(), self.files.take())
    }

    /// Records a key that the code reads.
    #[cfg(test)]
    pub(super) fn key(&self, path: String, default: &'static str) {
        self.keys.borrow_mut().push(Key { path, default });
    }

    /// Returns problems and warnings in the order of the file.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.problems.into_inner();
        let mut warnings = self.warnings.into_inner();
        problems.sort_by_key(|problem| problem.line);
        warnings.sort_by_key(|problem| problem.line);
        (problems, warnings)
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for key in self.keys.borrow().iter() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}
