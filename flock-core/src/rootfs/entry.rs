//! What an entry of a root file system is, for whoever writes one.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::read_at::ReadAt as _;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its logical length in bytes, holes included.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to, byte for byte.
        target: Vec<u8>,
    },
    /// One more name of an entry that came before.
    Hardlink {
        /// The path of that entry, without a leading `/`.
        target: Vec<u8>,
    },
    /// A character device node.
    CharDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device node.
    BlockDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A point in time, as archives and file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub struct Mtime {
    /// Seconds since 1970-01-01 00:00 UTC; negative before.
    pub seconds: i64,
    /// Nanoseconds after that second, below 1,000,000,000.
    pub nanos: u32,
}

impl Mtime {
    /// That many seconds since 1970 and nanoseconds after.
    #[must_use]
    pub const fn new(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos }
    }
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Xattr {
    /// Its full name, for example `security.capability`.
    pub name: Vec<u8>,
    /// Its value, byte for byte.
    pub value: Vec<u8>,
}

/// Everything about an entry but its name, kind and content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Owner's name; empty if unknown. The number is what counts.
    pub uname: Vec<u8>,
    /// Group's name; empty if unknown. The number is what counts.
    pub gname: Vec<u8>,
    /// Time of last modification.
    pub mtime: Mtime,
    /// Extended attributes, in the order of the source.
    pub xattrs: Vec<Xattr>,
    /// Pax records that flock only passes on, in the order of the source:
    /// access times, ACLs as text (`SCHILY.acl.access`), vendors' own.
    pub other: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry of a finished [`Tree`](super::Tree).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// Its path, without a leading `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Owner, mode, times, attributes. Those of a hard link are its target's.
    pub metadata: Metadata,
    pub(crate) content: Content,
}

impl Entry {
    /// The content of a regular file; empty for everything else.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }
}

/// Where the bytes of an extent are.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExtentSource {
    /// In a file, for example the base tar.
    File {
        /// The open file, for positional reads or `copy_file_range`.
        file: Arc<File>,
        /// Where in the file the extent begins, in bytes.
        offset: u64,
    },
    /// In memory.
    Bytes {
        /// The bytes.
        bytes: Arc<[u8]>,
        /// Where in them the extent begins.
        offset: u64,
    },
}

/// A stretch of a file that holds data.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Extent {
    /// Where in the file's content it stands, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Where its bytes are.
    pub source: ExtentSource,
}

impl Extent {
    /// Reads from `offset` bytes into the extent, at most to its end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length - offset).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..left];
        match &self.source {
            ExtentSource::File { file, offset: start } => {
                file.as_ref().read_at(buf, start + offset)
            }
            ExtentSource::Bytes { bytes, offset: start } => {
                bytes.as_ref().read_at(buf, start + offset)
            }
        }
    }
}

/// The content of a regular file: data in ascending extents, zeros between.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub(crate) size: u64,
    pub(crate) extents: Vec<Extent>,
}

impl Content {
    /// The logical length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stretches that hold data, ascending and without overlap. A file
    /// that is not sparse has one, an empty one none.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Reads the content from its begin; holes read as zeros.
    #[must_use]
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, position: 0, extent: 0 }
    }
}

/// Reads a [`Content`] from begin to end.
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    position: u64,
    extent: usize,
}

impl Read for ContentReader<'_> {
    /// # Errors
    /// `UnexpectedEof` if the source became shorter since it was indexed.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let extents = &self.content.extents;
        while extents.get(self.extent).is_some_and(|e| self.position >= e.offset + e.length) {
            self.extent += 1;
        }
        let next = extents.get(self.extent);
        let read = match next {
            Some(extent) if self.position >= extent.offset => {
                let read = extent.read_at(buf, self.position - extent.offset)?;
                if read == 0 && !buf.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                read
            }
            _ => {
                let end = next.map_or(self.content.size, |extent| extent.offset);
                let hole = end.saturating_sub(self.position);
                let read = usize::try_from(hole).unwrap_or(usize::MAX).min(buf.len());
                buf[..read].fill(0);
                read
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros() {
        let bytes: Arc<[u8]> = Arc::from(*b"abcdef");
        let extent = |offset, length, at| Extent {
            offset,
            length,
            source: ExtentSource::Bytes { bytes: Arc::clone(&bytes), offset: at },
        };
        let content = Content { size: 12, extents: vec![extent(2, 3, 0), extent(8, 2, 4)] };
        let mut all = Vec::new();
        content.reader().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"\0\0abc\0\0\0ef\0\0");
        let short = Content { size: 9, extents: vec![extent(0, 9, 0)] };
        let error = short.reader().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
