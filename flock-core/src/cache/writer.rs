//! Files on their way into the cache.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CacheKey;
use super::files::publish;
use crate::Result;

/// A file on its way into the cache; see
/// [`Cache::insert`](super::Cache::insert).
#[derive(Debug)]
pub struct CacheWriter {
    pub(super) file: File,
    pub(super) temporary: Temporary,
    pub(super) target: PathBuf,
    pub(super) gate: PathBuf,
}

impl CacheWriter {
    /// The open file, to write at any offset.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The temporary file's path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.0.as_deref().unwrap_or(&self.target)
    }

    /// Like [`commit`](CacheWriter::commit), but under another key: that of
    /// its content, once it is known.
    ///
    /// # Errors
    /// As [`commit`](CacheWriter::commit).
    pub fn commit_as(mut self, key: &CacheKey) -> Result<PathBuf> {
        self.target.set_file_name(key.as_str());
        self.commit()
    }

    /// Makes the file durable and puts it under its key, in the place of one
    /// that may be there. Returns where it is.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the disk
    /// is full, and others of writing; the file is then removed.
    pub fn commit(mut self) -> Result<PathBuf> {
        let path = self.path().to_path_buf();
        publish(&self.file, &path, &self.target, &self.gate)?;
        self.temporary.0 = None;
        Ok(self.target.clone())
    }
}

impl Write for CacheWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the file it names when dropped.
#[derive(Debug)]
pub(super) struct Temporary(pub(super) Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Whatever keeps it from being removed now, the next writer tries again.
            let _ = fs::remove_file(path);
        }
    }
}
