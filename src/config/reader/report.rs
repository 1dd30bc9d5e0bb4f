//! What has been found so far, over the whole file.

use std::cell::RefCell;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

use super::super::Problem;

/// Problems and warnings, in the order in which they are found.
pub(in crate::config) struct Report<'a> {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    secrets: RefCell<Vec<SecretSeen>>,
    /// Where relative paths of secret files start.
    pub(in crate::config) directory: &'a Path,
    #[cfg(test)]
    keys: RefCell<Vec<Key>>,
}

/// A secret that was read, without itself.
pub(in crate::config) struct SecretSeen {
    /// Its key's path.
    pub(in crate::config) key: String,
    /// SHA-256 of its text.
    pub(in crate::config) digest: [u8; 32],
    /// The file that it was read from.
    pub(in crate::config) file: Option<String>,
}

/// A key that the code reads: what documentation must agree with.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Key {
    /// Such as `apps.*.routes[].path`.
    pub(in crate::config) path: String,
    /// The default as TOML, or in words.
    pub(in crate::config) default: &'static str,
}

impl<'a> Report<'a> {
    pub(in crate::config) fn new(directory: &'a Path) -> Self {
        Self {
            problems: RefCell::default(),
            warnings: RefCell::default(),
            secrets: RefCell::default(),
            directory,
            #[cfg(test)]
            keys: RefCell::default(),
        }
    }

    pub(in crate::config) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(in crate::config) fn warning(&self, warning: Problem) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Adds to what was found at a key, or else warns of it.
    pub(in crate::config) fn remark(&self, key: &str, line: usize, message: String, hint: &str) {
        let mut problems = self.problems.borrow_mut();
        match problems.iter_mut().find(|problem| problem.key == key) {
            Some(problem) => problem.hint = format!("{}; or {hint}", problem.hint),
            None => self.warning(Problem::new(key.to_owned(), Some(line), message, hint.to_owned())),
        }
    }

    /// Whether a secret was read there.
    pub(in crate::config) fn is_secret(&self, key: &str) -> bool {
        self.secrets.borrow().iter().any(|seen| seen.key == key)
    }

    /// Notes a secret that was read.
    pub(in crate::config) fn secret(&self, key: &str, text: &str, file: Option<&str>) {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        let seen = SecretSeen { key: key.to_owned(), digest: bytes, file: file.map(str::to_owned) };
        self.secrets.borrow_mut().push(seen);
    }

    /// The secrets that were read.
    pub(in crate::config) fn take_secrets(&self) -> Vec<SecretSeen> {
        self.secrets.take()
    }

    /// Notes a key that the code reads.
    #[cfg(test)]
    pub(super) fn key(&self, path: String, default: &'static str) {
        self.keys.borrow_mut().push(Key { path, default });
    }

    /// Problems and warnings in the file's order.
    pub(in crate::config) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.problems.into_inner();
        let mut warnings = self.warnings.into_inner();
        problems.sort_by_key(|problem| problem.line);
        warnings.sort_by_key(|problem| problem.line);
        (problems, warnings)
    }

    #[cfg(test)]
    pub(in crate::config) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for key in self.keys.borrow().iter() {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}
