//! Group descriptors and bitmaps.
//!
//! Format: kernel documentation, ext4, "Block Group Descriptors", "Block and
//! inode Bitmaps".

use std::ops::Range;

use super::bytes::{put, put_halves, put_words, put16};
use super::checksum::Seed;
use super::geometry::{BLOCK_SIZE, DESCRIPTOR_SIZE, GROUP_BLOCKS, Geometry};
use super::groups::Place;

/// The inode bitmap was not written: no inode is in use.
pub(super) const INODES_UNUSED: u16 = 0x1;
/// The block bitmap was not written: no block is in use but the group's own.
pub(super) const BLOCKS_UNUSED: u16 = 0x2;
/// Unused parts of the inode table are zeros.
pub(super) const TABLE_ZEROED: u16 = 0x4;

/// What one group's descriptor says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    pub(super) group: u32,
    pub(super) place: Place,
    pub(super) flags: u16,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// 0 for bitmaps that were not written.
    pub(super) block_bitmap_sum: u32,
    pub(super) inode_bitmap_sum: u32,
}

impl Descriptor {
    pub(super) fn encode(&self, seed: Seed) -> [u8; DESCRIPTOR_SIZE] {
        let mut bytes = [0; DESCRIPTOR_SIZE];
        let out = &mut bytes;
        put_words(out, 0x00, 0x20, u64::from(self.place.block_bitmap));
        put_words(out, 0x04, 0x24, u64::from(self.place.inode_bitmap));
        put_words(out, 0x08, 0x28, u64::from(self.place.inode_table));
        put_halves(out, 0x0C, 0x2C, self.free_blocks);
        put_halves(out, 0x0E, 0x2E, self.free_inodes);
        put_halves(out, 0x10, 0x30, self.directories);
        put16(out, 0x12, self.flags);
        put_halves(out, 0x18, 0x38, self.block_bitmap_sum);
        put_halves(out, 0x1A, 0x3A, self.inode_bitmap_sum);
        // Inodes are used from the first on, so all free ones are at the end.
        put_halves(out, 0x1C, 0x32, self.free_inodes);
        let sum = seed.and(&self.group.to_le_bytes()).and(out).sum();
        put(out, 0x1E, &sum.to_le_bytes()[..2]);
        bytes
    }
}

/// The block bitmap of a group. `taken` is ascending and does not touch.
pub(super) fn block_bitmap(geometry: &Geometry, group: u32, taken: &[Range<u32>]) -> Bitmap {
    let mut bitmap = Bitmap([0; BLOCK_SIZE]);
    let first = geometry.first_block(group);
    for range in within(geometry, group, taken) {
        bitmap.set(range.start - first..range.end - first);
    }
    bitmap.set(geometry.blocks_in_group(group)..GROUP_BLOCKS);
    bitmap
}

/// The parts of `taken` that are in a group.
pub(super) fn within(
    geometry: &Geometry,
    group: u32,
    taken: &[Range<u32>],
) -> impl Iterator<Item = Range<u32>> {
    let first = geometry.first_block(group);
    let end = first + geometry.blocks_in_group(group);
    let from = taken.partition_point(|range| range.end <= first);
    let rest = taken.get(from..).unwrap_or(&[]).iter();
    rest.take_while(move |range| range.start < end)
        .map(move |range| range.start.max(first)..range.end.min(end))
}

/// The inode bitmap of a group whose first `used` inodes are in use.
pub(super) fn inode_bitmap(geometry: &Geometry, used: u32) -> Bitmap {
    let mut bitmap = Bitmap([0; BLOCK_SIZE]);
    bitmap.set(0..used);
    bitmap.set(geometry.inodes_per_group..GROUP_BLOCKS);
    bitmap
}

/// One bit for each block or inode of a group.
pub(super) struct Bitmap(pub(super) [u8; BLOCK_SIZE]);

impl Bitmap {
    fn set(&mut self, bits: Range<u32>) {
        let (start, end) = (bits.start as usize, bits.end as usize);
        if start >= end {
            return;
        }
        let (first, last) = (start / 8, (end - 1) / 8);
        let (head, tail) = (0xFF << (start % 8), 0xFF >> (7 - (end - 1) % 8));
        if first == last {
            self.0[first] |= head & tail;
        } else {
            self.0[first] |= head;
            self.0[first + 1..last].fill(0xFF);
            self.0[last] |= tail;
        }
    }

    /// The checksum over the first `bits`.
    pub(super) fn sum(&self, bits: u32, seed: Seed) -> u32 {
        seed.and(&self.0[..bits as usize / 8]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_from_the_lowest() {
        let mut bitmap = Bitmap([0; BLOCK_SIZE]);
        bitmap.set(1..3);
        bitmap.set(6..17);
        bitmap.set(20..20);
        bitmap.set(32_760..32_768);
        assert_eq!(bitmap.0[..4], [0b1100_0110, 0xFF, 1, 0]);
        assert_eq!(bitmap.0[4094..], [0, 0xFF]);
    }
}
