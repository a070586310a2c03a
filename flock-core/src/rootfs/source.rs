//! From a local path to a plain file that can be read at any offset.
//!
//! A plain file is used where it is. A compressed one is decompressed once
//! into the [`Cache`], so that the next build of the same base runs at the
//! speed of a copy. A pipe is taken into the cache as well, as far as the
//! limit on what comes out allows: nothing says that it will end.
//!
//! The decompressed file is found again by the SHA-256 of the compressed one.
//! So that this need not be computed each time, a note in the cache keeps it
//! for each device, inode, size, and time of modification and change (as `git`
//! and others do); a note is not made for a file that changed just now.

mod note;
mod read_ahead;
mod write_behind;

use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::checksum::Checksum;
use super::decompress::{Compression, Decoder, Limits};
use crate::cache::{Cache, CacheKey};
use crate::progress::{Level, Unit};
use crate::{Context, Error, ErrorKind, Result};

use note::Identity;
use read_ahead::ReadAhead;
use write_behind::WriteBehind;

/// How a source is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Where decompressed files go.
    pub cache: Cache,
    /// How far a decompression may go.
    pub limits: Limits,
    /// What the SHA-256 of the file must be, as it is found: compressed, if
    /// it is. Not checked by default.
    pub sha256: Option<Checksum>,
    /// What the SHA-256 of the decompressed file must be: the `diff_id` of an
    /// image's layer (OCI Image Specification, "Image Configuration"). It is
    /// computed while the file is decompressed. Not checked by default.
    pub content: Option<Checksum>,
}

impl OpenOptions {
    /// Options with this cache and the default limits.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache, limits: Limits::default(), sha256: None, content: None }
    }

    /// The same options with these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same options with this checksum, if any, to be checked.
    #[must_use]
    pub fn with_sha256(mut self, sha256: Option<Checksum>) -> Self {
        self.sha256 = sha256;
        self
    }

    /// Sets [`content`](Self::content).
    #[must_use]
    pub fn with_content(mut self, content: Option<Checksum>) -> Self {
        self.content = content;
        self
    }
}

/// A source, decompressed: a regular file, to be read at any offset.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlainFile {
    /// The file; where its own position is does not matter.
    pub file: File,
    /// Its path: the one asked for, or one in the cache.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// What the source was compressed with.
    pub compression: Compression,
    /// The SHA-256 of the source as it was found, where it was computed or is
    /// still known: always if it was compressed or checked.
    pub sha256_of_input: Option<Checksum>,
}

impl PlainFile {
    fn new(
        file: File,
        path: PathBuf,
        compression: Compression,
        sha256_of_input: Option<Checksum>,
    ) -> Result<Self> {
        let len = file.metadata().map_err(|error| Error::io("look at", &path, error))?.len();
        Ok(Self { file, path, len, compression, sha256_of_input })
    }
}

/// Opens the file at `path` (`-` is the standard input), checks it, and
/// decompresses it unless the cache has it. Reports progress in bytes of the
/// source.
///
/// Idempotent. Cancelled, it leaves nothing behind. Two processes that open
/// the same source decompress it once: the second waits.
///
/// # Errors
/// - [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`]
/// - [`ErrorKind::InvalidConfig`] for a directory
/// - [`ErrorKind::InvalidData`] if the checksum is wrong, or the compressed
///   data is corrupt, cut off, or followed by something else
/// - [`ErrorKind::QuotaExceeded`] beyond the limits, or if the cache's disk is
///   full
/// - [`ErrorKind::Conflict`] if the file changes while it is read
/// - [`ErrorKind::Cancelled`], [`ErrorKind::Timeout`] if `ctx` ends
pub fn open(path: &Path, options: &OpenOptions, ctx: &Context) -> Result<PlainFile> {
    ctx.check()?;
    let source = Source { path, options, ctx };
    if path == Path::new("-") {
        let file = stdin().map_err(|error| Error::io("read", path, error))?;
        return match file.metadata() {
            Ok(metadata) if metadata.is_file() => source.open_file(file),
            _ => source.spool(move || Ok(file)),
        };
    }
    let kind = fs::metadata(path).map_err(|error| Error::io("open", path, error))?.file_type();
    if kind.is_dir() {
        let message = format!("{} is a directory, not an archive", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .with("path", path.display().to_string())
            .hint("name the archive in it, or pack the directory with tar"));
    }
    if kind.is_file() {
        source.open_file(File::open(path).map_err(|error| Error::io("open", path, error))?)
    } else {
        // Opening a named pipe waits for its other end, so that is left to
        // the thread that reads.
        ctx.message(Level::Info, format!("waiting for what is written to {}", path.display()));
        let path = path.to_path_buf();
        source.spool(move || File::open(path))
    }
}

