//! File systems by their superblocks.

use std::io;

use serde::Serialize;

use super::bytes::{field, le16, le32};
use super::{Check, DiskId, DiskReader};
use crate::{Error, Result};

/// How much of a partition tells its file system.
const PROBED: u64 = 128 << 10;
/// Where the superblock of ext2, ext3 and ext4 is, and how long it is.
const EXT: usize = 1024;

/// A file system, as its superblock describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileSystem {
    /// What it is: `ext4`, `xfs`, `vfat`, `squashfs`…
    pub kind: &'static str,
    /// Its label.
    pub label: Option<String>,
    /// Its UUID, or what it has instead.
    pub uuid: Option<String>,
    /// Its size in bytes; told for ext2, ext3 and ext4, as all that follows.
    pub size: Option<u64>,
    /// How much of it is free, in bytes.
    pub free: Option<u64>,
    /// The length of a block, in bytes.
    pub block_size: Option<u64>,
    /// Its features, by the names that `dumpe2fs` has for them.
    pub features: Vec<String>,
}

/// How a file system is recognised: by bytes at a place.
struct Signature {
    kind: &'static str,
    at: usize,
    magic: &'static [u8],
    /// Where the label is, and how long it may be.
    label: Option<(usize, usize)>,
    uuid: Option<usize>,
}

/// The documents of each: "XFS Algorithms & Data Structures" ("Superblocks"),
/// btrfs "On-disk Format" ("Superblock"), Microsoft's "FAT: General Overview of
/// On-Disk Format", the kernel's `squashfs_fs.h`, ECMA-119 section 8.4,
/// `linux/swap.h`, "LUKS1 On-Disk Format".
const SIGNATURES: [Signature; 9] = [
    signature("xfs", 0, b"XFSB", Some((108, 12)), Some(32)),
    signature("btrfs", 0x10040, b"_BHRfS_M", Some((0x1012b, 256)), Some(0x10020)),
    signature("vfat", 82, b"FAT32   ", Some((71, 11)), None),
    signature("vfat", 54, b"FAT16   ", Some((43, 11)), None),
    signature("vfat", 54, b"FAT12   ", Some((43, 11)), None),
    signature("squashfs", 0, b"hsqs", None, None),
    signature("iso9660", 32769, b"CD001", Some((32808, 32)), None),
    signature("swap", 4086, b"SWAPSPACE2", Some((1052, 16)), Some(1036)),
    signature("luks", 0, b"LUKS\xba\xbe", None, None),
];

const fn signature(
    kind: &'static str,
    at: usize,
    magic: &'static [u8],
    label: Option<(usize, usize)>,
    uuid: Option<usize>,
) -> Signature {
    Signature { kind, at, magic, label, uuid }
}

/// Names of the bits of compatible, incompatible and read-only compatible
/// features, see `Documentation/filesystems/ext4/super.rst` of Linux.
const FEATURES: [(usize, &[(u32, &str)]); 3] = [
    (
        0x5c,
        &[
            (0x1, "dir_prealloc"),
            (0x2, "imagic_inodes"),
            (0x4, "has_journal"),
            (0x8, "ext_attr"),
            (0x10, "resize_inode"),
            (0x20, "dir_index"),
            (0x200, "sparse_super2"),
            (0x400, "fast_commit"),
            (0x800, "stable_inodes"),
            (0x1000, "orphan_file"),
        ],
    ),
    (
        0x60,
        &[
            (0x1, "compression"),
            (0x2, "filetype"),
            (0x4, "needs_recovery"),
            (0x8, "journal_dev"),
            (0x10, "meta_bg"),
            (0x40, "extent"),
            (0x80, "64bit"),
            (0x100, "mmp"),
            (0x200, "flex_bg"),
            (0x400, "ea_inode"),
            (0x1000, "dirdata"),
            (0x2000, "metadata_csum_seed"),
            (0x4000, "large_dir"),
            (0x8000, "inline_data"),
            (0x10000, "encrypt"),
            (0x20000, "casefold"),
        ],
    ),
    (
        0x64,
        &[
            (0x1, "sparse_super"),
            (0x2, "large_file"),
            (0x8, "huge_file"),
            (0x10, "uninit_bg"),
            (0x20, "dir_nlink"),
            (0x40, "extra_isize"),
            (0x100, "quota"),
            (0x200, "bigalloc"),
            (0x400, "metadata_csum"),
            (0x800, "replica"),
            (0x1000, "read-only"),
            (0x2000, "project"),
            (0x4000, "shared_blocks"),
            (0x8000, "verity"),
            (0x10000, "orphan_present"),
        ],
    ),
];
/// The bits of incompatible and read-only compatible features that ext3 lacks.
const EXT4_INCOMPATIBLE: u32 = 0x40 | 0x80 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000;
const EXT4_READ_ONLY: u32 = 0x8 | 0x10 | 0x20 | 0x40 | 0x400;
const METADATA_CSUM: u32 = 0x400;
/// The read-only compatible feature of bitmaps of clusters.
const BIGALLOC: u64 = 0x200;
/// The incompatible feature of numbers of blocks with 64 bits.
const WIDE: u64 = 0x80;

