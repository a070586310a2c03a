//! What is removed when it was not used for long.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use super::Cache;
use super::files::{list, remove, remove_if_free, remove_leftovers};
use super::partial::note_path;
use crate::{Context, Error, Result};

/// What [`Cache::prune`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many files and unfinished downloads.
    pub files: u64,
    /// How many bytes they held.
    pub bytes: u64,
}

impl Cache {
    /// Removes files that were last used, and unfinished ones last written,
    /// longer than `max_age` ago, and the leftovers of killed processes. What
    /// is being written stays; what is being read can be read to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`], [`ErrorKind::Timeout`]; those of removing
    /// files.
    pub fn prune(&self, max_age: Duration, ctx: &Context) -> Result<Pruned> {
        let oldest = SystemTime::now().checked_sub(max_age);
        let is_old = |time: SystemTime| oldest.is_some_and(|oldest| time <= oldest);
        let mut pruned = Pruned::default();
        for (path, metadata) in list(&self.dir.join("files"))? {
            ctx.check()?;
            let used = metadata.accessed().or_else(|_| metadata.modified());
            if is_old(used.map_err(|error| Error::io("read the times of", &path, error))?) {
                remove(&path)?;
                pruned.files += 1;
                pruned.bytes += metadata.len();
            }
        }
        for (path, metadata) in list(&self.dir.join("partial"))? {
            ctx.check()?;
            let written = metadata.modified();
            let is_note = path.extension() == Some(OsStr::new("note"));
            if !is_note
                && is_old(written.map_err(|e| Error::io("read the times of", &path, e))?)
                && remove_if_free(&path)?
            {
                remove(&note_path(&path))?;
                pruned.files += 1;
                pruned.bytes += metadata.len();
            }
        }
        remove_leftovers(&self.dir.join("tmp"))?;
        remove_leftovers(&self.dir.join("locks"))?;
        Ok(pruned)
    }

    /// How many bytes the cache holds, unfinished files included.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub fn size(&self) -> Result<u64> {
        let mut bytes = 0;
        for room in ["files", "partial", "tmp"] {
            for (_, metadata) in list(&self.dir.join(room))? {
                bytes += metadata.len();
            }
        }
        Ok(bytes)
    }
}
