//! The master boot record.

use serde::{Serialize, Serializer};

use super::{ALIGNMENT, SECTOR, SECTOR_LENGTH};
use crate::rootfs::disk::bytes::{field, le32, put};
use crate::rootfs::disk::{Check, DiskReader, DiskWriter};
use crate::{Error, ErrorKind, Result};

/// How much room the first sector has for boot code, in bytes.
pub const BOOT_CODE: usize = 440;

/// Where the partition records begin.
const RECORDS: usize = 446;
/// The length of a partition record.
const RECORD: usize = 16;
/// The type of a partition that stands for a GUID partition table.
const PROTECTIVE: u8 = 0xee;

/// A master boot record with up to four partitions.
///
/// ```
/// use flock_core::rootfs::disk::partition_table::{ALIGNMENT, Mbr, MbrPartition};
/// use flock_core::rootfs::disk::{Partition, RawDisk};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file = tempfile::tempfile()?;
/// let size = 16 << 20;
/// let disk = RawDisk::create(&file, size)?;
/// let root = MbrPartition::new(ALIGNMENT, size - ALIGNMENT).with_active(true);
/// Mbr::new(0x1234_5678).with_partition(root).write(&disk)?;
/// let partition = Partition::new(&disk, root.start, root.size)?;
/// # drop(partition);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mbr {
    /// The number that tells this disk from others.
    #[serde(serialize_with = "as_hex")]
    pub signature: u32,
    /// The partitions, the first being number 1; those before the last may be
    /// unused, without a size.
    pub partitions: Vec<MbrPartition>,
    /// The code that a BIOS starts, at most [`BOOT_CODE`] bytes.
    #[serde(skip)]
    pub boot_code: Vec<u8>,
}

/// A partition of a master boot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MbrPartition {
    /// Where it begins, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// What is in it: 0x83, the default, for Linux.
    #[serde(rename = "type", serialize_with = "byte_as_hex")]
    pub kind: u8,
    /// Whether boot code is to start from it; `false` by default.
    pub active: bool,
}

impl MbrPartition {
    /// The type of a Linux file system.
    pub const LINUX: u8 = 0x83;
    /// The type of an EFI system partition.
    pub const EFI_SYSTEM: u8 = 0xef;

    /// A Linux partition.
    #[must_use]
    pub fn new(start: u64, size: u64) -> Self {
        Self { start, size, kind: Self::LINUX, active: false }
    }

    /// The same partition with another type.
    #[must_use]
    pub fn with_kind(mut self, kind: u8) -> Self {
        self.kind = kind;
        self
    }

    /// The same partition, to be started from or not.
    #[must_use]
    pub fn with_active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    fn encode(&self) -> Result<[u8; RECORD]> {
        let mut raw = [0; RECORD];
        if self.size == 0 {
            return Ok(raw);
        }
        let sectors = |bytes: u64| {
            u32::try_from(bytes / SECTOR).ok().filter(|_| bytes.is_multiple_of(SECTOR))
        };
        let (Some(start), Some(count)) = (sectors(self.start), sectors(self.size)) else {
            let message = "a partition of an MBR is whole sectors within 2 TiB";
            return Err(misplaced(message, self).hint("use a GUID partition table"));
        };
        raw[0] = if self.active { 0x80 } else { 0 };
        put(&mut raw, 1, &address(start));
        raw[4] = self.kind;
        put(&mut raw, 5, &address(start.saturating_add(count - 1)));
        put(&mut raw, 8, &start.to_le_bytes());
        put(&mut raw, 12, &count.to_le_bytes());
        Ok(raw)
    }

    fn decode(raw: &[u8]) -> Self {
        Self {
            start: u64::from(le32(raw, 8)) * SECTOR,
            size: u64::from(le32(raw, 12)) * SECTOR,
            kind: field::<1>(raw, 4)[0],
            active: field::<1>(raw, 0)[0] == 0x80,
        }
    }
}

