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
        let file = open(&mut options, mode, path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) if is_at(&file, path)? => return Ok(Some(file)),
            Ok(()) => {}
        }
    }
}

/// Makes and locks the file at `path`, with `mode` as far as the umask allows;
/// `None` if something is there.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    let file = match open(&mut options, mode, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        other => other?,
    };
    // A cleaner can get in between making and locking; it then removes the
    // file, and the next attempt counts.
    match file.try_lock() {
        Ok(()) if is_at(&file, path)? => Ok(Some(file)),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            fs::remove_file(path)?;
            Err(error)
        }
    }
}

/// Makes and locks a new file `PREFIX<unique>` in `dir`.
pub(crate) fn create_unique(dir: &Path, prefix: &str, mode: u32) -> io::Result<(File, PathBuf)> {
    loop {
        let path = dir.join(format!("{prefix}{}", unique()));
        if let Some(file) = create(&path, mode)? {
            return Ok((file, path));
        }
    }
}

/// The process that holds the lock of the file at `path`, as far as the system
/// tells: Linux does in `/proc/locks` (proc(5)).
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let inode = inode(&fs::symlink_metadata(path).ok()?)?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip_while(|field| *field != "FLOCK").skip(3);
        let process = fields.next()?.parse().ok()?;
        let (_, number) = fields.next()?.rsplit_once(':')?;
        (number.parse() == Ok(inode)).then_some(process)
    })
}

#[cfg(unix)]
fn inode(metadata: &fs::Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(metadata))
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Option<u64> {
    None
}

/// Removes the file at `path` if nobody holds its lock; whether it did.
pub(crate) fn remove_if_free(path: &Path) -> io::Result<bool> {
    // A lock needs no more than a descriptor, so a read-only one serves for
    // files of any mode.
    let file = match open(OpenOptions::new().read(true), 0, path) {
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

/// Opens without following a link or waiting for the other end of a pipe.
fn open(options: &mut OpenOptions, mode: u32, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
        options.mode(mode).custom_flags(flags.cast_signed());
    }
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
