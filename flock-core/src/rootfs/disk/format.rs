//! The formats that a disk is written in.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;

use super::qcow2::Qcow2;
use super::vhd::{self, DynamicVhd, FixedVhd};
use super::writer::check_ranges;
use super::{DiskId, DiskWriter, RawDisk};
use crate::{Error, ErrorKind};

/// How a disk lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// A fixed VHD: byte for byte, with a footer.
    VhdFixed,
    /// A dynamic VHD: only the blocks that were written.
    VhdDynamic,
    /// qcow2, version 3: only the clusters that were written.
    Qcow2,
}

impl DiskFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Raw, Self::VhdFixed, Self::VhdDynamic, Self::Qcow2];

    /// The format that a file of this name has by custom: `.raw` and `.img`,
    /// `.vhd` and `.vpc` (dynamic), `.qcow2`; `None` for other names. Capital
    /// letters are as good.
    #[must_use]
    pub fn from_file_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "raw" | "img" => Some(Self::Raw),
            "vhd" | "vpc" => Some(Self::VhdDynamic),
            "qcow2" => Some(Self::Qcow2),
            _ => None,
        }
    }

    /// The name in messages and in JSON: `raw`, `vhd-fixed`, `vhd-dynamic`,
    /// `qcow2`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::VhdFixed => "vhd-fixed",
            Self::VhdDynamic => "vhd-dynamic",
            Self::Qcow2 => "qcow2",
        }
    }

    /// The size of the smallest disk of this format with room for `size`
    /// bytes: whole sectors of 512 bytes, for a VHD whole units of 2 MiB.
    #[must_use]
    pub fn round_up(self, size: u64) -> u64 {
        match self {
            Self::VhdFixed | Self::VhdDynamic => vhd::round_up(size),
            Self::Raw | Self::Qcow2 => {
                size.max(1).checked_next_multiple_of(512).unwrap_or(u64::MAX)
            }
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DiskFormat {
    type Err = Error;

    /// Reads what [`as_str`](Self::as_str) writes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for anything else, with the names.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::new(ErrorKind::InvalidConfig, format!("there is no disk format '{text}'"))
                .hint(format!("one of {names}"))
        })
    }
}

/// A disk that is being written to a file, in any format.
///
/// ```
/// use flock_core::rootfs::disk::{DiskFile, DiskFormat, DiskId, DiskWriter};
///
/// # fn main() -> std::io::Result<()> {
/// # let file = tempfile::tempfile()?;
/// let size = DiskFormat::VhdDynamic.round_up(3_000_000);
/// let disk = DiskFile::create(&file, DiskFormat::VhdDynamic, size, &[1024..6144])?;
/// disk.write_at(b"somewhere there", 2048)?;
/// let length = disk.finish(DiskId::derive("disk", &[b"its content"]), 0)?;
/// assert_eq!(size, 4 << 20);
/// assert!(length < size);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DiskFile<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Raw(RawDisk<'a>),
    VhdFixed(FixedVhd<'a>),
    VhdDynamic(DynamicVhd<'a>),
    Qcow2(Qcow2<'a>),
}

impl<'a> DiskFile<'a> {
    /// A disk of `size` bytes in an empty file, of which only the `ranges`
    /// will be written. They ascend; formats that store blocks refuse writes
    /// to blocks that none of them touches, with `InvalidInput`.
    ///
    /// The file is the same whatever order they are written in, and from
    /// however many threads.
    ///
    /// # Errors
    /// `InvalidInput` if the file is not empty, if the ranges do not ascend or
    /// are not within the disk; those of the file; an [`Error`](crate::Error) of kind
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) within, if the
    /// format has no disks of that size.
    pub fn create(
        file: &'a File,
        format: DiskFormat,
        size: u64,
        ranges: &[Range<u64>],
    ) -> io::Result<Self> {
        check_ranges(size, ranges)?;
        Ok(Self(match format {
            DiskFormat::Raw => Inner::Raw(RawDisk::create(file, size)?),
            DiskFormat::VhdFixed => Inner::VhdFixed(FixedVhd::create(file, size)?),
            DiskFormat::VhdDynamic => Inner::VhdDynamic(DynamicVhd::create(file, size, ranges)?),
            DiskFormat::Qcow2 => Inner::Qcow2(Qcow2::create(file, size, ranges)?),
        }))
    }

    /// A disk of `size` bytes in an empty file. Formats that store blocks
    /// store them in the order in which they are first written.
    ///
    /// # Errors
    /// As [`create`](DiskFile::create).
    pub fn create_on_demand(file: &'a File, format: DiskFormat, size: u64) -> io::Result<Self> {
        Ok(Self(match format {
            DiskFormat::VhdDynamic => Inner::VhdDynamic(DynamicVhd::create_on_demand(file, size)?),
            DiskFormat::Qcow2 => Inner::Qcow2(Qcow2::create_on_demand(file, size)?),
            DiskFormat::Raw | DiskFormat::VhdFixed => return Self::create(file, format, size, &[]),
        }))
    }

    /// Completes the file and returns its length. A VHD is told apart from all
    /// others by `id` and was made at `created`, in seconds of Unix time; the
    /// other formats have no place for either.
    ///
    /// # Errors
    /// Those of writing. The file is of no use then.
    pub fn finish(self, id: DiskId, created: i64) -> io::Result<u64> {
        match self.0 {
            Inner::Raw(disk) => Ok(disk.size()),
            Inner::VhdFixed(disk) => disk.finish(id, created),
            Inner::VhdDynamic(disk) => disk.finish(id, created),
            Inner::Qcow2(disk) => disk.finish(),
        }
    }

    fn writer(&self) -> &dyn DiskWriter {
        match &self.0 {
            Inner::Raw(disk) => disk,
            Inner::VhdFixed(disk) => disk,
            Inner::VhdDynamic(disk) => disk,
            Inner::Qcow2(disk) => disk,
        }
    }
}

impl DiskWriter for DiskFile<'_> {
    fn size(&self) -> u64 {
        self.writer().size()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writer().write_at(bytes, offset)
    }

    fn copy_at(
        &self,
        source: &File,
        source_offset: u64,
        length: u64,
        offset: u64,
    ) -> io::Result<()> {
        self.writer().copy_at(source, source_offset, length, offset)
    }
}
