//! The journal: empty, and clean.
//!
//! Format: kernel documentation, ext4, "Journal (jbd2)", "Super Block". Its
//! numbers are big-endian. Blocks that were never written read as zeros, so
//! the superblock is all there is.

use super::geometry::BLOCK_SIZE;

/// The inode that is kept for the journal.
pub(super) const INODE: u32 = 8;

const MAGIC: u32 = 0xC03B_3998;
const SUPERBLOCK_V2: u32 = 4;

/// The first block of a journal of so many blocks.
pub(super) fn superblock(blocks: u32) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    let fields = [
        (0x00, MAGIC),
        (0x04, SUPERBLOCK_V2),
        // Bytes in a block, blocks, and the first of them for the log.
        (0x0C, 4096),
        (0x10, blocks),
        (0x14, 1),
        // The first transaction that is expected, and users.
        (0x18, 1),
        (0x40, 1),
    ];
    for (at, value) in fields {
        super::bytes::put(&mut block, at, &value.to_be_bytes());
    }
    block
}
