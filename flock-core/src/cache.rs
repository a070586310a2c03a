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
//! On disk the directory holds `files/KEY`, `partial/KEY` with `partial/KEY.note`,
//! `tmp/…` and `locks/KEY`. All of it may be deleted at any time when no flock
//! runs. A file's modification time is when it was made, its access time when
//! it was last used.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::{Context, Error, ErrorKind, Result, lockfile};

/// How long a waiter sleeps between two looks at a lock.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The name of a file in the cache; always a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(String);

impl CacheKey {
    /// The key of the content with this SHA-256 digest, in hexadecimal.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if it is not 64 hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("'{}' is not a SHA-256 digest", hex.escape_default());
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .hint("a SHA-256 digest is 64 hexadecimal digits, as `sha256sum` prints it"));
        }
        Ok(Self(format!("sha256-{}", hex.to_ascii_lowercase())))
    }

    /// The key of something that these parts, in this order, determine.
    ///
    /// `kind` says what it is; its letters, digits and hyphens begin the name.
    #[must_use]
    pub fn derived(kind: &str, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&kind).chain(parts) {
            // Lengths keep ["ab", "c"] apart from ["a", "bc"].
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let safe = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let prefix: String = kind.chars().filter(safe).take(32).collect();
        Self(format!("{prefix}-{}", hex(&hash.finalize())))
    }

    /// The key as the file name it is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What [`Cache::prune`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// How many files and unfinished downloads.
    pub files: u64,
    /// How many bytes they held.
    pub bytes: u64,
}

/// A cache directory. Cheap to clone; nothing is made on disk before the
/// first write.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in this directory, which is made (mode 0700) when needed.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
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
    /// now. In a cache that may only be read the mark is left out.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] and others of reading a directory.
    pub fn lookup(&self, key: &CacheKey) -> Result<Option<PathBuf>> {
        let path = self.path("files", key);
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
        Ok(CacheWriter { file, temporary: Temporary(Some(path)), target })
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
        Ok(Partial { file, path, len, target })
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

    fn path(&self, room: &str, key: &CacheKey) -> PathBuf {
        self.dir.join(room).join(key.as_str())
    }

    /// Where the complete file goes; its directory is there afterwards.
    fn target(&self, key: &CacheKey) -> Result<PathBuf> {
        Ok(self.make("files")?.join(key.as_str()))
    }

    fn make(&self, room: &str) -> Result<PathBuf> {
        let dir = self.dir.join(room);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir).map_err(|error| {
            Error::io("create the cache directory", &dir, error)
                .hint("the cache can be placed elsewhere")
        })?;
        Ok(dir)
    }
}

/// Holds the lock of a key until dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

/// A file on its way into the cache; see [`Cache::insert`].
#[derive(Debug)]
pub struct CacheWriter {
    file: File,
    temporary: Temporary,
    target: PathBuf,
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
    /// [`ErrorKind::QuotaExceeded`] if the disk is full, and others of
    /// writing; the file is then removed.
    pub fn commit(mut self) -> Result<PathBuf> {
        let path = self.path().to_path_buf();
        publish(&self.file, &path, &self.target)?;
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
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Whatever keeps it from being removed now, the next writer tries again.
            let _ = fs::remove_file(path);
        }
    }
}

/// An unfinished file that a later attempt can continue; see
/// [`Cache::partial`].
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    len: u64,
    target: PathBuf,
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
        let empty = self.file.set_len(0).and_then(|()| self.file.rewind());
        empty.map_err(|error| Error::io("truncate", &self.path, error))?;
        self.len = 0;
        Ok(())
    }

    /// Makes the file durable and puts it under its key. Returns where it is.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`] if the disk is full, and others of
    /// writing; the unfinished file then stays.
    pub fn commit(self) -> Result<PathBuf> {
        publish(&self.file, &self.path, &self.target)?;
        remove(&note_path(&self.path))?;
        Ok(self.target)
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
    pub fn discard(self) -> Result<()> {
        remove(&note_path(&self.path))?;
        remove(&self.path)
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

/// Syncs and renames. Complete files are read-only, for they do not change.
fn publish(file: &File, from: &Path, to: &Path) -> Result<()> {
    let write = |error| Error::io("write", from, error);
    file.sync_data().map_err(write)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o400)).map_err(write)?;
    }
    fs::rename(from, to).map_err(|error| Error::io("rename into place", from, error))
}

