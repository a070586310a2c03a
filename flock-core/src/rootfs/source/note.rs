//! Remembers the checksum of a file for as long as it stays the same.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::{Cache, CacheKey};
use crate::rootfs::checksum::Checksum;
use crate::{Error, Result};

/// A file changed so lately may change again without its times telling: they
/// go by ticks, of 2 seconds on the coarsest file systems in use.
const SETTLED: Duration = Duration::from_secs(2);

/// How many of the parts of an [`Identity`] stay when its file is touched: all
/// but the time of change, which is the last.
const UNTOUCHED: usize = 4;

/// What differs when a file is replaced or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    parts: Vec<String>,
    len: u64,
    changed: SystemTime,
}

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let (parts, changed) = parts(&metadata)?;
        Ok(Self { parts, len: metadata.len(), changed })
    }

    /// The identity of a file that the cache keeps. Such a file is complete
    /// when it gets its name and never changes, but every use touches it.
    pub(super) fn of_kept(file: &File) -> io::Result<Self> {
        let identity = Self::of(file)?;
        let mut parts = identity.parts;
        parts.truncate(UNTOUCHED);
        Ok(Self { parts, len: identity.len, changed: UNIX_EPOCH })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn key(&self) -> CacheKey {
        let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
        CacheKey::derived("checksum-of", &parts)
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        now.duration_since(self.changed).is_ok_and(|age| age >= SETTLED)
    }
}

#[cfg(unix)]
fn parts(metadata: &Metadata) -> io::Result<(Vec<String>, SystemTime)> {
    use std::os::unix::fs::MetadataExt;
    let parts = vec![
        metadata.dev().to_string(),
        metadata.ino().to_string(),
        metadata.len().to_string(),
        format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
        format!("{}.{:09}", metadata.ctime(), metadata.ctime_nsec()),
    ];
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    Ok((parts, UNIX_EPOCH + Duration::from_secs(seconds + 1)))
}

/// Without inodes a file can be replaced unnoticed, so no two are the same.
#[cfg(not(unix))]
fn parts(metadata: &Metadata) -> io::Result<(Vec<String>, SystemTime)> {
    let now = SystemTime::now();
    let nanos = now.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_nanos();
    Ok((vec![metadata.len().to_string(), nanos.to_string()], now))
}

/// The checksum noted for this file, if there is one.
pub(super) fn read(cache: &Cache, identity: &Identity) -> Result<Option<Checksum>> {
    let Some(path) = cache.lookup(&identity.key())? else { return Ok(None) };
    let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    // One that cannot be read was written by something else, and is replaced.
    Ok(text.parse().ok())
}

/// Notes the checksum of this file, unless it changed just now.
pub(super) fn write(cache: &Cache, identity: &Identity, checksum: &Checksum) -> Result<()> {
    if identity.is_settled(SystemTime::now()) {
        let mut writer = cache.insert(&identity.key())?;
        let written = writer.write_all(checksum.to_string().as_bytes());
        written.map_err(|error| Error::io("write", writer.path(), error))?;
        writer.commit()?;
    }
    Ok(())
}

/// The checksum noted for what the file with the checksum `input` decompresses
/// to, if there is one.
pub(super) fn read_content(cache: &Cache, input: &Checksum) -> Result<Option<Checksum>> {
    let Some(path) = cache.lookup(&content_key(input))? else { return Ok(None) };
    let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, error))?;
    Ok(text.parse().ok())
}

/// Notes the checksum of what the file with the checksum `input` decompresses
/// to.
pub(super) fn write_content(cache: &Cache, input: &Checksum, content: &Checksum) -> Result<()> {
    let mut writer = cache.insert(&content_key(input))?;
    let written = writer.write_all(content.to_string().as_bytes());
    written.map_err(|error| Error::io("write", writer.path(), error))?;
    writer.commit().map(drop)
}

fn content_key(input: &Checksum) -> CacheKey {
    CacheKey::derived("content-of", &[&input.hex()])
}