impl FileSystem {
    /// Recognises the file system that begins `start` bytes into a disk and
    /// may be `size` bytes long; `None` if it is none that is known. What was
    /// found wrong goes to `checks`, with `place` as its name.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(
        disk: &dyn DiskReader,
        start: u64,
        size: u64,
        place: &str,
        checks: &mut Vec<Check>,
    ) -> Result<Option<Self>> {
        let there = disk.size().saturating_sub(start).min(size);
        if there == 0 {
            // A damaged table names places that the disk does not have.
            return Ok(None);
        }
        let mut raw = vec![0; usize::try_from(there.min(PROBED)).unwrap_or(0)];
        disk.read_at(&mut raw, start).map_err(unread)?;
        if le16(&raw, EXT + 0x38) == 0xef53 && raw.len() >= EXT + 1024 {
            let superblock = &raw[EXT..EXT + 1024];
            let found = Self::ext(superblock);
            checks.push(check_ext(superblock, &found, there, place));
            return Ok(Some(found));
        }
        let is_there =
            |one: &&Signature| raw.get(one.at..).is_some_and(|rest| rest.starts_with(one.magic));
        Ok(SIGNATURES.iter().find(is_there).map(|one| Self::simple(one, &raw)))
    }

    fn simple(signature: &Signature, raw: &[u8]) -> Self {
        let label = signature.label.and_then(|(at, length)| text(raw.get(at..at + length)?));
        let uuid = signature.uuid.map(|at| DiskId::from_bytes(field(raw, at)).to_string());
        Self {
            kind: signature.kind,
            label,
            uuid,
            size: None,
            free: None,
            block_size: None,
            features: Vec::new(),
        }
    }

    fn ext(raw: &[u8]) -> Self {
        let block_size = 1024u64.checked_shl(le32(raw, 0x18)).filter(|size| *size <= 64 << 10);
        let wide = le32(raw, 0x60) & 0x80 != 0;
        let count = |low: usize, high: usize| {
            let high = if wide { u64::from(le32(raw, high)) << 32 } else { 0 };
            block_size.map(|size| (high | u64::from(le32(raw, low))).saturating_mul(size))
        };
        let is_ext4 =
            le32(raw, 0x60) & EXT4_INCOMPATIBLE != 0 || le32(raw, 0x64) & EXT4_READ_ONLY != 0;
        let kind = match (is_ext4, le32(raw, 0x5c) & 0x4 != 0) {
            (true, _) => "ext4",
            (false, true) => "ext3",
            (false, false) => "ext2",
        };
        let features = FEATURES.iter().flat_map(|(at, names)| {
            let bits = le32(raw, *at);
            names.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name)
        });
        Self {
            kind,
            label: text(&raw[0x78..0x88]),
            uuid: Some(DiskId::from_bytes(field(raw, 0x68)).to_string()),
            size: count(0x4, 0x150),
            free: count(0xc, 0x158),
            block_size,
            features: features.map(str::to_owned).collect(),
        }
    }
}

