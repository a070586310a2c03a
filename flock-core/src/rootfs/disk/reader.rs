//! Disks that are being read.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::writer::check_within;
use crate::rootfs::read_at::ReadAt as _;

/// A disk that can be read at any offset.
///
/// Every method may be called from several threads at once.
pub trait DiskReader: Send + Sync {
    /// The size of the disk in bytes, as the machine sees it.
    fn size(&self) -> u64;

    /// Fills all of `bytes` from `offset` bytes from the disk's begin.
    ///
    /// # Errors
    /// `InvalidInput` if that is not within the disk, else those of the file
    /// behind it; `InvalidData`, often with an [`Error`](crate::Error) within,
    /// if the file is not what it claims to be.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// The first stretch at or behind `offset` that may hold anything but
    /// zeros; `None` if only zeros follow. What is between the stretches need
    /// not be read.
    ///
    /// # Errors
    /// As [`read_at`](DiskReader::read_at).
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;
}

/// What an image is read from.
#[derive(Debug)]
pub(super) enum Source {
    File(File),
    Bytes(Arc<[u8]>),
}

impl Source {
    /// How long it is, block devices too.
    pub(super) fn length(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => {
                let mut file = file;
                file.seek(SeekFrom::End(0))
            }
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(bytes, offset),
            Self::Bytes(all) => all.read_exact_at(bytes, offset),
        }
    }

    /// A structure of `N` bytes.
    pub(super) fn read<const N: usize>(&self, offset: u64) -> io::Result<[u8; N]> {
        let mut raw = [0; N];
        self.read_at(&mut raw, offset)?;
        Ok(raw)
    }

    /// The first stretch at or behind `offset` that is not a hole.
    pub(super) fn next_data(&self, offset: u64, length: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= length {
            return Ok(None);
        }
        let Self::File(file) = self else { return Ok(Some(offset..length)) };
        let seek = |from| rustix::fs::seek(file, from);
        let start = match seek(rustix::fs::SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that does not know of holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => return Ok(Some(offset..length)),
            Err(error) => return Err(error.into()),
        };
        if start >= length {
            return Ok(None);
        }
        let end = seek(rustix::fs::SeekFrom::Hole(start))?.min(length);
        Ok(Some(start..end.max(start + 1)))
    }
}

/// A disk that lies in a file byte for byte, from its begin.
#[derive(Debug)]
pub(super) struct RawReader {
    source: Source,
    size: u64,
}

impl RawReader {
    pub(super) fn new(source: Source, size: u64) -> Self {
        Self { source, size }
    }
}

impl DiskReader for RawReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        check_within(self.size, offset, bytes.len() as u64)?;
        self.source.read_at(bytes, offset)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.source.next_data(offset, self.size)
    }
}
