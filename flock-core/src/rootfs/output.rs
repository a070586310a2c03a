//! A file that appears under its name only when it is complete.
//!
//! It is written as `.NAME.part` beside its final place and renamed at the
//! end. A lock on that file says that its writer is alive: a second writer of
//! the same output fails at once, and what a killed one left is removed by the
//! next.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result, lockfile};

/// How an output is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputOptions {
    /// Whether a file that is there already is replaced; `false` by default.
    pub force: bool,
    /// Whether the file is on the disk, safe from a loss of power, before it
    /// gets its name; `true` by default.
    pub sync: bool,
}

impl OutputOptions {
    /// The same options with this answer for files that are there already.
    #[must_use]
    pub fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// The same options with this answer for syncing.
    #[must_use]
    pub fn with_sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self { force: false, sync: true }
    }
}

/// A file on its way to its name. Dropped without
/// [`commit`](OutputFile::commit), it is removed.
///
/// ```
/// use std::io::Write;
/// use flock_core::rootfs::output::{OutputFile, OutputOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("appliance.tar");
/// let output = OutputFile::create(&path, &OutputOptions::default())?;
/// output.file().write_all(b"content")?;
/// assert!(!path.exists());
/// output.commit()?;
/// assert!(path.exists());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    temporary: Option<PathBuf>,
    target: PathBuf,
    options: OutputOptions,
}

impl OutputFile {
    /// Whether [`OutputFile::create`] would begin that file now; makes
    /// nothing. That another process writes it is not seen.
    ///
    /// # Errors
    /// Those of [`OutputFile::create`] that can be known;
    /// [`ErrorKind::AlreadyExists`] only if there is no other.
    pub fn check(path: impl AsRef<Path>, options: &OutputOptions) -> Result<()> {
        let target = path.as_ref();
        let temporary = temporary_path(target)?;
        let is_there = check_target(target)?;
        check_directory(target)?;
        check_leftover(&temporary)?;
        if is_there && !options.force { Err(already_there(target)) } else { Ok(()) }
    }

    /// Begins the file that is to be at `path`, with the permissions that the
    /// umask gives a new file.
    ///
    /// # Errors
    /// - [`ErrorKind::AlreadyExists`] if it is there and is not to be replaced
    /// - [`ErrorKind::Conflict`] if another process is writing it
    /// - [`ErrorKind::NotFound`] if its directory is missing
    /// - [`ErrorKind::InvalidConfig`] if something other than a file is there
    /// - [`ErrorKind::PermissionDenied`], [`ErrorKind::QuotaExceeded`] (full
    ///   disk) and others of making a file
    pub fn create(path: impl AsRef<Path>, options: &OutputOptions) -> Result<Self> {
        let target = path.as_ref().to_path_buf();
        Self::check(&target, options)?;
        let temporary = temporary_path(&target)?;
        let make = |error: io::Error| Error::io("create", &temporary, error);
        let file = loop {
            if let Some(file) = lockfile::create(&temporary, 0o666).map_err(make)? {
                break file;
            }
            // Somebody's, alive or dead. One that vanishes meanwhile was
            // alive, and the place is free now.
            let removed = lockfile::remove_if_free(&temporary);
            if !removed.map_err(|error| Error::io("remove", &temporary, error))?
                && temporary.symlink_metadata().is_ok()
            {
                return Err(being_written(&target, &temporary));
            }
        };
        Ok(Self { file, temporary: Some(temporary), target, options: options.clone() })
    }

    /// The open file, to write and read at any offset.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the file will be.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the file is until it is complete.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.as_deref().unwrap_or(&self.target)
    }

    /// Syncs the file if the options say so, and gives it its name. Returns
    /// where it is.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if something took the name meanwhile and
    /// is not to be replaced; [`ErrorKind::QuotaExceeded`] (full disk) and
    /// others of writing. The file is then removed; only where the disk fails
    /// to keep the new name it may be there already, complete.
    pub fn commit(mut self) -> Result<PathBuf> {
        let temporary = self.path().to_path_buf();
        if self.options.sync {
            self.file.sync_all().map_err(|error| Error::io("write", &temporary, error))?;
        }
        // Opened before: once the file has its name, nothing may fail.
        let directory = if self.options.sync {
            let path = parent(&self.target);
            Some(File::open(path).map_err(|error| Error::io("open", path, error))?)
        } else {
            None
        };
        let renamed = if self.options.force {
            fs::rename(&temporary, &self.target)
        } else {
            rename_to_free_name(&temporary, &self.target)
        };
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(already_there(&self.target));
            }
            other => other.map_err(|error| Error::io("name", &self.target, error))?,
        }
        self.temporary = None;
        if let Some(directory) = directory {
            let path = parent(&self.target);
            directory.sync_all().map_err(|error| Error::io("write", path, error))?;
        }
        Ok(std::mem::take(&mut self.target))
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            // Whatever keeps it from being removed now, the next run tries again.
            let _ = fs::remove_file(path);
        }
    }
}

/// `.NAME.part` beside `NAME`.
fn temporary_path(target: &Path) -> Result<PathBuf> {
    let ends_in_name = !target.as_os_str().as_encoded_bytes().ends_with(b"/");
    let Some(name) = target.file_name().filter(|_| ends_in_name) else {
        let message = format!("'{}' does not name a file", target.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .hint("add the name that the output shall have"));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".part");
    Ok(target.with_file_name(hidden))
}

