//! Files that a person names: the configuration, and the files that it or the command line refers to. This module says
//! for all of them why a file cannot be used. It says what is wrong, and not how the system calls it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The byte order mark in UTF-8, which some editors write first. It is not part of the text (RFC 3629 section 6).
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The largest size of a file. It is more than any of them needs, and keeps a device file from filling the memory.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The number of bytes that are looked at to recognise UTF-16 without a mark.
const LOOKED_AT: usize = 64;

/// The reason why a file cannot be used. No message shows the contents.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Nothing has this name.
    #[error("there is no such file")]
    Missing,
    /// Its directory does not exist.
    #[error("its directory `{}` does not exist", .0.display())]
    NoDirectory(PathBuf),
    /// A part of the path is a file.
    #[error("`{}` is no directory", .0.display())]
    NotInDirectory(PathBuf),
    /// A symbolic link whose target does not exist.
    #[error("it is a link to `{}`, which does not exist", .0.display())]
    Dangling(PathBuf),
    /// A directory. Docker makes one if a file that is to be mounted is missing.
    #[error("it is a directory")]
    Directory,
    /// The system permits only others to read it.
    #[error("permission denied to user {user}{owner}")]
    Forbidden {
        /// The user who wanted to read.
        user: u32,
        /// The owner of the file, if that can be seen.
        owner: String,
    },
    /// It is too large: a device, or not the file that was meant.
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    /// UTF-16, as older editors of Windows and its PowerShell write it.
    #[error("it is UTF-16, not UTF-8")]
    Utf16,
    /// Another encoding, such as Latin-1.
    #[error("it is not UTF-8, first on line {0}")]
    NotUtf8(usize),
    /// A program, an archive, a raw key.
    #[error("it is not a text: there is a NUL byte on line {0}")]
    Binary(usize),
    /// Everything else, in the system's words.
    #[error(transparent)]
    Other(io::Error),
}

impl Unreadable {
    /// Returns the advice.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing | Self::NoDirectory(_) | Self::NotInDirectory(_) | Self::Dangling(_) => {
                "check its path; without a leading `/` it starts at the configuration's directory"
            }
            Self::Directory => {
                "name a file in it (Docker makes a directory where a file that is to be mounted does not exist)"
            }
            Self::Forbidden { .. } => "let that user read it, or run Portcullis as its owner",
            Self::TooLarge(_) => "name the file that was meant",
            Self::Utf16 | Self::NotUtf8(_) => "save it as UTF-8",
            Self::Binary(_) => "name the file that was meant, which is a text in UTF-8",
            Self::Other(_) => "check its path and that Portcullis may read it",
        }
    }

    fn of(path: &Path, error: io::Error) -> Self {
        let parents = || path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        match error.kind() {
            io::ErrorKind::NotFound => match fs::read_link(path) {
                Ok(end) => Self::Dangling(end),
                Err(_) => match parents().next().filter(|parent| !parent.exists()) {
                    Some(parent) => Self::NoDirectory(parent.to_owned()),
                    None => Self::Missing,
                },
            },
            io::ErrorKind::NotADirectory => match parents().find(|parent| parent.is_file()) {
                Some(file) => Self::NotInDirectory(file.to_owned()),
                None => Self::Other(error),
            },
            io::ErrorKind::IsADirectory => Self::Directory,
            io::ErrorKind::PermissionDenied => {
                let owner = fs::metadata(path).map(|file| {
                    format!(
                        ": it belongs to user {}, with mode {:04o}",
                        file.uid(),
                        file.permissions().mode() & 0o7777
                    )
                });
                Self::Forbidden {
                    user: rustix::process::geteuid().as_raw(),
                    owner: owner.unwrap_or_default(),
                }
            }
            _ => Self::Other(error),
        }
    }
}

/// Returns the contents of a file as text, without a byte order mark.
pub(crate) fn read_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| Unreadable::of(path, error))?;
    if u64::try_from(length).is_ok_and(|length| length > LARGEST) {
        return Err(Unreadable::TooLarge(LARGEST));
    }
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

/// Returns the contents of a file in UTF-8, without a byte order mark.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, Unreadable> {
    read_bytes(path).and_then(|bytes| text(&bytes))
}

/// Returns bytes as a text, or an error that says what they are instead.
pub(crate) fn text(bytes: &[u8]) -> Result<Zeroizing<String>, Unreadable> {
    let line =
        |offset: usize| memchr::memchr_iter(b'\n', bytes.get(..offset).unwrap_or_default()).count() + 1;
    if is_utf16(bytes) {
        return Err(Unreadable::Utf16);
    }
    if let Some(offset) = memchr::memchr(0, bytes) {
        return Err(Unreadable::Binary(line(offset)));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => Err(Unreadable::NotUtf8(line(error.valid_up_to()))),
    }
}

/// Tells whether a text has the mark of UTF-16, or begins like UTF-16. In UTF-16, one byte in two is zero in the keys
/// and punctuation of nearly all languages.
fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let (units, _) = start.as_chunks::<2>();
    let is_big = |unit: &[u8; 2]| unit[0] == 0 && unit[1] != 0;
    let is_little = |unit: &[u8; 2]| unit[0] != 0 && unit[1] == 0;
    !units.is_empty() && (units.iter().all(is_big) || units.iter().all(is_little))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bytes_are() {
        let units = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        for (bytes, expected) in [
            (b"".to_vec(), ""),
            (b"a".to_vec(), ""),
            ("Käse\n".as_bytes().to_vec(), ""),
            (units("a = 1"), "it is UTF-16, not UTF-8"),
            (b"\xff\xfe".to_vec(), "it is UTF-16, not UTF-8"),
            (b"a\nb\0c".to_vec(), "it is not a text: there is a NUL byte on line 2"),
            (vec![0; 64], "it is not a text: there is a NUL byte on line 1"),
            (b"a\n\nb\xe4c".to_vec(), "it is not UTF-8, first on line 3"),
        ] {
            let told = text(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(told, expected, "{bytes:?}");
        }
    }

    #[test]
    fn who_may_not_read_is_told_whose_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "canary").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        // The error is made by hand: the user of this test may be root, whom permissions do not stop.
        let error = Unreadable::of(&path, io::Error::from(io::ErrorKind::PermissionDenied));
        let user = rustix::process::geteuid().as_raw();
        let expected = format!("permission denied to user {user}: it belongs to user {user}, with mode 0600");
        assert_eq!(error.to_string(), expected);
    }
}