impl Mbr {
    /// A record without partitions and boot code.
    #[must_use]
    pub fn new(signature: u32) -> Self {
        Self { signature, partitions: Vec::new(), boot_code: Vec::new() }
    }

    /// The same record with one partition more.
    #[must_use]
    pub fn with_partition(mut self, partition: MbrPartition) -> Self {
        self.partitions.push(partition);
        self
    }

    /// The same record with this boot code, at most [`BOOT_CODE`] bytes.
    #[must_use]
    pub fn with_boot_code(mut self, code: impl Into<Vec<u8>>) -> Self {
        self.boot_code = code.into();
        self
    }

    /// Writes the record to the first sector.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if there are more than four partitions,
    /// or they overlap, are not within the disk, or do not begin at multiples
    /// of [`ALIGNMENT`]; if the boot code is too long. Those of writing.
    pub fn write(&self, disk: &dyn DiskWriter) -> Result<()> {
        check_places(self.places(), disk.size())?;
        disk.write_at(&self.encode()?, 0).map_err(unwritten)
    }

    /// Reads the record of a disk; `None` if it has none.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(disk: &dyn DiskReader) -> Result<Option<Self>> {
        if disk.size() < SECTOR {
            return Ok(None);
        }
        let mut raw = [0; SECTOR_LENGTH];
        disk.read_at(&mut raw, 0).map_err(unread)?;
        Ok(Self::decode(&raw))
    }

    pub(super) fn decode(raw: &[u8; SECTOR_LENGTH]) -> Option<Self> {
        if !raw.ends_with(&[0x55, 0xaa]) {
            return None;
        }
        let records = raw[RECORDS..].chunks_exact(RECORD).take(4);
        // The boot sector of a file system ends alike; it has code there.
        if records.clone().any(|record| record[0] & 0x7f != 0) {
            return None;
        }
        let mut partitions: Vec<_> = records.map(MbrPartition::decode).collect();
        while partitions.pop_if(|partition| partition.kind == 0 || partition.size == 0).is_some() {}
        let code = raw[..BOOT_CODE].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(Self { signature: le32(raw, BOOT_CODE), partitions, boot_code: raw[..code].to_vec() })
            .filter(|mbr| !mbr.partitions.is_empty() || !mbr.is_boot_sector(raw))
    }

    /// Whether this is the boot sector of a FAT or NTFS file system, whose
    /// code begins with a jump over its parameters.
    fn is_boot_sector(&self, raw: &[u8; SECTOR_LENGTH]) -> bool {
        matches!(raw, [0xeb, _, 0x90, ..] | [0xe9, ..]) && field::<1>(raw, 0x15)[0] >= 0xf0
    }

    pub(super) fn encode(&self) -> Result<[u8; SECTOR_LENGTH]> {
        let mut raw = [0; SECTOR_LENGTH];
        if self.boot_code.len() > BOOT_CODE {
            let message = format!("boot code of {} bytes", self.boot_code.len());
            return Err(invalid(message).hint(format!("there is room for {BOOT_CODE}")));
        }
        if self.partitions.len() > 4 {
            let message = format!("an MBR with {} partitions", self.partitions.len());
            return Err(invalid(message).hint("there is room for four; a GPT has room for 128"));
        }
        put(&mut raw, 0, &self.boot_code);
        put(&mut raw, BOOT_CODE, &self.signature.to_le_bytes());
        for (index, partition) in self.partitions.iter().enumerate() {
            put(&mut raw, RECORDS + index * RECORD, &partition.encode()?);
        }
        put(&mut raw, 510, &[0x55, 0xaa]);
        Ok(raw)
    }

    /// The record that keeps programs which know no GPT away from the disk
    /// (section 5.2.3).
    pub(super) fn protective(disk_size: u64, boot_code: &[u8]) -> Result<[u8; SECTOR_LENGTH]> {
        let sectors = disk_size / SECTOR - 1;
        let shown = u32::try_from(sectors).unwrap_or(u32::MAX);
        let mut raw = Self::new(0).with_boot_code(boot_code).encode()?;
        let last = if sectors > u64::from(u32::MAX) { [0xff; 3] } else { address(shown) };
        put(&mut raw, RECORDS + 1, &[0x00, 0x02, 0x00]);
        put(&mut raw, RECORDS + 4, &[PROTECTIVE]);
        put(&mut raw, RECORDS + 5, &last);
        put(&mut raw, RECORDS + 8, &1u32.to_le_bytes());
        put(&mut raw, RECORDS + 12, &shown.to_le_bytes());
        Ok(raw)
    }

    pub(super) fn is_protective(&self) -> bool {
        self.partitions.iter().any(|partition| partition.kind == PROTECTIVE)
    }

    /// Whether all partitions are within the disk and apart.
    pub(super) fn check(&self, disk_size: u64) -> Check {
        const NAME: &str = "partition table";
        let placed = self.places().try_fold(0, |free, (number, start, size)| {
            place_after(free, number, start, size, disk_size)
        });
        Check::of(NAME, placed.map(drop))
    }

    /// Number, begin and length of each partition, in the order of the disk.
    fn places(&self) -> std::vec::IntoIter<(usize, u64, u64)> {
        let there = self.partitions.iter().enumerate().filter(|(_, one)| one.size > 0);
        let mut places: Vec<_> =
            there.map(|(index, one)| (index + 1, one.start, one.size)).collect();
        places.sort_by_key(|(_, start, _)| *start);
        places.into_iter()
    }
}

