//! What has been found so far, over the whole file.

use std::cell::RefCell;
use std::path::Path;

use zeroize::Zeroizing;

use crate::config::problem::Problem;
use crate::config::source_files::{Files, Fingerprint, fingerprint};
use crate::system::file::Unreadable;

/// Problems and warnings, in the order in which they are found.
pub(crate) struct Report<'a> {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    seen: RefCell<Vec<Seen>>,
    files: RefCell<Files>,
    /// Where relative paths of files start.
    pub(crate) directory: &'a Path,
    #[cfg(test)]
    keys: RefCell<Vec<Key>>,
}

/// A value that is more than what the file says of it, without itself.
pub(crate) struct Seen {
    /// Its key's path.
    pub(crate) key: String,
    /// SHA-256 of it.
    pub(crate) digest: Fingerprint,
    /// Not even where it comes from is shown.
    pub(crate) is_secret: bool,
}

/// A key that the code reads: what documentation must agree with.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Such as `apps.*.routes[].path`.
    pub(crate) path: String,
    /// The default as TOML, or in words.
    pub(crate) default: &'static str,
}

impl<'a> Report<'a> {
    pub(crate) fn new(directory: &'a Path) -> Self {
        Self::after(directory, Files::default())
    }

    /// The same where some files have been read already.
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

    /// Adds to what was found at a key, or else warns of it.
    pub(crate) fn remark(&self, key: &str, line: usize, message: String, hint: &str) {
        let mut problems = self.problems.borrow_mut();
        match problems.iter_mut().find(|problem| problem.key == key) {
            Some(problem) => problem.hint = format!("{}; or {hint}", problem.hint),
            None => self.warning(Problem::new(key.to_owned(), Some(line), message, hint.to_owned())),
        }
    }

    /// Whether a secret was read there.
    pub(crate) fn is_secret(&self, key: &str) -> bool {
        self.seen.borrow().iter().any(|seen| seen.is_secret && seen.key == key)
    }

    /// Notes a secret that was read.
    pub(crate) fn secret(&self, key: &str, text: &str) {
        self.see(key, text.as_bytes(), true);
    }

    /// Notes what the file holds that a key names.
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

    /// What was read.
    pub(crate) fn take_seen(&self) -> (Vec<Seen>, Files) {
        (self.seen.take(), self.files.take())
    }

    /// Notes a key that the code reads.
    #[cfg(test)]
    pub(super) fn key(&self, path: String, default: &'static str) {
        self.keys.borrow_mut().push(Key { path, default });
    }

    /// Problems and warnings in the file's order.
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
