//! Who uses the cache now, so that nobody's files are removed.
//!
//! Each process that uses a cache holds a locked file in `users/`, whose
//! modification time is when it began. What was made or looked up since the
//! first of them began counts as in use. The lock of a file goes with its
//! process, so a killed one leaves nothing in use.
//!
//! A lookup and a removal exclude each other by the lock of the file `gate`,
//! which both hold for moments only: a file is either removed before it is
//! looked up, and then not found, or known to be in use.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::files::{is_read_only, list, remove_if_free};
use crate::{Error, Result, lockfile};

/// Times on file systems go by ticks; the coarsest in use has one of 2 s.
const TICK: Duration = Duration::from_secs(2);

/// What a cache and its clones have in use, from the first lookup to the end
/// of the last clone.
#[derive(Debug, Clone, Default)]
pub(super) struct User(Arc<Mutex<Option<Mark>>>);

/// The locked file of a user; removed when dropped.
#[derive(Debug)]
struct Mark {
    path: PathBuf,
    _file: File,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // Whatever keeps it from being removed now, the next prune tries again.
        let _ = fs::remove_file(&self.path);
    }
}

impl User {
    pub(super) fn has_begun(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Makes the mark in `dir` if it is not there yet. In a cache that may
    /// only be read there is none, for this user removes nothing either.
    pub(super) fn begin(&self, dir: &Path) -> Result<()> {
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.is_some() {
            return Ok(());
        }
        let failed = |error| Error::io("create a file in", dir, error);
        let (file, path) = match lockfile::create_unique(dir, "user-", 0o600) {
            Err(error) if is_read_only(&error) => return Ok(()),
            other => other.map_err(failed)?,
        };
        // By this machine's clock, as the times of use are.
        let now = FileTimes::new().set_modified(SystemTime::now());
        file.set_times(now).map_err(failed)?;
        *mark = Some(Mark { path, _file: file });
        Ok(())
    }
}

/// When the first of the present users began; `None` if there is none.
/// Removes what killed ones left.
pub(super) fn since(dir: &Path) -> Result<Option<SystemTime>> {
    let mut first = None;
    for (path, metadata) in list(dir)? {
        if remove_if_free(&path)? {
            continue;
        }
        let began = metadata.modified().map_err(|e| Error::io("read the times of", &path, e))?;
        let began = began.checked_sub(TICK).unwrap_or(began);
        first = Some(first.map_or(began, |first: SystemTime| first.min(began)));
    }
    Ok(first)
}

/// The gate, as long as it is held.
#[derive(Debug)]
pub(super) struct Gate {
    _file: Option<File>,
}

impl Gate {
    /// Keeps removals away. Waits for one that is under way.
    pub(super) fn shared(path: &Path) -> Result<Self> {
        Self::enter(path, File::lock_shared)
    }

    /// Keeps lookups and other removals away.
    pub(super) fn alone(path: &Path) -> Result<Self> {
        Self::enter(path, File::lock)
    }

    fn enter(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path).and_then(|file| lock(&file).map(|()| file)) {
            Ok(file) => Ok(Self { _file: Some(file) }),
            Err(error) if is_read_only(&error) => Ok(Self { _file: None }),
            Err(error) => Err(Error::io("lock", path, error)),
        }
    }
}
