//! Inodes.
//!
//! Format: kernel documentation, ext4, "Index Nodes" ("Inode Timestamps",
//! "Symbolic Links", `i_block`).

use super::bytes::{put, put_halves, put_words, put16, put32};
use super::checksum::Seed;
use super::extents::ROOT_SIZE;
use super::geometry::INODE_SIZE;
use crate::rootfs::entry::Mtime;

/// The bytes of an inode.
pub(super) type Bytes = [u8; INODE_SIZE as usize];

/// The file's blocks are in a tree of extents.
pub(super) const EXTENTS: u32 = 0x8_0000;
/// The directory has an index.
pub(super) const INDEXED: u32 = 0x1000;
/// How many links a file or directory can have.
pub(super) const MAX_LINKS: u16 = 65_000;
/// Symbolic links up to this length stand in the inode.
pub(super) const MAX_INLINE_TARGET: usize = ROOT_SIZE - 1;
/// What is used behind the first 128 bytes.
pub(super) const EXTRA_SIZE: u16 = 32;
/// Where attributes begin in an inode.
pub(super) const ATTRIBUTES_AT: usize = 128 + EXTRA_SIZE as usize;
/// The room for attributes in an inode.
pub(super) const ATTRIBUTES_SIZE: usize = INODE_SIZE as usize - ATTRIBUTES_AT;

/// File types in the mode.
pub(super) const FIFO: u16 = 0x1000;
pub(super) const CHAR_DEVICE: u16 = 0x2000;
pub(super) const DIRECTORY: u16 = 0x4000;
pub(super) const BLOCK_DEVICE: u16 = 0x6000;
pub(super) const FILE: u16 = 0x8000;
pub(super) const SYMLINK: u16 = 0xA000;

/// The seconds that a time can have: from 1901 to 2446.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(3 << 32) + (1 << 31) - 1;

/// Everything that an inode says.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// File type and permission bits.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u16,
    /// Blocks of 4 KiB: data, trees and attributes.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    pub(super) time: Mtime,
    /// The tree's root, a link's target or a device's number.
    pub(super) root: [u8; ROOT_SIZE],
    /// The block of its attributes; 0 for none.
    pub(super) attribute_block: u32,
    /// The attributes in the inode itself.
    pub(super) attributes: [u8; ATTRIBUTES_SIZE],
}

impl Inode {
    /// An inode of root's without content.
    pub(super) fn new(mode: u16, time: Mtime) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            links: 1,
            blocks: 0,
            flags: 0,
            time,
            root: [0; ROOT_SIZE],
            attribute_block: 0,
            attributes: [0; ATTRIBUTES_SIZE],
        }
    }

    /// The inode as it stands in the table. `seed` is that of its number.
    pub(super) fn encode(&self, seed: Seed) -> Bytes {
        let mut bytes = [0; INODE_SIZE as usize];
        let out = &mut bytes;
        put16(out, 0x00, self.mode);
        put_halves(out, 0x02, 0x78, self.uid);
        put_halves(out, 0x18, 0x7A, self.gid);
        put_words(out, 0x04, 0x6C, self.size);
        put16(out, 0x1A, self.links);
        // In sectors: below 2^48 without further ado.
        let sectors = (8 * self.blocks).to_le_bytes();
        put(out, 0x1C, &sectors[..4]);
        put(out, 0x74, &sectors[4..6]);
        put32(out, 0x20, self.flags);
        put(out, 0x28, &self.root);
        put32(out, 0x68, self.attribute_block);
        put16(out, 0x80, EXTRA_SIZE);
        // Changed, modified, accessed, made; the second where is the rest.
        for (low, extra) in [(0x0C, 0x84), (0x10, 0x88), (0x08, 0x8C), (0x90, 0x94)] {
            put_time(out, low, extra, self.time);
        }
        put(out, ATTRIBUTES_AT, &self.attributes);
        let sum = seed.and(out).sum();
        put_halves(out, 0x7C, 0x82, sum);
        bytes
    }
}

/// Whether a time of that second can be kept.
pub(super) fn can_keep(seconds: i64) -> bool {
    TIMES.contains(&seconds)
}

/// 32 bits of seconds, then 2 more of them with 30 of nanoseconds.
fn put_time(out: &mut [u8], low: usize, extra: usize, time: Mtime) {
    let seconds = time.seconds.to_le_bytes();
    put(out, low, &seconds[..4]);
    // The low word is signed: the epoch counts from where it begins.
    let epoch = ((time.seconds + (1 << 31)) >> 32).to_le_bytes()[0] & 3;
    put32(out, extra, (time.nanos << 2) | u32::from(epoch));
}

/// A device's number as an inode keeps it; `None` if it is too large.
pub(super) fn device(major: u32, minor: u32) -> Option<[u8; ROOT_SIZE]> {
    let mut root = [0; ROOT_SIZE];
    match (u8::try_from(major), u8::try_from(minor)) {
        (Ok(major), Ok(minor)) => put(&mut root, 0, &[minor, major]),
        _ if major < 1 << 12 && minor < 1 << 20 => {
            put32(&mut root, 4, (minor & 0xFF) | (major << 8) | ((minor & 0xFFF00) << 12));
        }
        _ => return None,
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_1901_to_2446() {
        let put = |seconds, nanos| {
            let mut out = [0; 8];
            put_time(&mut out, 0, 4, Mtime { seconds, nanos });
            u64::from_le_bytes(out)
        };
        // The examples of the kernel's documentation.
        assert_eq!(put(-1, 0), 0x0000_0000_FFFF_FFFF);
        assert_eq!(put(-0x8000_0000, 0), 0x0000_0000_8000_0000);
        assert_eq!(put(0x7FFF_FFFF, 1), 0x0000_0004_7FFF_FFFF);
        assert_eq!(put(0x8000_0000, 0), 0x0000_0001_8000_0000);
        assert_eq!(put(0x1_0000_0000, 0), 0x0000_0001_0000_0000);
        assert_eq!(put(0x3_7FFF_FFFF, 0), 0x0000_0003_7FFF_FFFF);
        assert!(can_keep(0x3_7FFF_FFFF) && !can_keep(0x3_8000_0000) && !can_keep(-0x8000_0001));
    }

    #[test]
    fn devices_have_an_old_and_a_new_form() {
        let words = |major, minor| device(major, minor).map(|root| root[..8].to_vec());
        assert_eq!(words(8, 1).unwrap(), [1, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(words(259, 0x12345).unwrap(), [0, 0, 0, 0, 0x45, 0x03, 0x31, 0x12]);
        assert!(words(4096, 0).is_none() && words(0, 1 << 20).is_none());
    }
}