fn note_path(partial: &Path) -> PathBuf {
    let mut path = partial.as_os_str().to_os_string();
    path.push(".note");
    path.into()
}

/// Files in `dir` with their metadata; none if there is no such directory.
/// What vanishes meanwhile is left out.
fn list(dir: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>> {
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
fn remove_leftovers(dir: &Path) -> Result<()> {
    for (path, _) in list(dir)? {
        remove_if_free(&path)?;
    }
    Ok(())
}

fn remove_if_free(path: &Path) -> Result<bool> {
    lockfile::remove_if_free(path).map_err(|error| Error::io("remove", path, error))
}

fn remove(path: &Path) -> Result<()> {
    ignore_missing(fs::remove_file(path)).map_err(|error| Error::io("remove", path, error))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        (dir, cache)
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::derived("test", &[name])
    }

    fn put(cache: &Cache, name: &str, content: &[u8]) -> PathBuf {
        let mut writer = cache.insert(&key(name)).unwrap();
        writer.write_all(content).unwrap();
        writer.commit().unwrap()
    }

    fn used_ago(path: &Path, ago: Duration) {
        let then = SystemTime::now() - ago;
        let times = FileTimes::new().set_accessed(then).set_modified(then);
        File::open(path).unwrap().set_times(times).unwrap();
    }

    #[test]
    fn keys_are_safe_and_distinct() {
        let hex = "AB".repeat(32);
        assert_eq!(CacheKey::sha256(&hex).unwrap().as_str(), format!("sha256-{}", "ab".repeat(32)));
        for bad in ["", "../../etc/passwd", &"g".repeat(64), &"a".repeat(63)] {
            assert_eq!(CacheKey::sha256(bad).unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        let keys = [
            CacheKey::derived("k", &["ab", "c"]),
            CacheKey::derived("k", &["a", "bc"]),
            CacheKey::derived("k", &["abc"]),
            CacheKey::derived("../k/", &["abc"]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|other| other != key));
            assert!(!key.as_str().contains(['/', '.']));
        }
    }

    #[test]
    fn a_file_appears_with_commit_only() {
        let (_dir, cache) = cache();
        assert!(cache.lookup(&key("a")).unwrap().is_none());
        assert!(!cache.dir().exists(), "a lookup makes nothing");
        let mut writer = cache.insert(&key("a")).unwrap();
        writer.write_all(b"content").unwrap();
        assert!(cache.lookup(&key("a")).unwrap().is_none());
        let path = writer.commit().unwrap();
        assert_eq!(cache.lookup(&key("a")).unwrap(), Some(path.clone()));
        assert_eq!(fs::read(path).unwrap(), b"content");
        assert_eq!(cache.size().unwrap(), 7);
        cache.remove(&key("a")).unwrap();
        cache.remove(&key("a")).unwrap();
        assert!(cache.lookup(&key("a")).unwrap().is_none());
    }

    #[test]
    fn a_dropped_writer_leaves_nothing_and_a_dead_one_is_cleaned_up() {
        let (_dir, cache) = cache();
        drop(cache.insert(&key("a")).unwrap());
        let tmp = cache.dir().join("tmp");
        assert_eq!(list(&tmp).unwrap().len(), 0);
        fs::write(tmp.join("dead"), b"of a killed process").unwrap();
        let live = cache.insert(&key("a")).unwrap();
        assert!(!tmp.join("dead").exists());
        let other = cache.insert(&key("b")).unwrap();
        assert!(live.path().exists() && other.path().exists());
        live.commit().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_may_enter() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, cache) = cache();
        let path = put(&cache, "a", b"x");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(cache.dir()), 0o700);
        assert_eq!(mode(&path), 0o400);
    }

    #[test]
    fn a_partial_file_goes_on_where_it_stopped() {
        let (_dir, cache) = cache();
        let mut partial = cache.partial(&key("a")).unwrap();
        assert!(partial.is_empty());
        partial.set_note("etag-1").unwrap();
        assert_eq!(partial.note().unwrap(), None, "nothing that it could be about");
        partial.write_all(b"half ").unwrap();
        let busy = cache.partial(&key("a")).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Conflict);
        drop(partial);
        assert!(cache.lookup(&key("a")).unwrap().is_none());

        let mut partial = cache.partial(&key("a")).unwrap();
        assert_eq!((partial.len(), partial.note().unwrap().as_deref()), (5, Some("etag-1")));
        partial.write_all(b"done").unwrap();
        let mut so_far = String::new();
        partial.reader().unwrap().read_to_string(&mut so_far).unwrap();
        assert_eq!(so_far, "half done");
        let path = partial.commit_as(&key("b")).unwrap();
        assert_eq!(cache.lookup(&key("b")).unwrap(), Some(path));
        assert_eq!(list(&cache.dir().join("partial")).unwrap().len(), 0);
    }

    #[test]
    fn a_partial_file_can_begin_anew_or_be_discarded() {
        let (_dir, cache) = cache();
        let mut partial = cache.partial(&key("a")).unwrap();
        partial.write_all(b"wrong").unwrap();
        partial.restart().unwrap();
        partial.write_all(b"ok").unwrap();
        assert_eq!(fs::read(partial.commit().unwrap()).unwrap(), b"ok");
        let mut partial = cache.partial(&key("c")).unwrap();
        partial.write_all(b"wrong").unwrap();
        partial.discard().unwrap();
        assert!(cache.partial(&key("c")).unwrap().is_empty());
    }

    #[test]
    fn a_lock_is_waited_for_until_the_context_ends() {
        let (_dir, cache) = cache();
        let held = cache.lock(&key("a"), &Context::new()).unwrap();
        let ctx = Context::new().with_timeout(Duration::from_millis(80));
        assert_eq!(cache.lock(&key("a"), &ctx).unwrap_err().kind(), ErrorKind::Timeout);
        cache.lock(&key("b"), &Context::new()).unwrap();
        let waiter = std::thread::spawn({
            let cache = cache.clone();
            move || cache.lock(&key("a"), &Context::new()).map(drop)
        });
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn one_of_many_makes_the_file() {
        let (_dir, cache) = cache();
        let made = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _lock = cache.lock(&key("a"), &Context::new()).unwrap();
                    if cache.lookup(&key("a")).unwrap().is_none() {
                        made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        put(&cache, "a", b"x");
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn prune_removes_what_was_not_used_lately() {
        let (_dir, cache) = cache();
        let day = Duration::from_secs(24 * 3600);
        let old = put(&cache, "old", b"12345");
        let used = put(&cache, "used", b"123");
        put(&cache, "new", b"1");
        for path in [&old, &used] {
            used_ago(path, 3 * day);
        }
        cache.lookup(&key("used")).unwrap().unwrap();
        let modified = fs::metadata(&used).unwrap().modified().unwrap();
        assert!(modified < SystemTime::now() - 2 * day, "a use does not change when it was made");
        let mut stopped = cache.partial(&key("stopped")).unwrap();
        stopped.write_all(b"12").unwrap();
        stopped.set_note("x").unwrap();
        drop(stopped);
        let running = cache.partial(&key("running")).unwrap();
        for name in ["stopped", "running"] {
            used_ago(&cache.path("partial", &key(name)), 3 * day);
        }
        let pruned = cache.prune(2 * day, &Context::new()).unwrap();
        assert_eq!(pruned, Pruned { files: 2, bytes: 7 });
        assert!(!old.exists() && used.exists());
        running.commit().unwrap();
        assert_eq!(cache.size().unwrap(), 4);
        assert_eq!(Cache::at("/nonexistent").prune(day, &Context::new()).unwrap().files, 0);
    }

    #[test]
    fn a_cache_below_a_file_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::at(&file).insert(&key("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
}
