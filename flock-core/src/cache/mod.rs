//! A directory of immutable files that several processes share: downloads,
//! and bases decompressed once.
//!
//! A file is under its key only when it is complete. Work that makes one goes:
//! take the key's [lock](Cache::lock), [look it up](Cache::lookup) (another
//! process may have made it meanwhile), and if it is not there write it
//! through [`insert`](Cache::insert) or, where an interrupted attempt is worth
//! continuing, through [`partial`](Cache::partial).
//!
//! ```
//! use std::io::Write;
//! use flock_core::cache::{Cache, CacheKey};
//! use flock_core::Context;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let cache = Cache::at(dir.path());
//! let key = CacheKey::derived("greeting", &["en"]);
//! let _lock = cache.lock(&key, &Context::new())?;
//! let path = match cache.lookup(&key)? {
//!     Some(path) => path,
//!     None => {
//!         let mut writer = cache.insert(&key)?;
//!         writer.write_all(b"hello")?;
//!         writer.commit()?
//!     }
//! };
//! assert_eq!(std::fs::read(path)?, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! What was looked up or made stays in place for as long as the [`Cache`] that
//! did so, or a clone of it, lives: [`prune`](Cache::prune), in whichever
//! process, leaves it alone.
//!
//! On disk the directory holds `files/KEY`, `partial/KEY` with
//! `partial/KEY.note`, `origins/KEY` (where a file came from), `tmp/…`,
//! `git/…`, `locks/KEY`, `users/…` and `gate`. All of it may be deleted at any
//! time when no flock runs. A file's modification time is when it was made,
//! its access time when it was last used.

mod entry;
mod files;
mod in_use;
mod key;
mod partial;
mod prune;
mod writer;

use std::fs::{self, File, FileTimes};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::{Context, Error, ErrorKind, Result, lockfile};

pub use self::entry::{CacheEntry, EntryKind};
pub use self::key::CacheKey;
pub(crate) use self::key::hex;
pub use self::partial::Partial;
pub use self::prune::{DEFAULT_KEEP, PruneOptions, Pruned};
pub use self::writer::CacheWriter;

use self::files::{ignore_missing, is_read_only, remove_leftovers};
use self::in_use::{Gate, User};
use self::writer::Temporary;

/// How long a waiter sleeps between two looks at a lock.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A cache directory. Cheap to clone; nothing is made on disk before the
/// first write.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    user: User,
}

