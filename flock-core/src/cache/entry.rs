//! What the cache holds, for people and programs to look at.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::files::list;
use super::{Cache, CacheKey, in_use};
use crate::{Context, Error, Result};

/// What an entry of the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryKind {
    /// A file as its server has it: a download, or a part of an image.
    Download,
    /// A commit of a git repository, as a tar.
    Git,
    /// An archive, decompressed.
    Plain,
    /// A download that is not complete.
    Partial,
    /// A few bytes about other entries: what a tag stood for, which checksum
    /// a file has.
    Note,
    /// Something that another program or version left.
    Other,
}

impl EntryKind {
    fn of(key: &str) -> Self {
        match key.rsplit_once('-').map_or(key, |(kind, _)| kind) {
            "sha256" => Self::Download,
            "git-tar" => Self::Git,
            "plain" => Self::Plain,
            "url" | "tag" | "checksum-of" | "content-of" => Self::Note,
            _ => Self::Other,
        }
    }

    /// The kind's name in JSON and in messages, for example `download`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Git => "git",
            Self::Plain => "plain",
            Self::Partial => "partial",
            Self::Note => "note",
            Self::Other => "other",
        }
    }
}

/// One thing in the cache, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheEntry {
    /// Its name in the cache.
    pub key: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was made, or last written to if it is not complete. In JSON in
    /// seconds since 1970.
    #[serde(serialize_with = "seconds")]
    pub made: SystemTime,
    /// When it was last used. In JSON in seconds since 1970.
    #[serde(serialize_with = "seconds")]
    pub used: SystemTime,
    /// Where it came from, without what may be secret in an address; `None`
    /// where nobody has noted it.
    pub origin: Option<String>,
    /// Whether a running process may be using it.
    pub in_use: bool,
    /// Where it is.
    #[serde(skip)]
    pub(super) path: PathBuf,
}

impl Cache {
    /// Everything in the cache, the largest first. What is being written
    /// right now is not in the list, and nothing counts as used by it.
    ///
    /// # Errors
    /// Those of reading a directory; [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled),
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    pub fn entries(&self, ctx: &Context) -> Result<Vec<CacheEntry>> {
        let since = in_use::since(&self.room("users"))?;
        let mut entries = Vec::new();
        for (path, metadata) in list(&self.room("files"))? {
            ctx.check()?;
            let origin = self.origin(&path)?;
            entries.push(CacheEntry::new(path, &metadata, origin, since)?);
        }
        for (path, metadata) in list(&self.room("partial"))? {
            ctx.check()?;
            if path.extension() == Some(OsStr::new("note")) {
                continue;
            }
            let origin = self.origin(&path)?;
            let mut entry = CacheEntry::new(path, &metadata, origin, since)?;
            entry.kind = EntryKind::Partial;
            entry.used = entry.made;
            entry.in_use = super::files::is_held(&entry.path)?;
            entries.push(entry);
        }
        entries.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
        Ok(entries)
    }

    /// How many bytes the cache holds, unfinished files included.
    ///
    /// # Errors
    /// Those of reading a directory.
    pub fn size(&self) -> Result<u64> {
        let mut bytes = 0;
        for room in ["files", "partial", "tmp"] {
            for (_, metadata) in list(&self.room(room))? {
                bytes += metadata.len();
            }
        }
        Ok(bytes)
    }

    /// Notes where the file of this key came from, for
    /// [`entries`](Cache::entries): a few words or an address, without what
    /// may be secret in it. The last note counts.
    ///
    /// # Errors
    /// Those of writing a file.
    pub fn set_origin(&self, key: &CacheKey, origin: &str) -> Result<()> {
        let path = self.make("origins")?.join(key.as_str());
        fs::write(&path, origin).map_err(|error| Error::io("write", &path, error))
    }

    fn origin(&self, entry: &Path) -> Result<Option<String>> {
        let path = origin_path(&self.room("origins"), entry);
        match fs::read(&path) {
            // A note torn by a crash is no note.
            Ok(text) => Ok(String::from_utf8(text).ok().filter(|text| !text.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }
}

impl CacheEntry {
    fn new(
        path: PathBuf,
        metadata: &fs::Metadata,
        origin: Option<String>,
        since: Option<SystemTime>,
    ) -> Result<Self> {
        let (made, used) = times(&path, metadata)?;
        let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_use = since.is_some_and(|since| used >= since);
        let kind = EntryKind::of(&key);
        Ok(Self { key, kind, bytes: metadata.len(), made, used, origin, in_use, path })
    }
}

/// When a file was made and when it was last used.
pub(super) fn times(path: &Path, metadata: &fs::Metadata) -> Result<(SystemTime, SystemTime)> {
    let failed = |error| Error::io("read the times of", path, error);
    let made = metadata.modified().map_err(failed)?;
    // Where the system keeps no times of access, nothing is known of later use.
    Ok((made, metadata.accessed().map_or(made, |used| used.max(made))))
}

pub(super) fn origin_path(origins: &Path, entry: &Path) -> PathBuf {
    origins.join(entry.file_name().unwrap_or_default())
}

fn seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_secs())
}
