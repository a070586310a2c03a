//! What goes where on a disk.

use std::ops::Range;

use super::options::{DiskLayout, DiskOptions};
use crate::rootfs::boot::BootLayout;
use crate::rootfs::disk::partition_table::{ALIGNMENT, Gpt, GptPartition, PartitionType, SECTOR};
use crate::rootfs::disk::{DiskFormat, DiskId};
use crate::{Error, ErrorKind, Result};

/// GRUB's core image takes some 50 KiB; what is smaller than a unit of
/// alignment would be lost anyhow.
const BIOS_BOOT: Range<u64> = ALIGNMENT..2 * ALIGNMENT;
/// The number of the file system's partition in a GPT.
const GPT_ROOT: u32 = 2;

/// What goes where.
#[derive(Debug)]
pub(super) struct Geometry {
    format: DiskFormat,
    layout: DiskLayout,
    /// The size of the disk, if it was chosen.
    size: Option<u64>,
}

impl Geometry {
    pub(super) fn new(options: &DiskOptions) -> Result<Self> {
        let size = options.size.map(|size| options.format.round_up(size));
        let geometry = Self { format: options.format, layout: options.layout, size };
        if size.is_some_and(|size| size <= geometry.root_start() + geometry.tail()) {
            let message = format!(
                "a disk of {} bytes has no room for a file system",
                options.size.unwrap_or_default()
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("size_bytes", options.size.unwrap_or_default().to_string())
                .hint("make it larger"));
        }
        if let Some(file_system) = geometry.file_system_size() {
            geometry.check_layout(file_system)?;
        }
        Ok(geometry)
    }

    /// Refuses a file system of `size` bytes that the layout has no room for:
    /// the partitions of an MBR are 2^32 - 1 sectors at most.
    pub(super) fn check_layout(&self, size: u64) -> Result<()> {
        if self.layout != DiskLayout::Mbr || size / SECTOR <= u64::from(u32::MAX) {
            return Ok(());
        }
        let message = format!("a partition of {size} bytes is too large for an MBR");
        Err(Error::new(ErrorKind::InvalidConfig, message)
            .with("size_bytes", size.to_string())
            .hint("an MBR reaches to 2 TiB: choose `layout: gpt`, or a smaller disk"))
    }

    /// Where the file system begins, in bytes.
    pub(super) fn root_start(&self) -> u64 {
        match self.layout {
            DiskLayout::Bare => 0,
            DiskLayout::Mbr => ALIGNMENT,
            DiskLayout::Gpt => BIOS_BOOT.end,
        }
    }

    /// How much behind it is not the file system's.
    fn tail(&self) -> u64 {
        match self.layout {
            DiskLayout::Bare | DiskLayout::Mbr => 0,
            DiskLayout::Gpt => Gpt::BACKUP,
        }
    }

    /// How much of the disk is not the file system's.
    pub(super) fn around(&self) -> u64 {
        self.root_start() + self.tail()
    }

    /// The size of the file system, if that of the disk was chosen.
    pub(super) fn file_system_size(&self) -> Option<u64> {
        self.size.map(|size| size - self.around())
    }

    /// An error about the file system's size, in terms of the disk's.
    pub(super) fn of_disk(&self, error: Error) -> Error {
        let needed = error.context_value("needed_bytes").and_then(|needed| needed.parse().ok());
        let (Some(needed), Some(size)) = (needed, self.size) else { return error };
        let needed = self.format.round_up(self.around().saturating_add(needed));
        let message = format!("a disk of {size} bytes is too small: it needs {needed} bytes");
        Error::new(error.kind(), message)
            .with("size_bytes", size.to_string())
            .with("needed_bytes", needed.to_string())
            .hint(format!("make it at least {} MiB", needed.div_ceil(1 << 20)))
            .caused_by(error)
    }

    /// The size of the disk for a file system of that size.
    pub(super) fn disk_size(&self, file_system: u64) -> u64 {
        let needed = self.root_start() + file_system + self.tail();
        self.size.unwrap_or_else(|| self.format.round_up(needed))
    }

    /// What will be written on a disk of `size` bytes with a core image of
    /// `core` bytes and these ranges in the file system: ascending.
    pub(super) fn written(&self, size: u64, core: u64, used: &[Range<u64>]) -> Vec<Range<u64>> {
        let start = self.root_start();
        let root = used.iter().map(|range| start + range.start..start + range.end);
        let mut ranges = Vec::new();
        match self.layout {
            DiskLayout::Bare => {}
            DiskLayout::Mbr => ranges.push(0..SECTOR + core),
            DiskLayout::Gpt => {
                // The entries end at byte 17,408: UEFI 2.10, section 5.3.1.
                ranges.push(0..SECTOR + Gpt::BACKUP);
                ranges.extend((core > 0).then(|| BIOS_BOOT.start..BIOS_BOOT.start + core));
            }
        }
        ranges.extend(root);
        if self.layout == DiskLayout::Gpt {
            ranges.push(size - Gpt::BACKUP..size);
        }
        ranges
    }

    /// What the boot loader has to know.
    pub(super) fn boot_layout(&self, uuid: DiskId) -> BootLayout {
        match self.layout {
            DiskLayout::Bare => BootLayout::Bare,
            DiskLayout::Mbr => BootLayout::Mbr {
                signature: signature(uuid),
                first_partition: self.root_start() / SECTOR,
            },
            DiskLayout::Gpt => BootLayout::Gpt {
                bios_boot: BIOS_BOOT.start / SECTOR..BIOS_BOOT.end / SECTOR,
                root_number: GPT_ROOT,
                root_guid: *root_id(uuid).as_bytes(),
            },
        }
    }

    /// The partitions of a GPT with a file system of `size` bytes.
    pub(super) fn partitions(&self, uuid: DiskId, size: u64) -> [GptPartition; 2] {
        let id = DiskId::derive("bios-boot", &[uuid.as_bytes()]);
        let length = BIOS_BOOT.end - BIOS_BOOT.start;
        let boot = GptPartition::new(BIOS_BOOT.start, length, PartitionType::BiosBoot, id);
        let root = GptPartition::new(self.root_start(), size, PartitionType::Linux, root_id(uuid));
        [boot.with_name("bios-boot"), root.with_name("root")]
    }
}

/// The GUID of the file system's partition.
fn root_id(uuid: DiskId) -> DiskId {
    DiskId::derive("root", &[uuid.as_bytes()])
}

/// The signature in a master boot record; never 0, which stands for none.
pub(super) fn signature(uuid: DiskId) -> u32 {
    let id = DiskId::derive("signature", &[uuid.as_bytes()]);
    let [a, b, c, d, ..] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}
