//! The file that passwords of nodes are written to.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flock_core::secret::Secret;
use flock_core::{Error, ErrorKind, Result};

/// A file that its owner alone may read.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: Mutex<fs::File>,
}

impl File {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for one that others may read; those of
    /// opening it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::io("write passwords to", path, source);
        let file =
            OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = format!("others may read {}, where passwords are to go", path.display());
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .with("path", path.display().to_string())
                .hint(format!("chmod 600 {}", path.display())));
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds a line. When this returns it is on the disk.
    pub(super) fn add(&self, node: &str, password: &Secret) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that a line is there whole or not at all.
        let line = format!("{node} {}\n", password.expose());
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|source| Error::io("write a password to", &self.path, source))
    }
}