/// Refuses what a rename would do harm to: a link would be replaced, not
/// followed, and so would a device. Otherwise, whether a file is there.
fn check_target(target: &Path) -> Result<bool> {
    let there = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("look at", target, error)),
    };
    let (what, hint) = if there.is_file() {
        return Ok(true);
    } else if there.is_dir() {
        ("a directory", "add the name that the output shall have in it")
    } else if there.is_symlink() {
        ("a symbolic link", "name the file that it leads to, or remove it")
    } else {
        ("not a regular file", "name a file; it would be replaced, not written to")
    };
    let message = format!("cannot write {}: it is {what}", target.display());
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .with("path", target.display().to_string())
        .hint(hint))
}

fn check_directory(target: &Path) -> Result<()> {
    let directory = parent(target);
    let failed = |error: io::Error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let error = Error::io("write in the directory", directory, error);
        if missing { error.hint("create the directory first") } else { error }
    };
    if !fs::metadata(directory).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    may_write(directory).map_err(failed)
}

#[cfg(unix)]
fn may_write(directory: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    Ok(accessat(CWD, directory, wanted, AtFlags::EACCESS)?)
}

#[cfg(not(unix))]
fn may_write(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Refuses a temporary name that is taken by what no build leaves there.
fn check_leftover(temporary: &Path) -> Result<()> {
    match fs::symlink_metadata(temporary) {
        Ok(there) if !there.is_file() => {
            let message = format!("{} is in the way, and is no file", temporary.display());
            Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("path", temporary.display().to_string())
                .hint("remove it: the output has this name until it is complete"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("look at", temporary, error))
        }
        _ => Ok(()),
    }
}

fn already_there(target: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{} is there already", target.display()))
        .with("path", target.display().to_string())
        .hint("remove it, choose another name, or allow it to be overwritten")
}

fn being_written(target: &Path, temporary: &Path) -> Error {
    let writer = match lockfile::holder(temporary) {
        Some(process) => format!("process {process}"),
        None => "another process".to_owned(),
    };
    Error::new(ErrorKind::Conflict, format!("{} is being written by {writer}", target.display()))
        .with("path", target.display().to_string())
        .with("temporary", temporary.display().to_string())
        .hint("wait until it is done, or choose another name")
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Renames unless something is there.
#[cfg(target_os = "linux")]
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_after_look(from, to),
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    rename_after_look(from, to)
}

fn rename_after_look(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn options() -> OutputOptions {
        OutputOptions::default()
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        let output = OutputFile::create(&path, &options()).unwrap();
        output.file().write_all(b"content").unwrap();
        assert_eq!(names(dir.path()), [".out.tar.part"]);
        assert_eq!(output.commit().unwrap(), path);
        assert_eq!(names(dir.path()), ["out.tar"]);
        assert_eq!(fs::read(&path).unwrap(), b"content");
    }

    #[test]
    fn dropped_it_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(OutputFile::create(dir.path().join("out.tar"), &options()).unwrap());
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn two_at_once_do_not_collide() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        let first = OutputFile::create(&path, &options()).unwrap();
        let error = OutputFile::create(&path, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        if cfg!(target_os = "linux") {
            let process = format!("process {}", std::process::id());
            assert!(error.to_string().contains(&process), "{error}");
        }
        // A name that begins with the other is another output.
        OutputFile::create(dir.path().join("out.tar.part"), &options()).unwrap();
        first.commit().unwrap();
        let error = OutputFile::create(&path, &options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(error.hints().count(), 1);
    }

    #[test]
    fn overwriting_keeps_the_old_one_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        fs::write(&path, "old").unwrap();
        let options = options().with_force(true);
        drop(OutputFile::create(&path, &options).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let output = OutputFile::create(&path, &options).unwrap();
        output.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_took_the_name_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        let output = OutputFile::create(&path, &options()).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        assert_eq!(output.commit().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(names(dir.path()), ["out.tar"]);
        assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
        assert!(rename_after_look(&path, &path).is_err());
    }

    #[test]
    fn a_leftover_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        fs::write(dir.path().join(".out.tar.part"), "of a killed run, and longer").unwrap();
        let output = OutputFile::create(&path, &options()).unwrap();
        output.file().write_all(b"new").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out.tar"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        let replacing = options().with_force(true);
        for path in [at("link"), at("new/"), at("."), at(".."), dir.path().to_path_buf()] {
            let error = OutputFile::create(&path, &replacing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{}", path.display());
            assert_eq!(error.hints().count(), 1);
        }
        let error = OutputFile::create("/dev/null", &replacing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let error = OutputFile::create(at("missing/out"), &replacing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hints().next().unwrap().contains("directory"));
        fs::write(at("file"), "").unwrap();
        let error = OutputFile::create(at("file/out"), &replacing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    }

    /// In a directory that others write to, the name of the temporary file
    /// can be taken by a link to something of ours.
    #[cfg(unix)]
    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "content").unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join(".out.part")).unwrap();
        let error = OutputFile::create(dir.path().join("out"), &options()).unwrap_err();
        assert_eq!((error.kind(), error.hints().count()), (ErrorKind::InvalidConfig, 1));
        assert_eq!(fs::read(&precious).unwrap(), b"content");
        assert!(!dir.path().join("out").exists());
        fs::create_dir(dir.path().join(".other.part")).unwrap();
        let error = OutputFile::create(dir.path().join("other"), &options()).unwrap_err();
        assert_eq!((error.kind(), error.hints().count()), (ErrorKind::InvalidConfig, 1));
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let output = OutputFile::create(dir.path().join("out"), &options()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(output.path()), mode(&plain), "the umask decides");
    }
}
