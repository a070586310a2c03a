//! What is removed when it was not used for long.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use super::Cache;
use super::entry::{CacheEntry, EntryKind, origin_path, times};
use super::files::{list, remove, remove_if_free, remove_leftovers};
use super::in_use::{self, Gate};
use super::partial::note_path;
use crate::{Context, Error, Result, lockfile};

/// How long flock keeps what nobody uses, unless told otherwise: 60 days.
pub const DEFAULT_KEEP: Duration = Duration::from_secs(60 * 24 * 3600);

/// What [`Cache::prune`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// What was not used for longer than this is removed; [`DEFAULT_KEEP`] by
    /// default. Zero removes everything that nobody uses now.
    pub unused_for: Duration,
    /// Whether to tell only what would be removed; no by default.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { unused_for: DEFAULT_KEEP, dry_run: false }
    }
}

impl PruneOptions {
    /// The same options with another age.
    #[must_use]
    pub fn with_unused_for(mut self, age: Duration) -> Self {
        self.unused_for = age;
        self
    }

    /// The same options, to remove or only to tell.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What [`Cache::prune`] removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// The entries removed, the largest first.
    pub entries: Vec<CacheEntry>,
    /// How many entries stay although they are as old, because a running
    /// process may be using them.
    pub in_use: u64,
}

impl Pruned {
    /// How many bytes the entries held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

impl Cache {
    /// Removes entries that were last used, and unfinished ones last written,
    /// longer than [`PruneOptions::unused_for`] ago, and the leftovers of
    /// killed processes.
    ///
    /// What a running process made or looked up through a [`Cache`] that it
    /// still has stays, and so does what is being written.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled),
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout); those of removing
    /// files. What was removed before stays removed.
    pub fn prune(&self, options: &PruneOptions, ctx: &Context) -> Result<Pruned> {
        let oldest = SystemTime::now().checked_sub(options.unused_for);
        let mut pruned = Pruned::default();
        for entry in self.entries(ctx)? {
            ctx.check()?;
            if oldest.is_none_or(|oldest| entry.used > oldest) {
                continue;
            }
            let goes = match (entry.in_use, options.dry_run) {
                (true, _) => false,
                (false, true) => true,
                (false, false) => self.remove_unused(&entry)?,
            };
            if goes {
                pruned.entries.push(entry);
            } else {
                pruned.in_use += 1;
            }
        }
        if !options.dry_run {
            self.remove_leftovers()?;
        }
        Ok(pruned)
    }

    /// Removes the entry unless it was used after it was looked at; whether it
    /// did.
    fn remove_unused(&self, entry: &CacheEntry) -> Result<bool> {
        if entry.kind == EntryKind::Partial {
            let removed = remove_if_free(&entry.path)?;
            if removed {
                remove(&note_path(&entry.path))?;
                remove(&origin_path(&self.room("origins"), &entry.path))?;
            }
            return Ok(removed);
        }
        let _gate = Gate::alone(&self.room("gate"))?;
        let metadata = match fs::metadata(&entry.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| Error::io("look at", &entry.path, error))?,
        };
        let (_, used) = times(&entry.path, &metadata)?;
        if used != entry.used {
            return Ok(false);
        }
        remove(&origin_path(&self.room("origins"), &entry.path))?;
        remove(&entry.path)?;
        Ok(true)
    }

    /// Removes what killed processes left, and notes about what is gone.
    fn remove_leftovers(&self) -> Result<()> {
        remove_leftovers(&self.room("tmp"))?;
        self.remove_work_leftovers()?;
        remove_leftovers(&self.room("locks"))?;
        in_use::since(&self.room("users"))?;
        for (path, _) in list(&self.room("origins"))? {
            let name = path.file_name().unwrap_or_default();
            let is_there = |room: &str| self.room(room).join(name).exists();
            if !is_there("files") && !is_there("partial") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes the working directories in `git/` that nobody holds the lock
    /// of.
    pub(crate) fn remove_work_leftovers(&self) -> Result<()> {
        let parent = self.room("git");
        let read = |error| Error::io("read", &parent, error);
        let entries = match fs::read_dir(&parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(read)?,
        };
        for entry in entries {
            let entry = entry.map_err(read)?;
            let lock = self.make("locks")?.join(entry.file_name());
            let held = lockfile::try_lock(&lock, 0o600);
            if held.map_err(|error| Error::io("lock", &lock, error))?.is_some() {
                let removed = fs::remove_dir_all(entry.path());
                removed.map_err(|error| Error::io("remove", &entry.path(), error))?;
            }
        }
        Ok(())
    }
}