/// Refuses partitions that are not where they should be. They come in the
/// order of the disk, whose size is what partitions may use.
pub(super) fn check_places(
    places: impl Iterator<Item = (usize, u64, u64)>,
    disk_size: u64,
) -> Result<()> {
    let mut free = ALIGNMENT;
    for (number, start, size) in places {
        free = place_after(free, number, start, size, disk_size).map_err(invalid)?;
        if !start.is_multiple_of(ALIGNMENT) {
            let message = format!("partition {number} begins at {start}");
            return Err(invalid(message).hint("begin it at a multiple of 1 MiB"));
        }
    }
    Ok(())
}

/// Where the partition ends, if it begins at `free` or behind and is within
/// the disk.
pub(super) fn place_after(
    free: u64,
    number: usize,
    start: u64,
    size: u64,
    disk_size: u64,
) -> Result<u64, String> {
    if start < free {
        return Err(format!("partition {number} at {start} overlaps what ends at {free}"));
    }
    match start.checked_add(size).filter(|end| *end <= disk_size) {
        Some(end) => Ok(end),
        None => Err(format!(
            "partition {number} with {size} bytes at {start} is not within {disk_size} bytes"
        )),
    }
}

/// The address of a sector in cylinder, head and sector, for 255 heads and 63
/// sectors; what is beyond is the largest there is.
fn address(sector: u32) -> [u8; 3] {
    let (track, in_track) = (sector / 63, sector % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    let byte = |number: u32| u8::try_from(number & 0xff).unwrap_or(0);
    [byte(head), byte(in_track | (cylinder >> 8) << 6), byte(cylinder)]
}

fn misplaced(message: &str, partition: &MbrPartition) -> Error {
    invalid(message)
        .with("start", partition.start.to_string())
        .with("size", partition.size.to_string())
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).during("partition_table.write")
}

pub(super) fn unwritten(error: std::io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    Error::new(crate::error::io_kind(&error), "cannot write the partition table")
        .during("partition_table.write")
        .caused_by(error)
}

pub(in crate::rootfs::disk) fn unread(error: std::io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    Error::new(crate::error::io_kind(&error), "cannot read the partition table")
        .during("partition_table.read")
        .caused_by(error)
}

fn as_hex<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#010x}"))
}

fn byte_as_hex<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#04x}"))
}
