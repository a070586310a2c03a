//! Unfinished files that a later attempt continues.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::CacheKey;
use super::files::{publish, remove};
use crate::{Error, Result};

/// An unfinished file that a later attempt can continue; see
/// [`Cache::partial`](super::Cache::partial).
#[derive(Debug)]
pub struct Partial {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    pub(super) target: PathBuf,
    pub(super) gate: PathBuf,
    /// Whether it has its final name, or was removed.
    pub(super) is_gone: bool,
}

impl Drop for Partial {
    /// Of an attempt that got nothing, nothing stays.
    fn drop(&mut self) {
        if self.len == 0 && !self.is_gone {
            // Where it cannot be removed, pruning does it some day.
            let _ = remove(&note_path(&self.path)).and_then(|()| remove(&self.path));
        }
    }
}

impl Partial {
    /// How many bytes there are so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The open file; its position is where the next write goes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A second handle that reads what is there from the beginning, for
    /// hashing it before it is continued.
    ///
    /// # Errors
    /// Those of opening a file.
    pub fn reader(&self) -> Result<impl Read + use<>> {
        File::open(&self.path).map_err(|error| Error::io("open", &self.path, error))
    }

    /// What [`set_note`](Partial::set_note) left, unless the file is empty:
    /// what an attempt must know of the one before, such as the `ETag` that
    /// its bytes belong to.
    ///
    /// # Errors
    /// Those of reading a file.
    pub fn note(&self) -> Result<Option<String>> {
        let path = note_path(&self.path);
        match fs::read(&path) {
            Ok(_) if self.len == 0 => Ok(None),
            // A note torn by a crash is no note.
            Ok(note) => Ok(String::from_utf8(note).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// Leaves a note for later attempts, in place of the one before.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn set_note(&self, note: &str) -> Result<()> {
        let path = note_path(&self.path);
        fs::write(&path, note).map_err(|error| Error::io("write", &path, error))
    }

    /// Throws away what is there, to begin anew.
    ///
    /// # Errors
    /// Those of truncating a file.
    pub fn restart(&mut self) -> Result<()> {
        self.truncate(0)
    }

    /// Throws away what is behind the first `len` bytes, for example what a
    /// failed write has left of a piece.
    ///
    /// # Errors
    /// Those of truncating a file.
    pub fn truncate(&mut self, len: u64) -> Result<()> {
        let len = len.min(self.len);
        let cut = self.file.set_len(len).and_then(|()| self.file.seek(SeekFrom::Start(len)));
        cut.map_err(|error| Error::io("truncate", &self.path, error))?;
        self.len = len;
        Ok(())
    }

    /// Makes the file durable and puts it under its key. Returns where it is.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the
    /// disk is full, and others of writing. The unfinished file then stays, but
    /// without its note: what a disk did not take it may have lost, so only an
    /// attempt that verifies the bytes should continue it.
    pub fn commit(mut self) -> Result<PathBuf> {
        let published = publish(&self.file, &self.path, &self.target, &self.gate);
        self.is_gone = published.is_ok();
        remove(&note_path(&self.path))?;
        published.map(|()| std::mem::take(&mut self.target))
    }

    /// Like [`commit`](Partial::commit), but under another key: that of its
    /// content, once it is known.
    ///
    /// # Errors
    /// As [`commit`](Partial::commit).
    pub fn commit_as(mut self, key: &CacheKey) -> Result<PathBuf> {
        self.target.set_file_name(key.as_str());
        self.commit()
    }

    /// Removes the file, because its bytes proved to be wrong.
    ///
    /// # Errors
    /// Those of removing a file.
    pub fn discard(mut self) -> Result<()> {
        self.is_gone = true;
        remove(&note_path(&self.path))?;
        remove(&self.path)
    }

    /// The unfinished file's path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn note_path(partial: &Path) -> PathBuf {
    let mut path = partial.as_os_str().to_os_string();
    path.push(".note");
    path.into()
}
