//! Partition tables: what tells a machine which parts of a disk are whose.
//!
//! [`Mbr`] is the table of BIOS machines, in the first sector; [`Gpt`] is that
//! of UEFI ones, which BIOS machines with the right boot loader use too.
//!
//! # The master boot record
//!
//! UEFI Specification 2.10, section 5.2.1 "Legacy Master Boot Record (MBR)",
//! table 5.1; numbers are little-endian:
//!
//! | offset | length | what |
//! |---|---|---|
//! | 0 | 440 | boot code |
//! | 440 | 4 | the disk's signature |
//! | 446 | 4 · 16 | partition records |
//! | 510 | 2 | `55 aa` |
//!
//! Up to four primary partitions of at most 2 TiB, whose begins are multiples
//! of 1 MiB ([`ALIGNMENT`]): the sectors before the first are free for a boot
//! loader. Addresses in cylinders, heads and sectors are those that LBA
//! systems write, for 255 heads and 63 sectors. Logical partitions are shown
//! by their extended partition alone.
//!
//! # GUID partition tables
//!
//! UEFI Specification 2.10, section 5.3 "GUID Partition Table (GPT) Disk
//! Layout":
//!
//! | sector | what | section |
//! |---|---|---|
//! | 0 | protective MBR, with room for boot code | 5.2.3 |
//! | 1 | header, with CRC-32 of itself and of the entries | 5.3.2 |
//! | 2 to 33 | 128 entries of 128 bytes | 5.3.3 |
//! | last 33 | the same entries, and the backup header in the last | 5.3.2 |
//!
//! Identifiers are given; [`DiskId::derive`](super::DiskId::derive) makes some
//! that are the same for the same content.

mod gpt;
mod mbr;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::gpt::{Gpt, GptPartition, PartitionType};
pub(super) use self::mbr::unread;
pub use self::mbr::{BOOT_CODE, Mbr, MbrPartition};
use super::{Check, DiskReader};
use crate::Result;

/// The length of a sector in bytes.
pub const SECTOR: u64 = SECTOR_LENGTH as u64;
pub(super) const SECTOR_LENGTH: usize = 512;

/// What the begins of partitions are multiples of, in bytes.
pub const ALIGNMENT: u64 = 1 << 20;

/// The partition table of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum PartitionTable {
    /// A master boot record.
    Mbr(Mbr),
    /// A GUID partition table.
    Gpt(Gpt),
}

impl PartitionTable {
    /// Reads the table of a disk; `None` if it has none. What was found wrong
    /// with it goes to `checks`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(disk: &dyn DiskReader, checks: &mut Vec<Check>) -> Result<Option<Self>> {
        let Some(mbr) = Mbr::read(disk)? else { return Ok(None) };
        if mbr.is_protective()
            && let Some(gpt) = gpt::read(disk, checks)?
        {
            return Ok(Some(Self::Gpt(gpt)));
        }
        checks.push(mbr.check(disk.size()));
        Ok(Some(Self::Mbr(mbr)))
    }
}
