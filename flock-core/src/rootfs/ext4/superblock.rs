//! The superblock.
//!
//! Format: kernel documentation, ext4, "Super Block".

use super::bytes::{put, put_words, put16, put32};
use super::checksum::Seed;
use super::extents::ROOT_SIZE;
use super::geometry::{DESCRIPTOR_SIZE, FLEX_GROUPS, GROUP_BLOCKS, Geometry, INODE_SIZE};
use super::inode::EXTRA_SIZE;
use super::{hash, journal, resize};

/// Its size in bytes, and where the first one stands.
pub(super) const SIZE: usize = 1024;
pub(super) const OFFSET: u64 = 1024;
/// Bytes of the label.
const LABEL_AT: usize = 0x78;

// has_journal, ext_attr, dir_index
const COMPATIBLE: u32 = 0x04 | 0x08 | 0x20;
const RESIZE_INODE: u32 = 0x10;
// filetype, extents, 64bit, flex_bg
const INCOMPATIBLE: u32 = 0x02 | 0x40 | 0x80 | 0x200;
// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum
const READ_ONLY_COMPATIBLE: u32 = 0x01 | 0x02 | 0x08 | 0x20 | 0x40 | 0x400;
/// The first inode that is not kept for something.
const FIRST_INODE: u32 = 11;
/// Names are hashed with signed bytes.
const SIGNED_HASH: u32 = 1;
/// Mount options by default: user_xattr, acl.
const MOUNT_OPTIONS: u32 = 0x04 | 0x08;

/// Everything that the superblock says beside the geometry.
#[derive(Debug, Clone)]
pub(super) struct Superblock<'a> {
    pub(super) geometry: Geometry,
    pub(super) uuid: [u8; 16],
    pub(super) hash_seed: [u32; 4],
    pub(super) label: &'a str,
    /// When it was made, in seconds.
    pub(super) time: i64,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) reserved_blocks: u32,
    /// Blocks that no file can ever have.
    pub(super) overhead: u32,
    /// How much is written, in KiB.
    pub(super) written: u64,
    /// The journal inode's tree and size, kept twice.
    pub(super) journal_root: [u8; ROOT_SIZE],
    pub(super) journal_size: u64,
}

impl Superblock<'_> {
    /// The superblock as it stands in a group.
    pub(super) fn encode(&self, group: u32) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let out = &mut bytes;
        self.put_counts(out);
        self.put_state(out);
        self.put_features(out);
        self.put_journal(out);
        put(out, 0x5A, &group.to_le_bytes()[..2]);
        let end = SIZE - 4;
        let sum = Seed::START.and(&out[..end]).sum();
        put32(out, end, sum);
        bytes
    }

    fn put_counts(&self, out: &mut [u8]) {
        let geometry = &self.geometry;
        put32(out, 0x00, geometry.inodes());
        put32(out, 0x04, geometry.blocks);
        put32(out, 0x08, self.reserved_blocks);
        put32(out, 0x0C, self.free_blocks);
        put32(out, 0x10, self.free_inodes);
        // 4 KiB is 1 KiB shifted twice, for blocks and clusters.
        put32(out, 0x18, 2);
        put32(out, 0x1C, 2);
        put32(out, 0x20, GROUP_BLOCKS);
        put32(out, 0x24, GROUP_BLOCKS);
        put32(out, 0x28, geometry.inodes_per_group);
        put(out, 0xCE, &geometry.reserved_descriptor_blocks.to_le_bytes()[..2]);
        out[0x174] = FLEX_GROUPS.trailing_zeros().to_le_bytes()[0];
        put_words(out, 0x178, 0x17C, self.written);
        put32(out, 0x248, self.overhead);
    }

    fn put_state(&self, out: &mut [u8]) {
        // Written, checked and made; the fifth byte stands apart.
        for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
            let time = self.time.to_le_bytes();
            put(out, low, &time[..4]);
            out[high] = time[4];
        }
        // No check after so many mounts; clean; go on after errors.
        put16(out, 0x36, u16::MAX);
        put16(out, 0x38, 0xEF53);
        put16(out, 0x3A, 1);
        put16(out, 0x3C, 1);
        put(out, 0x68, &self.uuid);
        put(out, LABEL_AT, self.label.as_bytes());
    }

    fn put_features(&self, out: &mut [u8]) {
        let resize = if resize::is_needed(&self.geometry) { RESIZE_INODE } else { 0 };
        put32(out, 0x4C, 1);
        put32(out, 0x54, FIRST_INODE);
        put(out, 0x58, &INODE_SIZE.to_le_bytes()[..2]);
        put32(out, 0x5C, COMPATIBLE | resize);
        put32(out, 0x60, INCOMPATIBLE);
        put32(out, 0x64, READ_ONLY_COMPATIBLE);
        for (slot, word) in out[0xEC..0xFC].chunks_exact_mut(4).zip(self.hash_seed) {
            put32(slot, 0, word);
        }
        out[0xFC] = hash::HALF_MD4;
        put16(out, 0xFE, super::bytes::short(DESCRIPTOR_SIZE));
        put32(out, 0x100, MOUNT_OPTIONS);
        put16(out, 0x15C, EXTRA_SIZE);
        put16(out, 0x15E, EXTRA_SIZE);
        put32(out, 0x160, SIGNED_HASH);
        // CRC32C.
        out[0x175] = 1;
    }

    fn put_journal(&self, out: &mut [u8]) {
        put32(out, 0xE0, journal::INODE);
        // The copy below is of an inode's blocks.
        out[0xFD] = 1;
        put(out, 0x10C, &self.journal_root);
        put_words(out, 0x14C, 0x148, self.journal_size);
    }
}
