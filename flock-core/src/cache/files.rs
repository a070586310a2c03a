//! What all rooms of the cache do with files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::in_use::Gate;
use crate::{Error, Result, lockfile};

/// Syncs and renames. Complete files are read-only, for they do not change.
pub(super) fn publish(file: &File, from: &Path, to: &Path, gate: &Path) -> Result<()> {
    let write = |error| Error::io("write", from, error);
    file.sync_data().map_err(write)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o400)).map_err(write)?;
    }
    // Not while somebody looks whether to remove what is there.
    let _gate = Gate::shared(gate)?;
    fs::rename(from, to).map_err(|error| Error::io("rename into place", from, error))
}

/// Files in `dir` with their metadata; none if there is no such directory.
/// What vanishes meanwhile is left out.
pub(super) fn list(dir: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>> {
    let read = |error| Error::io("read", dir, error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(read)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push((entry.path(), metadata)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(read(error)),
            _ => {}
        }
    }
    Ok(files)
}

/// Removes the files of `dir` that no living process has locked.
pub(super) fn remove_leftovers(dir: &Path) -> Result<()> {
    for (path, _) in list(dir)? {
        remove_if_free(&path)?;
    }
    Ok(())
}

pub(super) fn remove_if_free(path: &Path) -> Result<bool> {
    lockfile::remove_if_free(path).map_err(|error| Error::io("remove", path, error))
}

/// Whether somebody holds the lock of the file at `path`.
pub(super) fn is_held(path: &Path) -> Result<bool> {
    let held = File::open(path).and_then(|file| match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(false),
    });
    match held {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map_err(|error| Error::io("look at", path, error)),
    }
}

pub(super) fn remove(path: &Path) -> Result<()> {
    ignore_missing(fs::remove_file(path)).map_err(|error| Error::io("remove", path, error))
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
