//! Files that say by a lock whether their maker is still alive.
//!
//! The lock of a file goes with its process, whatever ends it. So a temporary
//! file that can be locked is a leftover, and one that cannot is in use.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Opens (making it if need be) and locks the file at `path`; `None` if
/// somebody else holds the lock.
///
/// A file may be renamed or removed between being opened and being locked, so
/// the lock counts only once the path is seen to lead to the locked file.
pub(crate) fn try_lock(path: &Path, mode: u32) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = open_with_mode(&mut options, mode, path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) if is_at(&file, path)? => return Ok(Some(file)),
            Ok(()) => {}
        }
    }
}

/// Makes a new, locked file `PREFIX<unique>SUFFIX` in `dir`, with `mode` as
/// far as the umask allows.
pub(crate) fn create_unique(
    dir: &Path,
    prefix: &std::ffi::OsStr,
    suffix: &str,
    mode: u32,
) -> io::Result<(File, PathBuf)> {
    loop {
        let mut name = prefix.to_os_string();
        name.push(unique());
        name.push(suffix);
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = match open_with_mode(&mut options, mode, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other?,
        };
        // A cleaner can get in between making and locking; it then removes
        // the file, and the next name is tried.
        match file.try_lock() {
            Ok(()) if is_at(&file, &path)? => return Ok((file, path)),
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                fs::remove_file(&path)?;
                return Err(error);
            }
        }
    }
}

/// Removes the file at `path` if nobody holds its lock; whether it did.
pub(crate) fn remove_if_free(path: &Path) -> io::Result<bool> {
    // A lock needs no more than a descriptor, so a read-only one serves for
    // files of any mode.
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    if !is_at(&file, path)? {
        return Ok(false);
    }
    fs::remove_file(path)?;
    Ok(true)
}

/// Whether `path` leads to this very file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(same_file(&file.metadata()?, &there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere an open file can be neither renamed nor removed.
#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

fn open_with_mode(options: &mut OpenOptions, mode: u32, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// Differs within a process by the counter, between processes by the rest;
/// where that is not enough (a shared disk), `create_new` decides.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{next:x}-{nanos:x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_and_ends_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_lock(&path, 0o600).unwrap().unwrap();
        assert!(try_lock(&path, 0o600).unwrap().is_none());
        assert!(!remove_if_free(&path).unwrap());
        drop(held);
        assert!(try_lock(&path, 0o600).unwrap().is_some());
        assert!(remove_if_free(&path).unwrap());
        assert!(!path.exists());
        assert!(!remove_if_free(&path).unwrap());
    }

    #[test]
    fn a_lock_on_a_file_that_was_replaced_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let old = try_lock(&path, 0o600).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let new = try_lock(&path, 0o600).unwrap().unwrap();
        assert!(!is_at(&old, &path).unwrap());
        assert!(is_at(&new, &path).unwrap());
    }
}
