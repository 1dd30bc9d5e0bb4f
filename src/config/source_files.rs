//! The files from which a configuration was read. All of them are opened here. So the code that watches for changes
//! knows all of them, even those that could not be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::system::file::{Unreadable, read_bytes};

/// The SHA-256 digest of a file's contents.
pub(super) type Fingerprint = [u8; 32];

/// Files, and the digests of their contents when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Option<Fingerprint>>);

impl Files {
    /// Reads a file, and remembers a digest of its contents. Each file is read only once, because it may be a pipe.
    pub(super) fn read(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let contents = read_bytes(path);
        self.0.insert(path.to_owned(), contents.as_ref().ok().map(|contents| fingerprint(contents)));
        contents
    }

    /// Reads the same files again.
    #[must_use]
    pub fn now(&self) -> Self {
        let mut now = Self::default();
        for path in self.paths() {
            // A file that can no longer be read is also a change. The reload then logs the error.
            let _unreadable = now.read(path);
        }
        now
    }

    /// Returns the paths of the files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }
}

/// Returns the SHA-256 digest.
pub(super) fn fingerprint(contents: &[u8]) -> Fingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, contents).as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_also_one_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        let mut missing = Files::default();
        for path in &paths {
            assert!(missing.read(path).is_err());
        }
        assert_eq!(missing.paths().collect::<Vec<_>>(), [&*paths[0], &*paths[1]]);
        std::fs::write(&paths[0], "x").unwrap();
        std::fs::write(&paths[1], "").unwrap();
        let there = missing.now();
        std::fs::write(&paths[0], "").unwrap();
        std::fs::write(&paths[1], "x").unwrap();
        let moved = missing.now();
        assert!(missing != there && there != moved && moved == moved.now());
    }

    #[test]
    fn a_file_without_end_is_none() {
        let error = Files::default().read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 4096 KiB");
    }
}
