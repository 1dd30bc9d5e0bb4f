//! The Unix socket where two processes meet. Only one user may connect to it.

use std::fs::{Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A socket and its file. The file is first made beside the path, and then moved to the path.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    fresh: PathBuf,
    /// The device and inode numbers of the socket's file. They identify the file after it was renamed.
    file: (u64, u64),
}

impl Place {
    /// Listens at a name beside the path. If `replaces` is true, another process listens at the path now, and this
    /// socket will replace it.
    pub(crate) fn prepare(path: &Path, replaces: bool) -> io::Result<Self> {
        if is_something_else(path) {
            let text = format!("`{}` is not a socket: it is left alone", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, text));
        }
        if !replaces && UnixStream::connect(path).is_ok() {
            let text = format!("another process listens at `{}`", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, text));
        }
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let _of_a_failed_start = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        let file = number(&std::fs::symlink_metadata(&fresh)?);
        Ok(Self { listener, path: path.to_owned(), fresh, file })
    }

    /// Moves the socket to the path, so that others find it. This replaces the old socket in one step.
    pub(crate) fn take(&self) -> io::Result<()> {
        std::fs::rename(&self.fresh, &self.path)
    }

    /// Returns true if this socket is at the path.
    pub(crate) fn is_taken(&self) -> bool {
        is_file(&self.path, self.file)
    }

    /// Puts a new socket at the path if somebody has removed or replaced the file. Returns true in that case.
    pub(crate) fn retake(&mut self) -> io::Result<bool> {
        // A process that listens there has taken over, or is taking over.
        if self.is_taken() || UnixStream::connect(&self.path).is_ok() {
            return Ok(false);
        }
        let again = Self::prepare(&self.path, false)?;
        again.take()?;
        *self = again;
        Ok(true)
    }
}

impl Drop for Place {
    /// Removes the file, unless it now belongs to another process.
    fn drop(&mut self) {
        for path in [&self.path, &self.fresh] {
            if is_file(path, self.file) {
                let _gone_already = std::fs::remove_file(path);
            }
        }
    }
}

/// Returns true if there is a file that is not a socket.
pub(crate) fn is_something_else(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket())
}

fn is_file(path: &Path, file: (u64, u64)) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| number(&found) == file)
}

fn number(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(prepared: io::Result<Place>) -> Option<ErrorKind> {
        prepared.err().map(|error| error.kind())
    }

    #[tokio::test]
    async fn the_sockets_file_comes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        let place = Place::prepare(&path, false).unwrap();
        assert!(!path.exists() && !place.is_taken());
        place.take().unwrap();
        assert!(place.is_taken());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(kind(Place::prepare(&path, false)), Some(ErrorKind::AddrInUse));
        drop(place);
        assert!(!path.exists());
        // This is the socket of a process that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let place = Place::prepare(&path, false).unwrap();
        place.take().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn nobody_removes_what_is_another_ones() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        let old = Place::prepare(&path, false).unwrap();
        old.take().unwrap();
        let new = Place::prepare(&path, true).unwrap();
        assert!(old.is_taken(), "still");
        new.take().unwrap();
        assert!(new.is_taken() && !old.is_taken());
        drop(old);
        assert!(new.is_taken());
        // A process that ends before this step leaves no file.
        drop(Place::prepare(&path, true).unwrap());
        assert!(new.is_taken());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_place_that_is_lost_is_taken_again_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("upgrade.sock");
        let mut place = Place::prepare(&path, false).unwrap();
        place.take().unwrap();
        assert!(!place.retake().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(place.retake().unwrap() && place.is_taken());
        std::fs::remove_file(&path).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(place.retake().unwrap() && place.is_taken());
        std::fs::remove_file(&path).unwrap();
        let another = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(!place.retake().unwrap(), "somebody listens there");
        drop(another);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "notes").unwrap();
        assert_eq!(place.retake().err().map(|error| error.kind()), Some(ErrorKind::AlreadyExists));
        assert_eq!(kind(Place::prepare(&path, true)), Some(ErrorKind::AlreadyExists));
        drop(place);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    }
}