impl Cache {
    /// The cache in this directory, which is made (mode 0700) when needed.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), user: User::default() }
    }

    /// The user's own cache: `flock` in the cache directory of the XDG base
    /// directory specification (`$XDG_CACHE_HOME`, else `~/.cache`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the user has no home directory.
    pub fn user() -> Result<Self> {
        use etcetera::BaseStrategy;
        let strategy = etcetera::choose_base_strategy().map_err(|source| {
            Error::new(ErrorKind::InvalidConfig, "cannot tell where the cache directory is")
                .hint("set HOME or XDG_CACHE_HOME, or name a cache directory")
                .caused_by(source)
        })?;
        Ok(Self::at(strategy.cache_dir().join("flock")))
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The complete file of this key, if there is one, and marks it as used
    /// now. It stays there at least as long as this `Cache` or a clone of it.
    /// In a cache that may only be read the mark is left out.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] and others of reading a directory.
    pub fn lookup(&self, key: &CacheKey) -> Result<Option<PathBuf>> {
        let path = self.path("files", key);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| Error::io("look at", &path, error))?,
        };
        self.begin_use()?;
        let _gate = Gate::shared(&self.room("gate"))?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        match file.set_times(FileTimes::new().set_accessed(SystemTime::now())) {
            Err(error) if !is_read_only(&error) => Err(Error::io("touch", &path, error)),
            _ => Ok(Some(path)),
        }
    }

    /// Begins a new file for this key. Nobody sees it before
    /// [`CacheWriter::commit`]; dropped, it is removed. Leftovers of writers
    /// that were killed are removed first.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], [`ErrorKind::QuotaExceeded`] (full
    /// disk) and others of making a file.
    pub fn insert(&self, key: &CacheKey) -> Result<CacheWriter> {
        let dir = self.make("tmp")?;
        remove_leftovers(&dir)?;
        let prefix = format!("{key}.");
        let (file, path) = lockfile::create_unique(&dir, &prefix, 0o600)
            .map_err(|error| Error::io("create a file in", &dir, error))?;
        let target = self.target(key)?;
        self.begin_use()?;
        let gate = self.room("gate");
        Ok(CacheWriter { file, temporary: Temporary(Some(path)), target, gate })
    }

    /// Waits for the lock of this key, which keeps others from making the
    /// same file at the same time. It ends when dropped, or with the process.
    /// The lock binds those who ask for it; it does not hinder a lookup.
    ///
    /// Not reentrant: a thread that asks twice waits for itself.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] or [`ErrorKind::Timeout`] if `ctx` ends first;
    /// those of making a file.
    pub fn lock(&self, key: &CacheKey, ctx: &Context) -> Result<CacheLock> {
        let path = self.make("locks")?.join(key.as_str());
        loop {
            ctx.check()?;
            match lockfile::try_lock(&path, 0o600) {
                Ok(Some(file)) => return Ok(CacheLock { _file: file }),
                Ok(None) => {
                    let left = ctx.remaining().unwrap_or(LOCK_POLL);
                    std::thread::sleep(LOCK_POLL.min(left));
                }
                Err(error) => return Err(Error::io("lock", &path, error)),
            }
        }
    }

    /// Opens the unfinished file of this key at its end, making an empty one
    /// if there is none. It outlives drop and process until it is committed,
    /// discarded or pruned.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if somebody has it open: take the key's
    /// [`lock`](Cache::lock) first. Those of making a file.
    pub fn partial(&self, key: &CacheKey) -> Result<Partial> {
        let path = self.make("partial")?.join(key.as_str());
        let file = lockfile::try_lock(&path, 0o600)
            .map_err(|error| Error::io("open", &path, error))?
            .ok_or_else(|| {
                let message = format!("{} is being written by another process", path.display());
                Error::new(ErrorKind::Conflict, message).with("path", path.display().to_string())
            })?;
        let len = (&file).seek(SeekFrom::End(0)).map_err(|e| Error::io("seek in", &path, e))?;
        let target = self.target(key)?;
        self.begin_use()?;
        Ok(Partial { file, path, len, target, gate: self.room("gate"), is_gone: false })
    }

    /// Forgets the complete file of this key, for example because it proved
    /// to be damaged. Idempotent.
    ///
    /// # Errors
    /// Those of removing a file.
    pub fn remove(&self, key: &CacheKey) -> Result<()> {
        let path = self.path("files", key);
        ignore_missing(fs::remove_file(&path)).map_err(|error| Error::io("remove", &path, error))
    }

    /// From now on, what is looked up or made stays.
    fn begin_use(&self) -> Result<()> {
        if self.user.has_begun() {
            return Ok(());
        }
        match self.make("users") {
            Ok(dir) => self.user.begin(&dir),
            // Who may not write here removes nothing, and neither do others
            // what they cannot tell to be unused for long.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn room(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn path(&self, room: &str, key: &CacheKey) -> PathBuf {
        self.room(room).join(key.as_str())
    }

    /// Where the complete file goes; its directory is there afterwards.
    fn target(&self, key: &CacheKey) -> Result<PathBuf> {
        Ok(self.make("files")?.join(key.as_str()))
    }

    fn make(&self, room: &str) -> Result<PathBuf> {
        let dir = self.room(room);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir).map_err(|error| {
            Error::io("create the cache directory", &dir, error)
                .hint("the setting `cache_dir` (--cache-dir, FLOCK_CACHE_DIR) places it elsewhere")
        })?;
        Ok(dir)
    }
}

/// Holds the lock of a key until dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

#[cfg(test)]
mod tests;
