//! The file that passwords of nodes are written to.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flock_core::secret::Secret;
use flock_core::{Error, ErrorKind, Result};

/// A file that its owner alone may read.
pub(super) struct File {
    path: PathBuf,
    file: Mutex<fs::File>,
    /// What was in it: a deploy that is resumed gets passwords again.
    there: String,
}

impl File {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for one that others may read,
    /// [`ErrorKind::InvalidConfig`] for what is no file; those of opening it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::io("write passwords to", path, source);
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let message = format!("{} is no file that passwords can go to", path.display());
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let file =
            OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = format!("others may read {}, where passwords are to go", path.display());
            return Err(Error::new(ErrorKind::PermissionDenied, message)
                .with("path", path.display().to_string())
                .hint(format!("chmod 600 {}", path.display())));
        }
        let there = fs::read_to_string(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), there })
    }

    /// Adds a line, unless it is there. When this returns it is on the disk.
    pub(super) fn add(&self, node: &str, password: &Secret) -> Result<()> {
        let entry = format!("{node} {}", password.expose());
        if self.there.lines().any(|line| line == entry) {
            return Ok(());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write, so that a line is there whole or not at all.
        let written =
            file.write_all(format!("{entry}\n").as_bytes()).and_then(|()| file.sync_data());
        written.map_err(|source| Error::io("write a password to", &self.path, source))
    }
}

impl Drop for File {
    /// A file without passwords is of no use.
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // Where it cannot be removed it does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}
