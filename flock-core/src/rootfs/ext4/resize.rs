//! The inode that keeps blocks for more group descriptors, so that the file
//! system can grow while it is mounted.
//!
//! Format: kernel documentation, ext4, "Special inodes" (inode 7), and the
//! block maps of "Direct/Indirect Block Addressing": its double-indirect
//! block points to the reserved blocks of group 0, each of which points to
//! its copies in the groups with a superblock.

use super::bytes::put32;
use super::geometry::{ADDRESSES_PER_BLOCK, BLOCK, BLOCK_SIZE, Geometry};
use super::inode::{self, Inode};
use crate::rootfs::entry::Mtime;

/// The inode that is kept for it.
pub(super) const INODE: u32 = 7;

/// Where the double-indirect block stands in `i_block`.
const DOUBLE_INDIRECT: usize = 4 * 13;
/// Block numbers in an inode before indirect ones.
const DIRECT: u64 = 12;

/// Whether there is anything to keep.
pub(super) fn is_needed(geometry: &Geometry) -> bool {
    geometry.reserved_descriptor_blocks > 0
}

/// The inode; its double-indirect block is number `place`.
pub(super) fn inode(geometry: &Geometry, place: u32, time: Mtime) -> Inode {
    let addresses = u64::from(ADDRESSES_PER_BLOCK);
    let copies = 1 + geometry.backup_groups().count() as u64;
    let mut inode = Inode::new(inode::FILE | 0o600, time);
    inode.size = (addresses * addresses + addresses + DIRECT) * BLOCK;
    inode.blocks = 1 + u64::from(geometry.reserved_descriptor_blocks) * copies;
    put32(&mut inode.root, DOUBLE_INDIRECT, place);
    inode
}

/// The numbers of the reserved blocks of group 0.
pub(super) fn reserved(geometry: &Geometry) -> std::ops::Range<u32> {
    let first = 1 + geometry.descriptor_blocks;
    first..first + geometry.reserved_descriptor_blocks
}

/// The double-indirect block.
pub(super) fn double_indirect(geometry: &Geometry) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    for (place, number) in (geometry.descriptor_blocks..).zip(reserved(geometry)) {
        put32(&mut block, 4 * (place % ADDRESSES_PER_BLOCK) as usize, number);
    }
    block
}

/// What stands in one of the reserved blocks: where its copies are.
pub(super) fn copies(geometry: &Geometry, reserved: u32) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    for (slot, group) in block.chunks_exact_mut(4).zip(geometry.backup_groups()) {
        put32(slot, 0, geometry.first_block(group) + reserved);
    }
    block
}