/// Whether a superblock is whole, and the file system fits where it is.
fn check_ext(raw: &[u8], found: &FileSystem, room: u64, place: &str) -> Check {
    const NAME: &str = "file system";
    // ext4 does not invert the checksum in the end.
    let sum = !crc32c::crc32c(&raw[..0x3fc]);
    if le32(raw, 0x64) & METADATA_CSUM != 0 && le32(raw, 0x3fc) != sum {
        return Check::failed(NAME, format!("{place}: the superblock's checksum is wrong"));
    }
    let Some(size) = found.size else {
        return Check::failed(NAME, format!("{place}: blocks of 2^{} KiB", le32(raw, 0x18)));
    };
    if let Err(why) = check_ext_numbers(raw, found) {
        return Check::failed(NAME, format!("{place}: {why}"));
    }
    if size > room {
        return Check::failed(NAME, format!("{place}: {size} bytes do not fit into {room}"));
    }
    if le32(raw, 0x60) & 0x4 != 0 {
        return Check::warning(NAME, format!("{place}: it was not unmounted; its journal counts"));
    }
    match le16(raw, 0x3a) {
        state if state & 2 != 0 => Check::failed(NAME, format!("{place}: errors were found in it")),
        state if state & 1 == 0 => Check::warning(NAME, format!("{place}: it was not unmounted")),
        _ => Check::passed(NAME),
    }
}

/// Whether the numbers of a superblock are such that Linux would mount it, see
/// `Documentation/filesystems/ext4/super.rst`.
fn check_ext_numbers(raw: &[u8], found: &FileSystem) -> Result<(), String> {
    let Some(block) = found.block_size else { return Ok(()) };
    let in_bitmap = 8 * block;
    let number = |at: usize| u64::from(le32(raw, at));
    // Revision 0 has inodes of 128 bytes and does not say so.
    let inode = if number(0x4c) == 0 { 128 } else { u64::from(le16(raw, 0x58)) };
    if !inode.is_power_of_two() || !(128..=block).contains(&inode) {
        return Err(format!("inodes of {inode} bytes in blocks of {block}"));
    }
    let has_clusters = number(0x64) & BIGALLOC != 0;
    let inodes = number(0x28);
    if inodes == 0 || inodes > in_bitmap {
        return Err(format!("{inodes} inodes in each group"));
    }
    // A bitmap has a bit for each cluster; without bigalloc that is a block.
    let (units, what) =
        if has_clusters { (number(0x24), "clusters") } else { (number(0x20), "blocks") };
    if units == 0 || units > in_bitmap {
        return Err(format!("{units} {what} in each group"));
    }
    let first = number(0x14);
    let expected = u64::from(block == 1024 && !has_clusters);
    if first != expected && !(has_clusters && block == 1024 && first == 1) {
        return Err(format!("{first} as the first block, not {expected}"));
    }
    if let (Some(size), Some(free)) = (found.size, found.free)
        && free > size
    {
        return Err(format!("{} blocks are free, of {}", free / block, size / block));
    }
    let descriptor = u64::from(le16(raw, 0xfe));
    // Linux takes no more than the least block there is.
    let is_possible = descriptor.is_power_of_two() && (64..=1024).contains(&descriptor);
    if number(0x60) & WIDE != 0 && !is_possible {
        return Err(format!("group descriptors of {descriptor} bytes"));
    }
    Ok(())
}

/// A label, if there is one: up to a zero, without the spaces behind it.
fn text(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    let text = String::from_utf8_lossy(&raw[..end]);
    let text = text.trim_end_matches(' ').to_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn unread(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(crate::error::io_kind(&error), "cannot read the file system")
            .during("image.inspect")
            .caused_by(error),
    }
}