/// What the steps of an opening share.
struct Source<'a> {
    path: &'a Path,
    options: &'a OpenOptions,
    ctx: &'a Context,
}

impl Source<'_> {
    fn open_file(&self, file: File) -> Result<PlainFile> {
        let compression = recognise(&file).map_err(|error| Error::io("read", self.path, error))?;
        let unchecked = self.options.sha256.is_none() && self.options.content.is_none();
        if compression == Compression::None && unchecked {
            return PlainFile::new(file, self.path.to_path_buf(), compression, None);
        }
        let identity = self.identity(&file)?;
        // Whoever else opens this very file waits here, and finds it done.
        let _lock = self.options.cache.lock(&identity.key(), self.ctx)?;
        let known = note::read(&self.options.cache, &identity)?;
        if let Some(known) = &known {
            self.verify(known)?;
        }
        if compression == Compression::None {
            let actual = match known {
                Some(known) => known,
                None => self.hash(&file, &identity)?,
            };
            self.verify_content(&actual)?;
            return PlainFile::new(file, self.path.to_path_buf(), compression, Some(actual));
        }
        if let Some(found) = self.find_decompressed(&file, &identity, known, compression)? {
            return Ok(found);
        }
        let copy = file.try_clone().map_err(|error| Error::io("read", self.path, error))?;
        let plain = self.decompress(move || Ok(copy), Some(identity.len()))?;
        if let Some(checksum) = &plain.sha256_of_input {
            self.remember(&file, &identity, checksum)?;
        }
        Ok(plain)
    }

    /// What tells this file from others, and from itself once it has changed.
    fn identity(&self, file: &File) -> Result<Identity> {
        let is_kept = self.path.starts_with(self.options.cache.dir());
        let identity = if is_kept { Identity::of_kept(file) } else { Identity::of(file) };
        identity.map_err(|error| Error::io("look at", self.path, error))
    }

    /// The decompressed file, if the cache has it.
    fn find_decompressed(
        &self,
        file: &File,
        identity: &Identity,
        known: Option<Checksum>,
        compression: Compression,
    ) -> Result<Option<PlainFile>> {
        let Some(checksum) = known.or(self.options.sha256) else { return Ok(None) };
        let Some(path) = self.options.cache.lookup(&plain_key(&checksum))? else {
            return Ok(None);
        };
        if known.is_none() {
            // What the cache has is right by its checksum, but so must the
            // file be that was asked for.
            self.hash(file, identity)?;
        }
        self.ctx
            .task(self.label("decompress"), Unit::Bytes, Some(identity.len()))
            .skip("it is in the cache");
        let plain = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        self.verify_cached_content(&checksum, &plain, &path)?;
        PlainFile::new(plain, path, compression, Some(checksum)).map(Some)
    }

    /// Takes what can be read only once into the cache.
    fn spool(&self, open: impl FnOnce() -> io::Result<File> + Send + 'static) -> Result<PlainFile> {
        self.decompress(open, None)
    }

    /// Decompresses into the cache, under the checksum of what was read.
    fn decompress(
        &self,
        open: impl FnOnce() -> io::Result<File> + Send + 'static,
        len: Option<u64>,
    ) -> Result<PlainFile> {
        let task = self.ctx.task(self.label("decompress"), Unit::Bytes, len);
        let mut input = ReadAhead::start(open, task, self.ctx.clone())
            .map_err(|error| Error::io("read", self.path, error))?;
        let start = input.fill_buf().map_err(|error| Error::io("read", self.path, error))?;
        let compression = Compression::recognise(start);
        let limits = self.options.limits;
        let mut decoder = Decoder::new(&mut input, compression, limits)?;
        let cache = &self.options.cache;
        // The key is known only at the end; until then any name will do.
        let writer = cache.insert(&CacheKey::derived("plain", &["unfinished"]))?;
        let target = writer.path().to_path_buf();
        let full = |error| {
            let hint = "that is the cache; it can be pruned, or placed on another disk";
            Error::io("write", &target, error).hint(hint)
        };
        let hashed = self.options.content.is_some();
        let output = writer.file().try_clone().map_err(full)?;
        let mut output = WriteBehind::start(output, hashed).map_err(full)?;
        loop {
            self.ctx.check()?;
            let mut buffer = output.buffer();
            let read = fill(&mut decoder, &mut buffer)
                .map_err(|error| self.undecodable(compression, error))?;
            if read == 0 {
                break;
            }
            output.write(buffer, read).map_err(full)?;
        }
        let content = output.finish().map_err(full)?;
        drop(decoder);
        let actual = input.finish().map_err(|error| Error::io("read", self.path, error))?;
        self.verify(&actual)?;
        if let Some(content) = &content {
            self.verify_content(content)?;
        }
        let key = plain_key(&actual);
        let path = writer.commit_as(&key)?;
        cache.set_origin(&key, &self.path.display().to_string())?;
        if let Some(content) = &content {
            note::write_content(cache, &actual, content)?;
        }
        let plain = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        PlainFile::new(plain, path, compression, Some(actual))
    }

    /// The checksum of the whole file, verified and remembered.
    fn hash(&self, file: &File, identity: &Identity) -> Result<Checksum> {
        let read = |error| Error::io("read", self.path, error);
        let task = self.ctx.task(self.label("verify"), Unit::Bytes, Some(identity.len()));
        let copy = file.try_clone().map_err(read)?;
        let mut input = ReadAhead::start(move || Ok(copy), task, self.ctx.clone()).map_err(read)?;
        loop {
            let len = input.fill_buf().map_err(read)?.len();
            if len == 0 {
                break;
            }
            input.consume(len);
        }
        let actual = input.finish().map_err(read)?;
        self.verify(&actual)?;
        self.remember(file, identity, &actual)?;
        Ok(actual)
    }

    fn verify(&self, actual: &Checksum) -> Result<()> {
        match &self.options.sha256 {
            Some(expected) => expected.verify(actual, self.path.display()),
            None => Ok(()),
        }
    }

    fn verify_content(&self, actual: &Checksum) -> Result<()> {
        match &self.options.content {
            Some(expected) => {
                expected.verify(actual, format!("what {} unpacks to", self.path.display()))
            }
            None => Ok(()),
        }
    }

    /// Verifies a file that was decompressed earlier, perhaps for somebody who
    /// did not ask for its checksum.
    fn verify_cached_content(&self, input: &Checksum, plain: &File, path: &Path) -> Result<()> {
        if self.options.content.is_none() {
            return Ok(());
        }
        let cache = &self.options.cache;
        if let Some(known) = note::read_content(cache, input)? {
            return self.verify_content(&known);
        }
        let read = |error| Error::io("read", path, error);
        let len = plain.metadata().map_err(read)?.len();
        let task = self.ctx.task(self.label("verify"), Unit::Bytes, Some(len));
        let copy = plain.try_clone().map_err(read)?;
        let actual = ReadAhead::start(move || Ok(copy), task, self.ctx.clone())
            .and_then(ReadAhead::finish)
            .map_err(read)?;
        self.verify_content(&actual)?;
        note::write_content(cache, input, &actual)
    }

    /// Notes the checksum of a file that is still what it was at first.
    fn remember(&self, file: &File, identity: &Identity, checksum: &Checksum) -> Result<()> {
        let now = self.identity(file)?;
        if now != *identity {
            let message = format!("{} changed while it was read", self.path.display());
            return Err(Error::new(ErrorKind::Conflict, message)
                .with("path", self.path.display().to_string())
                .hint("try again when it is complete"));
        }
        note::write(&self.options.cache, identity, checksum)
    }

    /// Says where the data is that cannot be decoded.
    fn undecodable(&self, compression: Compression, error: io::Error) -> Error {
        let error = Error::io("read", self.path, error);
        let is_about_data =
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::QuotaExceeded);
        if !is_about_data || error.context_value("path").is_some() {
            return error;
        }
        let action = match compression {
            Compression::None => "read all of",
            _ => "decompress",
        };
        let message = format!("cannot {action} {}", self.path.display());
        let mut located =
            Error::new(error.kind(), message).with("path", self.path.display().to_string());
        for (key, value) in error.context() {
            located = located.with(key.to_owned(), value);
        }
        for hint in error.hints() {
            located = located.hint(hint);
        }
        located.caused_by(error)
    }

    fn label(&self, verb: &str) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        format!("{verb} {}", name.display())
    }
}

fn plain_key(input: &Checksum) -> CacheKey {
    CacheKey::derived("plain", &[&input.hex()])
}

fn recognise(file: &File) -> io::Result<Compression> {
    let mut start = [0; Compression::MAGIC_LEN];
    let len = read_at_start(file, &mut start)?;
    Ok(Compression::recognise(&start[..len]))
}

#[cfg(unix)]
fn read_at_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    // A regular file gives all it has at once.
    std::os::unix::fs::FileExt::read_at(file, buffer, 0)
}

#[cfg(not(unix))]
fn read_at_start(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    use std::io::Seek;
    file.rewind()?;
    let len = fill(&mut file, buffer)?;
    file.rewind()?;
    Ok(len)
}

#[cfg(unix)]
fn stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn stdin() -> io::Result<File> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "the standard input cannot be a source here"))
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
